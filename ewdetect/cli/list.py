"""ewdetect list"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import click

from ewdetect.cli.fixtures import network_files
from ewdetect.cli.options import json_or_text, rule_paths
from ewdetect.cli.output import emit, show
from ewdetect.cli.source_rows import coverage_rows, source_rows
from ewdetect.load import content_root, load_fields, load_network, load_pack
from ewdetect.report.envelope import listing_json
from ewdetect.report.listing_text import listing_text

Row = Mapping[str, str]


@click.command("list")
@click.argument("what", type=click.Choice(["rules", "sources", "fields", "networks", "coverage"]))
@json_or_text
def command(what: str, form: str) -> None:
    """List the rules, telemetry sources or canonical fields that ship, or the networks of fixtures/.

    `coverage` shows for every rule and source whether the source answers it exactly, worse, or not at all, and why.
    """
    rows = list(_LISTS[what]())
    if form == "json":
        emit(listing_json(what, rows))
    else:
        show(listing_text(rows))


def _rules() -> Iterator[Row]:
    root = content_root()
    for rule in load_pack(rule_paths(()), load_fields()).alerting():
        family = rule.document.path.removeprefix(f"{root}/rules/").rpartition("/")[0]
        yield {"rule": rule.name, "family": family, "level": rule.level, "status": rule.status, "title": rule.title}


def _fields() -> Iterator[Row]:
    for field in load_fields().values():
        unit = f" ({field.unit})" if field.unit else ""
        yield {"field": field.name, "type": field.type, "origin": field.origin,
               "meaning": f"{field.meaning}{unit}" + (f": {', '.join(field.values)}" if field.values else "")}


def _networks() -> Iterator[Row]:
    fields = load_fields()
    for name, path in network_files().items():
        network = load_network(path, fields)
        yield {"network": name, "entries": f"{len(network.entries)}", "file": str(path)}


_LISTS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "rules": _rules, "sources": source_rows, "fields": _fields, "networks": _networks,
    "coverage": coverage_rows}

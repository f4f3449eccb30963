"""ewdetect list"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import click

from ewdetect.cli.fixtures import network_files
from ewdetect.cli.options import config_option, tuning
from ewdetect.cli.output import emit, show
from ewdetect.cli.rule_rows import Chosen, attack_cells, attack_rows, chosen, count_rows, family_rows, rules_rows
from ewdetect.cli.source_rows import coverage_rows, source_rows
from ewdetect.load import load_attack_version, load_fields, load_network
from ewdetect.report.envelope import listing_json
from ewdetect.report.listing_text import listing_text
from ewdetect.report.navigator import navigator_layer

Row = Mapping[str, str]


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


_OF_RULES: Mapping[str, Callable[[Chosen], Iterable[Row]]] = {
    "rules": rules_rows, "families": family_rows, "attack": attack_rows, "coverage": coverage_rows,
    "counts": count_rows}
_OTHERS: Mapping[str, Callable[[], Iterable[Row]]] = {
    "sources": source_rows, "fields": _fields, "networks": _networks}


@click.command("list")
@click.argument("what", type=click.Choice([*_OF_RULES, *_OTHERS]))
@click.option("--rules", "paths", multiple=True, metavar="PATH",
              help="Rule files or folders; left out, the rules that ship.")
@config_option()
@click.option("--format", "form", type=click.Choice(["text", "json", "navigator"]), default="text", show_default=True,
              help="For a person, or for a program; `navigator` makes a layer for ATT&CK Navigator of `list attack`.")
def command(what: str, paths: tuple[str, ...], config: str | None, form: str) -> None:
    """List rules, their families, the ATT&CK techniques that they look for; sources, fields or networks.

    `coverage` shows for every rule and source whether the source answers it exactly, worse, or not at all, and why.
    `counts` says how many rules, cases, mutants and so on there are; it takes a few seconds.
    """
    if (paths or config) and what in _OTHERS:
        raise click.UsageError(f"`list {what}` is not about rules; leave `--rules` and `--config` out")
    if form == "navigator":
        emit(_layer(what, paths, config))
        return
    rows = list(_OTHERS[what]() if what in _OTHERS else _OF_RULES[what](_chosen(what, paths, config)))
    if form == "json":
        emit(listing_json(what, rows))
    else:
        show(listing_text(rows))


def _chosen(what: str, paths: tuple[str, ...], config: str | None) -> Chosen:
    """The rules as tuned; what is counted is what ships."""
    return chosen(paths, None if what == "counts" else tuning(config))


def _layer(what: str, paths: tuple[str, ...], config: str | None) -> str:
    if what != "attack":
        raise click.UsageError("only `list attack` has the form `navigator`")
    return navigator_layer(attack_cells(_chosen(what, paths, config)), load_attack_version())

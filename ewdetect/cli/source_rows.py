"""What `list sources` and `list coverage` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ewdetect.cli.rule_rows import Chosen
from ewdetect.coverage import cover
from ewdetect.flows import Source
from ewdetect.flows.source import knows_bytes
from ewdetect.load import load_fields, load_sources
from ewdetect.resolve import resolve_rule

Row = Mapping[str, str]


def source_rows() -> Iterator[Row]:
    """Every source that ships, with its traits."""
    for source in load_sources(load_fields()):
        traits = source.traits
        yield {"source": source.name, "title": source.title, "outcomes": ", ".join(traits.outcomes),
               "initiator": traits.initiator, "times": _times(source), "reports": ", ".join(traits.reports),
               "bytes": knows_bytes(source)}


def _times(source: Source) -> str:
    traits = source.traits
    words = ["exact"] if traits.timing == "exact" else [f"sums up {traits.interval}"]
    return ", ".join([*words, *(["sampled"] if traits.sampled else [])])


def coverage_rows(found: Chosen) -> Iterator[Row]:
    """Every alerting rule on every source."""
    fields = load_fields()
    sources = load_sources(fields)
    for rule in found.rules:
        resolved = resolve_rule(rule, found.pack)
        for source in sources:
            covered = cover(resolved, source, fields)
            yield {"rule": rule.name, "source": source.name, "coverage": covered.grade.value,
                   "why": "; ".join(covered.reasons)}

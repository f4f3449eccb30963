"""What a telemetry source can answer: each rule exactly, worse than it is meant (and why), or not at all (and why)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as parts_of
from enum import StrEnum

from ewdetect.flows import Source
from ewdetect.load import items
from ewdetect.model import Field, Kind
from ewdetect.plan import Window, fields_used, plan, seconds
from ewdetect.resolve import ResolvedRule

# What the engine works out of record fields, and cannot where one of them is missing.
_MADE_OF: Mapping[str, tuple[str, ...]] = {"network.bytes": ("source.bytes", "destination.bytes")}
# A window that is not much longer than what one record sums up sees some of its flows too early or too late.
_WINDOW_OVER_INTERVAL = 4


class Grade(StrEnum):
    EXACT = "exact"
    DEGRADED = "degraded"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well a source answers a rule. `reasons` are clauses about the source; none for `exact`."""

    rule: str
    source: str
    grade: Grade
    reasons: tuple[str, ...] = ()


def cover(resolved: ResolvedRule, source: Source, fields: Mapping[str, Field]) -> Coverage:
    """The coverage of one rule on one source."""
    if lacking := lack(resolved, source, fields):
        return Coverage(resolved.rule.name, source.name, Grade.IMPOSSIBLE, (lacking,))
    worse = tuple(dict.fromkeys(_worse(resolved, source, fields)))
    return Coverage(resolved.rule.name, source.name, Grade.DEGRADED if worse else Grade.EXACT, worse)


def lack(resolved: ResolvedRule, source: Source, fields: Mapping[str, Field]) -> str:
    """Why the source cannot answer the rule; empty if it can.

    What counts is `needs.telemetry`. A rule that declares nothing is taken to need every field that it reads.
    """
    declared = [name for part in resolved.parts for name in (part.meta.get("needs") or {}).get("telemetry", ())]
    needed = declared or sorted(fields_used(resolved))
    return "; ".join(dict.fromkeys([*_unfilled(needed, source, fields), *_untold(resolved, source),
                                    *_untimed(resolved, source)]))


def _unfilled(needed: Sequence[str], source: Source, fields: Mapping[str, Field]) -> Iterator[str]:
    """Record fields that the source does not fill, and traits that it does not have."""
    traits = {part.name for part in parts_of(source.traits)}
    for name in needed:
        if name in fields:
            yield from _missing(name, source, fields)
        elif name == "timing" and (source.traits.timing != "exact" or source.traits.sampled):
            yield f"{source.name} has no exact times of single connections"
        elif name in traits and not getattr(source.traits, name):
            yield f"{source.name} is not {name}"


def _missing(name: str, source: Source, fields: Mapping[str, Field]) -> Iterator[str]:
    parts = _MADE_OF.get(name, (name,) if fields[name].origin == "record" else ())
    for part in parts:
        if not source.tells(part):
            yield f"{source.name} does not tell {part}"


def _untold(resolved: ResolvedRule, source: Source) -> Iterator[str]:
    """Outcomes that a selection asks for and the source never reports."""
    for asked in _asked(resolved):
        if not asked & set(source.traits.outcomes):
            yield f"{source.name} cannot tell whether a connection was {' or '.join(sorted(asked))}"


def _untimed(resolved: ResolvedRule, source: Source) -> Iterator[str]:
    """A beacon is in the intervals, and sampled or aggregated telemetry has others than the traffic."""
    if any(part.kind is Kind.BEACON for part in resolved.parts):
        if source.traits.sampled:
            yield f"{source.name} is sampled, which destroys the intervals between connections"
        if source.traits.timing != "exact":
            yield f"{source.name} has {source.traits.timing} times, which destroy the intervals between connections"


def _asked(resolved: ResolvedRule) -> Iterator[set[str]]:
    """The outcomes that each selection asks for.

    Selections called `filter…` are exceptions by Sigma's convention: one that never hits takes nothing away.
    """
    for part in resolved.parts:
        for item in items(part):
            asked = {str(value).lower() for value, _ in item.values}
            plain = item.field == "flow.outcome" and not item.modifiers
            if asked and plain and not str(item.path[1]).startswith("filter"):
                yield asked


def _worse(resolved: ResolvedRule, source: Source, fields: Mapping[str, Field]) -> Iterator[str]:
    """What makes the answer worse, though there is one."""
    traits = source.traits
    for name in sorted(fields_used(resolved)):
        if name in fields:
            yield from _missing(name, source, fields)
    if traits.sampled:
        yield f"{source.name} samples: small connections may be missing, and counters are too low"
    for asked in _asked(resolved):
        # A sensor that decides nothing sees a denied attempt as one that failed. The reverse does not hold.
        if "failed" in asked and "failed" not in traits.outcomes:
            yield f"{source.name} never tells that a connection failed"
    if traits.initiator == "inferred":
        yield f"who began a connection is inferred: {traits.evidence}"
    windows = [stage for stage in plan(resolved) if isinstance(stage, Window)]
    interval = seconds(traits.interval) if traits.interval != "0s" else 0
    if any(w.timespan < _WINDOW_OVER_INTERVAL * interval * 1_000_000 for w in windows):
        yield f"a record sums up {traits.interval}, which is long for the rule's window"
    if windows and len(traits.reports) > 1 and source.merge is None:
        yield "a connection may count more than once"

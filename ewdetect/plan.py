"""ResolvedRule → stages: the small form between Sigma and a query language.

Every detection is a few stages, dependencies first. A `Selection` picks single flows. A `Window` looks at the hits of
earlier stages, group by group, through a window that slides over time. Backends print stages; they never look at
Sigma documents again, except that pySigma renders a selection's predicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ewdetect.model import Kind, Rule
from ewdetect.resolve import ResolvedRule

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "<>"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """`operator` is a key of OPERATORS."""

    operator: str
    value: float


@dataclass(frozen=True, slots=True)
class Key:
    """A group-by key: its name, and the field that fills it for each input stage."""

    name: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a window computes. `fields` maps each input stage to the measured fields.

    Functions: count, distinct, sum, avg, median, percentile (with `percentile` in percent, interpolated).
    """

    function: str
    fields: Mapping[str, tuple[str, ...]]
    percentile: float | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Single flows that match an event rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Window:
    """A count, sum or other measure over a sliding window of `timespan` microseconds: (t - timespan, t]."""

    name: str
    inputs: tuple[str, ...]
    keys: tuple[Key, ...]
    timespan: int
    measure: Measure
    thresholds: tuple[Threshold, ...]     # all must hold: two make a range


@dataclass(frozen=True, slots=True)
class Steps:
    """Hits of all inputs, each strictly later than the one before, within one sliding window.

    `distinct` keys must differ between the two steps.
    """

    name: str
    inputs: tuple[str, ...]
    keys: tuple[Key, ...]
    timespan: int
    distinct: tuple[Key, ...] = ()


Stage = Selection | Window | Steps


def plan(resolved: ResolvedRule) -> tuple[Stage, ...]:
    """The stages of a rule; the last one's hits are its alerts."""
    names = {reference: part.name for part in resolved.parts for reference in (part.name, part.id)}
    stages: list[Stage] = []
    for part in resolved.parts:
        if part.kind is Kind.EVENT:
            stages.append(Selection(part.name))
        else:
            stages.append(_correlation(part, names))
    if resolved.rule.kind is Kind.EVENT and "suppress" in resolved.rule.meta:
        stages.append(_suppression(resolved.rule))
    return tuple(stages)


def seconds(timespan: str) -> int:
    """A Sigma timespan such as `10m` in seconds. Raises ValueError for anything else."""
    if not (match := re.fullmatch(r"([1-9][0-9]*)([smhdw])", timespan)):
        raise ValueError(f"`{timespan}` is no timespan; write a number and s, m, h, d or w")
    return int(match[1]) * _UNITS[match[2]]


def _suppression(rule: Rule) -> Window:
    """One alert for a key until it was silent for the given time: a count of at least one."""
    suppress = rule.meta["suppress"]
    keys = tuple(Key(field, {rule.name: field}) for field in suppress["by"])
    return Window(f"{rule.name} suppressed", (rule.name,), keys, seconds(suppress["for"]) * 1_000_000,
                  Measure("count", {rule.name: ()}), (Threshold("gte", 1),))


def _correlation(rule: Rule, names: Mapping[str, str]) -> Window | Steps:
    body: Mapping[str, Any] = rule.body["correlation"]
    inputs = tuple(names[reference] for reference in _as_list(body["rules"]))
    aliases = {alias: {names[reference]: field for reference, field in fields.items()}
               for alias, fields in (body.get("aliases") or {}).items()}
    keys = tuple(_key(field, inputs, aliases) for field in _as_list(body.get("group-by") or []))
    timespan = seconds(body["timespan"]) * 1_000_000
    if body["type"] == "temporal_ordered":
        distinct = tuple(_key(field, inputs, aliases) for field in rule.meta.get("distinct") or ())
        return Steps(rule.name, inputs, keys, timespan, distinct)
    return Window(rule.name, inputs, keys, timespan, _measure(body, inputs, aliases), _thresholds(body, inputs))


def _key(field: str, inputs: Sequence[str], aliases: Mapping[str, Mapping[str, str]]) -> Key:
    return Key(field, aliases.get(field) or dict.fromkeys(inputs, field))


def _measure(body: Mapping[str, Any], inputs: Sequence[str], aliases: Mapping[str, Mapping[str, str]]) -> Measure:
    function = body["type"].removeprefix("event_").removeprefix("value_")
    if body["type"] == "temporal":
        return Measure("temporal", dict.fromkeys(inputs, ()))
    if body["type"] == "event_count":
        return Measure("count", dict.fromkeys(inputs, ()))
    if body["type"] == "value_count":
        function = "distinct"
    condition = body["condition"]
    fields = _as_list(condition["field"])
    by_input = {i: tuple(aliases.get(f, {}).get(i, f) for f in fields) for i in inputs}
    return Measure(function, by_input, condition.get("percentile"))


def _thresholds(body: Mapping[str, Any], inputs: Sequence[str]) -> tuple[Threshold, ...]:
    condition = body.get("condition") or {"gte": len(inputs)}       # temporal: all of the rules, unless it says less
    return tuple(Threshold(op, condition[op]) for op in OPERATORS if op in condition)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fields_used(resolved: ResolvedRule) -> frozenset[str]:
    """Every canonical field that the rule reads, anywhere."""
    parts = [*resolved.parts, *(f for filters in resolved.filters.values() for f in filters)]
    return frozenset(field for part in parts for field in rule_fields(part))


def rule_fields(rule: Rule) -> Iterator[str]:
    """The canonical fields that one document names, alias names left out."""
    detection = rule.body.get("detection") or rule.body.get("filter") or {}
    for key, selection in detection.items():
        if key not in ("condition", "rules"):
            yield from _selection_fields(selection)
    correlation = rule.body.get("correlation") or {}
    aliases = correlation.get("aliases") or {}
    named = [
        *_as_list(correlation.get("group-by") or []),
        *_as_list((correlation.get("condition") or {}).get("field") or []),
        *(rule.meta.get("suppress") or {}).get("by", []),
    ]
    yield from (field for field in named if field not in aliases)
    yield from (field for fields in aliases.values() for field in fields.values())


def _selection_fields(selection: Any) -> Iterator[str]:
    if isinstance(selection, list):
        for item in selection:
            yield from _selection_fields(item)
    elif isinstance(selection, dict):
        for key, value in selection.items():
            yield key.partition("|")[0]
            if "|fieldref" in key:
                yield from _as_list(value)

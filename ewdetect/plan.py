"""ResolvedRule → stages: the small form between Sigma and a query language.

Every detection is a few stages, dependencies first. A `Selection` picks single flows. A `Window` looks at the hits of
earlier stages, group by group, through a window that slides over time. `FirstSeen`, `Deviation` and `Beacon` are the
types that Sigma does not have. Backends print stages; they never look at documents again, except that pySigma renders
a selection's predicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ewdetect.model import OWN_KINDS, Kind, Rule
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


@dataclass(frozen=True, slots=True)
class Aged:
    """Part of a combination that must itself be known: seen at least `age` microseconds before."""

    fields: tuple[str, ...]
    age: int


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """Flows of the input at the instants at which their combination of keys is new, and for `fresh` after them.

    New is what did not occur for `history`; nothing is new before the data covers `warm_up`. All in microseconds.
    """

    name: str
    inputs: tuple[str, ...]
    keys: tuple[Key, ...]
    history: int
    warm_up: int
    fresh: int = 0
    aged: Aged | None = None

    @property
    def timespan(self) -> int:
        return self.history


@dataclass(frozen=True, slots=True)
class Deviation:
    """A measure of each group and bucket, held against the group's earlier buckets of the same season.

    Above: the measure is at least `floor` and more than median + factor × MAD. Below: the median is at least `floor`
    and the measure at most factor × median. `others`: the other groups must together reach this share of their
    medians. `bucket`, `season` and `history` in microseconds, each a multiple of the one before.
    """

    name: str
    inputs: tuple[str, ...]
    keys: tuple[Key, ...]
    measure: Measure
    bucket: int
    season: int
    history: int
    minimum: int
    above: bool
    factor: float
    floor: float
    others: float = 0

    @property
    def timespan(self) -> int:
        return self.history + self.bucket


@dataclass(frozen=True, slots=True)
class Beacon:
    """Connections of a group that come at regular intervals and have regular sizes, in one sliding window."""

    name: str
    inputs: tuple[str, ...]
    keys: tuple[Key, ...]
    timespan: int
    size: str
    minimum: int
    maximum: int | None
    lasting: int
    score: float


Stage = Selection | Window | Steps | FirstSeen | Deviation | Beacon


def plan(resolved: ResolvedRule) -> tuple[Stage, ...]:
    """The stages of a rule; the last one's hits are its alerts."""
    names = {reference: part.name for part in resolved.parts for reference in (part.name, part.id)}
    stages: list[Stage] = []
    for part in resolved.parts:
        if part.kind is Kind.EVENT:
            stages.append(Selection(part.name))
        elif part.kind in OWN_KINDS:
            stages.append(_own(part, names))
        else:
            stages.append(_correlation(part, names))
    if resolved.rule.kind is Kind.EVENT and "suppress" in resolved.rule.meta:
        stages.append(_suppression(resolved.rule))
    if isinstance(last := stages[-1], FirstSeen):
        stages[-1:] = [replace(last, fresh=0), _alerts(last)]
    return tuple(stages)


def seconds(timespan: str) -> int:
    """A Sigma timespan such as `10m` in seconds. Raises ValueError for anything else."""
    if not (match := re.fullmatch(r"([1-9][0-9]*)([smhdw])", timespan)):
        raise ValueError(f"`{timespan}` is no timespan; write a number and s, m, h, d or w")
    return int(match[1]) * _UNITS[match[2]]


def _own(rule: Rule, names: Mapping[str, str]) -> FirstSeen | Deviation | Beacon:
    says = rule.meta
    base = names[says["rule"]]
    keys = tuple(Key(field, {base: field}) for field in says.get("fields") or says["group-by"])
    if rule.kind is Kind.FIRST_SEEN:
        aged = says.get("aged")
        return FirstSeen(rule.name, (base,), keys, _span(says["history"]),
                         _span(says.get("warm-up", says["history"])), _span(says["fresh"]) if "fresh" in says else 0,
                         Aged(tuple(aged["fields"]), _span(aged["for"])) if aged else None)
    if rule.kind is Kind.BEACON:
        return Beacon(rule.name, (base,), keys, _span(says["timespan"]), says["size"], says["minimum"],
                      says.get("maximum"), _span(says["lasting"]), says["score"])
    bound = says.get("above") or says["below"]
    measure = Measure(says["metric"], {base: tuple(_as_list(says.get("field") or []))})
    return Deviation(rule.name, (base,), keys, measure, _span(says["bucket"]),
                     _span(says.get("season", says["bucket"])), _span(says["history"]), says["minimum"],
                     "above" in says, bound["factor"], bound["floor"], bound.get("others", 0))


def _span(timespan: str) -> int:
    return seconds(timespan) * 1_000_000


def _alerts(stage: FirstSeen) -> Window:
    """One alert for each combination and instant at which it is new, as a window that holds nothing else."""
    keys = tuple(Key(key.name, {stage.name: key.name}) for key in stage.keys)
    return Window(f"{stage.name} alerts", (stage.name,), keys, 1, Measure("count", {stage.name: ()}),
                  (Threshold("gte", 1),))


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
        *own_fields(rule),
    ]
    yield from (field for field in named if field not in aliases)
    yield from (field for fields in aliases.values() for field in fields.values())


def own_fields(rule: Rule) -> Iterator[str]:
    """The canonical fields that a document of a type of our own names under `ewdetect:`."""
    if rule.kind in OWN_KINDS:
        says = rule.meta
        yield from (*says.get("fields", ()), *says.get("group-by", ()), *(says.get("aged") or {}).get("fields", ()))
        yield from (*_as_list(says.get("field") or []), *_as_list(says.get("size") or []))


def _selection_fields(selection: Any) -> Iterator[str]:
    if isinstance(selection, list):
        for item in selection:
            yield from _selection_fields(item)
    elif isinstance(selection, dict):
        for key, value in selection.items():
            yield key.partition("|")[0]
            if "|fieldref" in key:
                yield from _as_list(value)

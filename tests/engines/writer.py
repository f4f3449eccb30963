"""A flow as a record of any mapped source: fields as the mapping names them, values that fit what it asks of records.

The mapping and source.yml are all that is known of a source here, so a wrong name of a field goes unseen. What does
not come from the mapping is what a fault in it is measured by: outcomes and directions are read back through
source.yml's own cases, durations have the unit of source.yml or of ECS, and in Elastic addresses stand in ECS's fields
as the record has them, which in an answer is the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, product
from typing import Any

from ewdetect.backends.values import OUTCOME
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source
from ewdetect.flows.source import UNITS
from tests.convert_world import fields, first_case, holds, source
from tests.source_records import choices, letters_of, may_hold, raw_value, siem_field, takes, typed

SHARED = {"elastic": "ecs", "splunk": "cim"}
START, DURATION, TRANSPORT = "event.start", "event.duration", "network.transport"
SECOND = 1_000_000          # microseconds
# What a sensor says that does not know the word: without an answer a denial is a failure, and a filter sees no answers.
_INSTEAD = {"denied": ("failed", "unknown"), "failed": ("unknown",), "established": ("unknown",), "unknown": ()}
# What a flow keeps in any record. Its counters, state and action follow from the outcome, where that is told from them.
_KEPT = ("source.ip", "destination.ip", "source.port", "destination.port", TRANSPORT, "icmp.type", "icmp.code")
_ICMP = ("icmp", "ipv6-icmp")
_SIDES = {f"{a}.{part}": f"{b}.{part}" for part in ("ip", "port")
          for a, b in (("source", "destination"), ("destination", "source"))}
_MANY = 12                  # different records of one outcome, taken in turn
_TRIED = 50_000             # combinations for one way of turning a flow into a record
_MORE = 200                 # of so many combinations, those that fit are enough

Flow = Mapping[str, Any]
Options = tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """One source in one SIEM. `names` are canonical → the SIEM's, `words` the outcomes that its records have."""

    siem: str
    source: Source
    vocabulary: Vocabulary
    names: Mapping[str, str]
    choices: Mapping[str, tuple[Any, ...]]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A record, without its times, and the flow that it tells. `flow` is None where a query must pass it over."""

    flow: Flow | None
    record: Mapping[str, Any]


@cache
def shape(name: str, siem: str) -> Shape:
    return shaped(siem, source(name), load_vocabulary(SHARED[siem], siem, source(name)))


def shaped(siem: str, told_by: Source, vocabulary: Vocabulary) -> Shape:
    return Shape(siem, told_by, vocabulary, vocabulary.names(fields(), enriched=False),
                 {name: tuple(values) for name, values in choices(told_by, vocabulary).items()},
                 vocabulary.outcomes or told_by.traits.outcomes)


def written(flow: Flow, made: Shape, number: int) -> Written | None:
    """The record of a flow, and the flow as it tells it; None where the query's records have no such flow.

    Where a record that the conditions take would tell an outcome that they rule out, it is written nonetheless, as one
    that must be passed over: a mapping that says the truth leaves none.
    """
    told = known(flow, made)
    for word in (told[OUTCOME], *_INSTEAD[told[OUTCOME]]):
        if word in made.words and (found := _record(told | {OUTCOME: word}, made, number)):
            return found
    if _checked(made) and (found := _record(told, made, number)):
        return Written(None, found.record)
    return None


def beside(record: Mapping[str, Any], made: Shape, number: int) -> Mapping[str, Any] | None:
    """The record with one value that the mapping's conditions do not take, as the sensor's other records have."""
    names = list(dict.fromkeys(made.vocabulary.conditions()))
    for name in (*names[number % len(names):], *names[:number % len(names)]):
        for value in sorted(made.choices[name], key=lambda value: value is None):
            other = {key: held for key, held in {**record, name: value}.items() if held is not None}
            if not takes(made.vocabulary, other):
                return other
    return None


def known(flow: Flow, made: Shape) -> dict[str, Any]:
    """The flow without what the records do not tell, but with its id, by which an account names it."""
    told = {f.name: flow.get(f.name) for f in fields().values() if f.origin == "record"}
    told |= {TRANSPORT: told[TRANSPORT] or "tcp", OUTCOME: told[OUTCOME] or "unknown"}
    kept = {name for name in told if made.source.tells(name) and name in made.names} | {
        "event.id", START, OUTCOME, TRANSPORT}
    # A case may leave out what every record has; no record has a type of ICMP for another protocol.
    kept -= {"source.port", "destination.port"} if told[TRANSPORT] in _ICMP else {"icmp.type", "icmp.code"}
    return {name: value if name in kept else None for name, value in told.items()}


# ---------------------------------------------------------------- the search

def _record(told: Flow, made: Shape, number: int) -> Written | None:
    """The record whose values say least beyond the flow's own. An answer has its sides the other way round."""
    for turned in (False, True) if made.source.reply and made.siem == "elastic" else (False,):
        own = _own(told, made, turned, number)
        options = tuple((name, (own[name],) if name in own else values) for name, values in made.choices.items())
        for loose in _loosened(told, made):
            tried = tuple((name, tuple(v for v in (made.choices[name] if name in loose else values)
                                       if may_hold(made.vocabulary, name, v))) for name, values in options)
            if found := _solutions(made, told[OUTCOME], turned, tried, tuple(_fixed(own, made))):
                return _told(told, own, found[number * 7 % len(found)], made)
    return None


def _loosened(told: Flow, made: Shape) -> Iterator[tuple[str, ...]]:
    """Which of the flow's own fields another value may replace: none, then one, then more."""
    free = [made.names[name] for name, value in told.items()
            if value is not None and name not in (*_KEPT, OUTCOME, START) and made.names.get(name) in made.choices]
    return (loose for count in range(len(free) + 1) for loose in combinations(free, count))


@lru_cache(maxsize=20_000)
def _solutions(made: Shape, outcome: str, turned: bool, options: Options, fixed: Options) -> list[dict[str, Any]]:
    """Values of the fields on which outcome and conditions depend, for which source.yml and the mapping agree."""
    base = {name: value for name, (value,) in fixed}
    names = [name for name, _ in reversed(options)]      # what conditions ask for stands first, and changes first
    every = (dict(zip(names, values, strict=True)) for values in product(*(values for _, values in reversed(options))))
    found: list[dict[str, Any]] = []
    for tried, values in enumerate(every):
        if len(found) == _MANY or tried == _TRIED or (found and tried % _MORE == 0):
            break
        if _agrees({**base, **values}, outcome, turned, made):
            found.append(values)
    return found


def _fixed(own: Mapping[str, Any], made: Shape) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The flow's own fields that outcome or direction may look at, and no condition does."""
    asked = {siem_field(term.path, made.source, made.vocabulary)
             for term in (*(t for case in made.source.fields[OUTCOME].cases for t in case.terms),
                          *(t for terms in made.source.reply for t in terms))}
    return ((name, (value,)) for name, value in own.items() if name in asked and name not in made.choices)


def _agrees(record: Mapping[str, Any], outcome: str, turned: bool, made: Shape) -> bool:
    present = {name: value for name, value in record.items() if value is not None}
    if not takes(made.vocabulary, present):
        return False
    raw = _Raw(present, made)
    reply = any(all(holds(term, raw[term.path]) for term in terms) for terms in made.source.reply)
    return (made.siem != "elastic" or reply is turned) and (
        not _checked(made) or first_case(made.source.fields[OUTCOME], raw) == outcome)


def _checked(made: Shape) -> bool:
    """Whether the mapping names the fields that tell the outcome; it need not, where all records have one."""
    return len(made.words) > 1 or bool(made.vocabulary.raw)


class _Raw(dict[str, Any]):
    """Raw path → what the sensor wrote, read from a record when asked for."""

    def __init__(self, record: Mapping[str, Any], made: Shape) -> None:
        self.record, self.made = record, made

    def __missing__(self, path: str) -> Any:
        return raw_value(path, self.record, self.made.source, self.made.vocabulary)

    def get(self, path: str, default: Any = None) -> Any:
        return self[path]


# ---------------------------------------------------------------- values

def _own(told: Flow, made: Shape, turned: bool, number: int) -> dict[str, Any]:
    """The fields that the flow itself fills, as the SIEM holds them."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if value is None or name in (START, OUTCOME) or name not in made.names:
            continue
        asked = made.vocabulary.values.get(name, {})
        word = next((said for key, said in asked.items() if str(key) == str(value)), None)
        if word is None:
            target = _place(name, made, turned)
            found[target] = _spelt(name, target, value, made, number)
        else:
            found |= {made.names.get(key, key): _first(said) for key, said in word.items() if key != "network.type"}
    return {name: typed(name, value, made.vocabulary) for name, value in found.items()}


def _place(name: str, made: Shape, turned: bool) -> str:
    """The field of a canonical one. Elastic's integrations fill ECS's fields of addresses as the record has them."""
    target = made.names[name]
    if made.siem != "elastic" or name not in _SIDES or target not in _SIDES:
        return target
    return _SIDES[name] if turned else name


def _first(said: Any) -> Any:
    return said[0] if isinstance(said, list) else said


def _spelt(name: str, target: str, value: Any, made: Shape, number: int) -> Any:
    if name == DURATION:
        unit = _unit(target, made)
        return round(value / unit) if unit < 1 else value
    if isinstance(value, str) and fields()[name].type == "string":
        letters = letters_of(target, made.vocabulary)
        upper = letters == "upper" or (letters == "mixed" and number % 2)
        return value.upper() if upper else value.lower()
    return value


def _unit(target: str, made: Shape) -> float:
    """The seconds that a duration counts. ECS has nanoseconds; a field of the sensor's own has the sensor's unit."""
    return 1e-9 if target == DURATION else UNITS.get(made.source.fields[DURATION].unit, 1.0)


def _told(told: Flow, own: Mapping[str, Any], values: Mapping[str, Any], made: Shape) -> Written:
    """The whole record, and the flow with what the record says in place of its own values, or where it had none."""
    said = {name: _read(name, values[made.names[name]], made) for name in told
            if name in made.source.fields and name not in (*_KEPT, OUTCOME, START) and made.names.get(name) in values
            and values[made.names[name]] != own.get(made.names[name])}
    flow, record = {**told, **said}, {**own, **values}
    if (total := made.names.get("network.bytes")) and None not in (flow["source.bytes"], flow["destination.bytes"]):
        record[total] = flow["source.bytes"] + flow["destination.bytes"]
    return Written(flow, {name: value for name, value in record.items() if value is not None})


def _read(name: str, value: Any, made: Shape) -> Any:
    """The canonical value of a field that was filled for the sake of an outcome or a condition."""
    if value is None:
        return None
    if name == DURATION:
        return float(value) * _unit(made.names[name], made)
    if fields()[name].type in ("integer", "number", "port"):
        return int(value)
    text = str(value).lower() if fields()[name].type == "string" else str(value)
    return made.source.fields[name].mapping.get(text, text)

"""What a mapping asks of the records of its source, and what their fields may hold: read from the files, no query made.

Records are by the SIEM's own names of fields. Two suites use this: tests/test_convert_outcomes.py, with records of all
values, and tests/engines, with those that a flow becomes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from ewdetect.backends.values import OUTCOME, field_of
from ewdetect.backends.vocabulary import Vocabulary
from ewdetect.flows import Source, Term
from tests.convert_world import fields
from tests.siem_readers import in_network

Record = Mapping[str, Any]
_ORDER = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_LONG = frozenset({"byte", "short", "integer", "long", "unsigned_long"})


# ---------------------------------------------------------------- names

def siem_field(path: str, source: Source, vocabulary: Vocabulary) -> str:
    """The SIEM's field of a raw path."""
    name = field_of(path, source, vocabulary)
    return vocabulary.names(fields(), enriched=False).get(name, name)


def spellings(path: str, source: Source, vocabulary: Vocabulary) -> Mapping[str, Mapping[str, Any]]:
    """How the SIEM spells the words of a raw path that has no field of its own: word → field → value or values."""
    name = field_of(path, source, vocabulary)
    return vocabulary.values.get(name, {}) if name not in source.fields else {}


def raw_value(path: str, record: Record, source: Source, vocabulary: Vocabulary) -> Any:
    """What the sensor wrote, by the record. A field of canonical words is read back through source.yml's own map."""
    names = vocabulary.names(fields(), enriched=False)
    for word, asked in spellings(path, source, vocabulary).items():
        if all(_holds(names.get(name, name), value, record) for name, value in asked.items()):
            return word
    value = record.get(siem_field(path, source, vocabulary))
    told = next((spec.mapping for spec in source.fields.values() if path in spec.paths and spec.mapping), {})
    if value is None or str(value).lower() in told:
        return value
    return next((raw for raw, mapped in told.items() if mapped == str(value).lower()), value)


# ---------------------------------------------------------------- conditions

def takes(vocabulary: Vocabulary, record: Record) -> bool:
    """Whether the mapping's own conditions hold, as Sigma means them: letters aside, and a `not` where none is."""
    return all(any(all(_holds(key, value, record) for key, value in asked.items()) for asked in _ways(step))
               is not bool(step.get("negated")) for step in _added(vocabulary))


def _added(vocabulary: Vocabulary) -> Iterator[Mapping[str, Any]]:
    return (step for step in vocabulary.transformations if step["type"] == "add_condition")


def _ways(step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    said = step["conditions"]
    return said if isinstance(said, list) else [said]


def _holds(key: str, value: Any, record: Record) -> bool:
    name, *modifiers = key.split("|")
    test = next((m for m in modifiers if m != "neq"), "")
    found = any(_fits(record.get(name), wanted, test) for wanted in _list(value))
    return found is ("neq" not in modifiers)


def _fits(have: Any, wanted: Any, test: str) -> bool:
    if test == "exists":
        return (have is not None) is bool(wanted)
    if wanted is None or have is None:
        return have is wanted
    if test in _ORDER:
        return bool(_ORDER[test](float(have), wanted))
    if test == "cidr":
        return in_network(have, wanted)
    text = str(wanted).lower()
    shape = {"": text, "startswith": f"{text}*", "endswith": f"*{text}", "contains": f"*{text}*"}[test]
    return fnmatchcase(str(have).lower(), shape.replace("[", "[[]"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(vocabulary: Vocabulary) -> Mapping[str, list[Any]]:
    """The fields of which every record has one of some values, and these."""
    return {name: _list(value) for step in _added(vocabulary) if not step.get("negated") and len(_ways(step)) == 1
            for name, value in _ways(step)[0].items() if "|" not in name}


def may_hold(vocabulary: Vocabulary, name: str, value: Any) -> bool:
    """Whether the conditions on the field alone take the value."""
    return all(_holds(key, wanted, {name: value} if value is not None else {})
               for step in _added(vocabulary) if not step.get("negated") and len(_ways(step)) == 1
               for key, wanted in _ways(step)[0].items() if key.partition("|")[0] == name)


# ---------------------------------------------------------------- values

def choices(source: Source, vocabulary: Vocabulary) -> Mapping[str, list[Any]]:
    """The SIEM's fields on which outcome and direction depend, and those of the mapping's conditions, with what each
    may hold: nothing, every value that is asked for, and neighbours. What the conditions take stands first."""
    names = vocabulary.names(fields(), enriched=False)
    asked = [term for case in source.fields[OUTCOME].cases for term in case.terms]
    asked += [term for terms in source.reply for term in terms]
    terms: dict[str, list[Term]] = {}
    words: dict[str, list[Any]] = {}
    for term in asked:
        for spelling in spellings(term.path, source, vocabulary).values():
            for name, value in spelling.items():
                words.setdefault(names.get(name, name), []).extend([v for v in _list(value) if v is not None])
        if (name := siem_field(term.path, source, vocabulary)) in names.values():
            terms.setdefault(name, []).append(term)
    found = {name: [*conditioned(name, vocabulary), *words.get(name, ()), *(
        meant(terms[name], name, vocabulary) if name in terms else (None, *_else(name, vocabulary)))]
             for name in dict.fromkeys([*vocabulary.conditions(), *words, *terms])}
    return {name: list(dict.fromkeys(typed(name, value, vocabulary) for value in values))
            for name, values in found.items()}


def letters_of(name: str, vocabulary: Vocabulary) -> str:
    """How the SIEM's field stores its text: lower, upper or mixed."""
    names = vocabulary.names(fields(), enriched=False)
    return next((letters for field, letters in vocabulary.letters.items() if names.get(field, field) == name), "mixed")


def spelt(name: str, text: str, vocabulary: Vocabulary) -> str:
    """A text in the letters of the field."""
    return {"lower": str.lower, "upper": str.upper}.get(letters_of(name, vocabulary), str)(text)


def meant(terms: Iterable[Term], name: str, vocabulary: Vocabulary) -> Iterator[Any]:
    """Nothing, the values that source.yml's terms name of a field, and their neighbours."""
    yield None
    asked, kind = list(terms), vocabulary.content.get("types", {}).get(name)
    if kind == "boolean":
        yield from (True, False)
        return
    if any(t.operator in ("has", "hasnt") for t in asked):
        yield from range(64)            # the flags without ECN's two, which no case asks for
        return
    if any(t.operator in _ORDER for t in asked) or kind in _LONG or name in _numbers(vocabulary):
        yield from _around(1 if t.operator == "present" else n for t in asked for n in t.values
                           if t.operator == "present" or str(n).isdigit())
        return
    masks = sorted({int(t.values[0]) for t in asked if t.operator in ("bits", "nobits")})
    if masks:
        yield from (f"{mask:02x}" for mask in (*masks, *(a | b for a, b in combinations(masks, 2)), 0))
        return
    words = [str(v) for t in asked if t.operator != "present" for v in t.values]
    for value in [*words, "other"]:
        for text in (value.replace("*", ""), f"x{value.replace('*', '')}y"):
            yield spelt(name, text, vocabulary)


def _numbers(vocabulary: Vocabulary) -> set[str]:
    names = vocabulary.names(fields(), enriched=False)
    return {names[f.name] for f in fields().values() if f.name in names and f.type in ("port", "integer", "number")
            and f.name not in vocabulary.values}


def _around(numbers: Iterable[Any]) -> list[int]:
    return sorted({int(n) + step for n in numbers for step in (-1, 0, 1) if int(n) + step >= 0})


def conditioned(name: str, vocabulary: Vocabulary) -> Iterator[Any]:
    """The values that the mapping's conditions name of a field, and the neighbours of those that are compared."""
    for step in _added(vocabulary):
        for key, value in (item for way in _ways(step) for item in way.items()):
            if key.partition("|")[0] == name:
                compared = set(key.split("|")[1:]) & _ORDER.keys()
                yield from (_around(_list(value)) if compared else ["1"] if "exists" in key
                            else [v.replace("*", "") if isinstance(v, str) else v for v in _list(value)
                                  if v is not None])


def _else(name: str, vocabulary: Vocabulary) -> Iterator[str]:
    """A text that no condition names, where texts are what conditions ask for."""
    said = [(key, v) for step in _added(vocabulary) for way in _ways(step) for key, value in way.items()
            for v in _list(value) if key.partition("|")[0] == name]
    if all(not set(key.split("|")[1:]) & {*_ORDER, "cidr", "exists"} and not isinstance(v, bool) for key, v in said):
        yield spelt(name, "other", vocabulary)


def typed(name: str, value: Any, vocabulary: Vocabulary) -> Any:
    """A value in the type that the mapping says the field has."""
    kind = vocabulary.content.get("types", {}).get(name)
    if value is None or kind == "boolean":
        return value
    if kind in _LONG:
        return int(value) if str(value).isdigit() else None
    return str(value) if kind is not None else value

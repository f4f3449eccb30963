"""What a query takes for an outcome is what the reader takes for it, record by record, on every mapped source.

No SIEM has a field for `flow.outcome`: a mapping names the fields of source.yml's cases, and the converter builds the
condition. Here records are made of all values that the cases name, of their neighbours, and of nothing; the readers of
tests/siem_readers.py judge the emitted text, and source.yml's own cases say what is right.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ewdetect.backends.values import OUTCOME, field_of
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source, Term
from ewdetect.load import load_sources
from ewdetect.problems import Rejected
from tests import siem_readers
from tests.convert_world import SOURCES, converted, fields, first_case
from tests.convert_world import rule as asking

Record = dict[str, Any]
SIEMS = {"esql": ("ecs", "elastic"), "spl": ("cim", "splunk")}
MOST = 4_000            # records for each source
# What records have beyond the plain conditions of their mapping.
ALSO: Mapping[tuple[str, str], Record] = {("iptables", "esql"): {"iptables.tcp.flags": "SYN"}}
_ORDER = ("gt", "gte", "lt", "lte")


def mapped() -> Iterator[tuple[Source, str]]:
    """The sources of which a query can tell outcomes apart, where what it asks for are fields and no other words.

    Cisco ASA and FTD have such words; tests/test_convert_sources.py has their queries.
    """
    for source, dialect in itertools.product(load_sources(), SIEMS):
        if source.name in SOURCES:
            continue
        try:
            vocabulary = load_vocabulary(*SIEMS[dialect], source)
        except Rejected:
            continue
        if len(vocabulary.outcomes) != 1 and not vocabulary.values.keys() & {
                term.path for case in source.fields[OUTCOME].cases for term in case.terms}:
            yield source, dialect


@pytest.mark.parametrize(("source", "dialect"), list(mapped()), ids=lambda p: getattr(p, "name", p))
def test_a_query_tells_the_outcome_that_the_reader_tells(source: Source, dialect: str) -> None:
    vocabulary = load_vocabulary(*SIEMS[dialect], source)
    ours = predicate({"source.ip|exists": True}, source, dialect)
    told = {word: predicate({OUTCOME: word}, source, dialect)
            for word in vocabulary.outcomes or source.traits.outcomes}
    names = {path: siem_field(path, source, vocabulary) for path in source.raw_paths()}
    seen = set()
    for record in records(source, vocabulary, ALSO.get((source.name, dialect), {})):
        if ours(record):
            right = first_case(source.fields[OUTCOME], {path: record.get(name) for path, name in names.items()})
            seen.add(right)
            assert {word for word, test in told.items() if test(record)} == {right} & told.keys(), record
    assert told.keys() <= seen


def predicate(selection: Mapping[str, Any], source: Source, dialect: str) -> Any:
    text = converted(asking(selection), dialect, source_name=source.name).text
    if dialect == "esql":
        found = re.search(r"\| WHERE (.*?) \| KEEP ", text)
        assert found
        return siem_readers.Esql(found[1]).whole()
    return siem_readers.Spl(text.partition(" | ")[0].removeprefix("search ")).whole()


# ---------------------------------------------------------------- records

def records(source: Source, vocabulary: Vocabulary, also: Record) -> Iterator[Record]:
    """Documents of the source, with every value of its cases' fields, or a part of them that is drawn by lot."""
    asked = _conditions(vocabulary)
    varied = {name: list(dict.fromkeys([*_values(name, terms, vocabulary), *asked.get(name, ())]))
              for name, terms in terms_by_field(source, vocabulary).items()}
    whole = [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]
    for record in whole if len(whole) <= MOST else random.Random(4).sample(whole, MOST):
        yield {**_plain(vocabulary), **also, **{name: value for name, value in record.items() if value is not None}}


def terms_by_field(source: Source, vocabulary: Vocabulary) -> Mapping[str, list[Term]]:
    """The SIEM's field of each raw path that an outcome asks for, and what is asked."""
    found: dict[str, list[Term]] = {}
    for term in (term for case in source.fields[OUTCOME].cases for term in case.terms):
        found.setdefault(siem_field(term.path, source, vocabulary), []).append(term)
    return found


def siem_field(path: str, source: Source, vocabulary: Vocabulary) -> str:
    name = field_of(path, source, vocabulary)
    return vocabulary.names(fields(), enriched=False).get(name, name)


def _values(name: str, terms: list[Term], vocabulary: Vocabulary) -> Iterator[Any]:
    yield None
    kind = vocabulary.content.get("types", {}).get(name)
    if kind == "boolean":
        yield from (True, False)
        return
    if any(t.operator in ("has", "hasnt") for t in terms):
        yield from range(64)            # the flags without ECN's two, which no case asks for
        return
    if any(t.operator in _ORDER for t in terms) or kind == "short":
        yield from sorted({n + step for t in terms for n in t.values for step in (-1, 0, 1) if n + step >= 0})
        return
    spelt = {"lower": str.lower, "upper": str.upper}.get(_letters(name, vocabulary), str)
    for value in [*(str(v) for t in terms if t.operator != "present" for v in t.values), "other"]:
        for text in (value.replace("*", ""), f"x{value.replace('*', '')}y"):
            yield spelt(text)


def _letters(name: str, vocabulary: Vocabulary) -> str:
    names = vocabulary.names(fields(), enriched=False)
    return next((letters for field, letters in vocabulary.letters.items() if names.get(field, field) == name), "mixed")


def _plain(vocabulary: Vocabulary) -> Record:
    """What every record of the source has: addresses, and what its conditions ask for."""
    names = vocabulary.names(fields(), enriched=False)
    made = {names["source.ip"]: "10.0.0.1", names["destination.ip"]: "10.0.0.2", names["source.port"]: 50_000,
            names["destination.port"]: 445, names["network.transport"]: "tcp"}
    return made | {name: values[0] for name, values in _conditions(vocabulary).items()}


def _conditions(vocabulary: Vocabulary) -> Mapping[str, list[Any]]:
    """The fields by which the source's records are told from others, and their values."""
    steps = [step["conditions"] for step in vocabulary.transformations
             if step["type"] == "add_condition" and not step.get("negated")]
    return {name: value if isinstance(value, list) else [value] for conditions in steps if isinstance(conditions, dict)
            for name, value in conditions.items() if "|" not in name}

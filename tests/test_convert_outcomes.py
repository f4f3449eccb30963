"""What a query takes for an outcome is what the reader takes for it, record by record, on every mapped source.

No SIEM has a field for `flow.outcome`: a mapping names the fields of source.yml's cases, and the converter builds the
condition. Here records are made of all values that the cases name, of their neighbours, and of nothing; the readers of
tests/siem_readers.py judge the emitted text, and source.yml's own cases say what is right.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ewdetect.backends.values import OUTCOME
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source
from ewdetect.load import load_sources
from ewdetect.problems import Rejected
from tests import siem_readers
from tests.convert_world import SOURCES, converted, fields, first_case
from tests.convert_world import rule as asking
from tests.source_records import choices, plain, raw_value

Record = dict[str, Any]
SIEMS = {"esql": ("ecs", "elastic"), "spl": ("cim", "splunk")}
MOST = 4_000            # records for each source
# What records have beyond the plain conditions of their mapping.
ALSO: Mapping[tuple[str, str], Record] = {("iptables", "esql"): {"iptables.tcp.flags": "SYN"}}


def mapped() -> Iterator[tuple[Source, str]]:
    """The sources whose outcome a query can tell, or whose mapping takes one outcome and names what tells it."""
    for source, dialect in itertools.product(load_sources(), SIEMS):
        if source.name in SOURCES:
            continue
        try:
            vocabulary = load_vocabulary(*SIEMS[dialect], source)
        except Rejected:
            continue
        if len(vocabulary.outcomes) != 1 or vocabulary.raw:
            yield source, dialect


@pytest.mark.parametrize(("source", "dialect"), list(mapped()), ids=lambda p: getattr(p, "name", p))
def test_a_query_tells_the_outcome_that_the_reader_tells(source: Source, dialect: str) -> None:
    vocabulary = load_vocabulary(*SIEMS[dialect], source)
    ours = predicate({"source.ip|exists": True}, source, dialect)
    told = {word: predicate({OUTCOME: word}, source, dialect)
            for word in vocabulary.outcomes or source.traits.outcomes}
    seen = set()
    for record in records(source, vocabulary, ALSO.get((source.name, dialect), {})):
        if ours(record):
            right = first_case(source.fields[OUTCOME], {
                path: raw_value(path, record, source, vocabulary) for path in source.raw_paths()})
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
    varied = choices(source, vocabulary)
    lots = random.Random(4)
    few = math.prod(map(len, varied.values())) <= MOST
    for values in itertools.product(*varied.values()) if few else (
            [lots.choice(of) for of in varied.values()] for _ in range(MOST)):
        record = dict(zip(varied, values, strict=True))
        yield {**_base(vocabulary), **also, **{name: value for name, value in record.items() if value is not None}}


def _base(vocabulary: Vocabulary) -> Record:
    """What every record of the source has: addresses, and what its conditions ask for."""
    names = vocabulary.names(fields(), enriched=False)
    made = {names["source.ip"]: "10.0.0.1", names["destination.ip"]: "10.0.0.2", names["source.port"]: 50_000,
            names["destination.port"]: 445, names["network.transport"]: "tcp"}
    return made | {name: values[0] for name, values in plain(vocabulary).items()}

"""Conditions on single flows, run by a real Elasticsearch: Lucene as Kibana asks it, and ES|QL.

The probes and random flows of tests/test_convert_parity.py, and every event rule of the pack, base rules among them.
There a reader of ours judges the text; here Elasticsearch does, on documents with the integrations' types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

import pytest

from ewdetect.model import Kind, Rule
from ewdetect.problems import Rejected
from tests.convert_world import SOURCES, bare, converted, document, pack, rule
from tests.engines.elastic_world import properties
from tests.engines.elasticsearch.client import Client
from tests.test_convert_parity import PROBES, means, world

CONTEXTS = ("inline", "enriched")


@pytest.fixture(scope="module")
def search(node: Client) -> Callable[[str, str, str, str], set[int]]:
    """(source, context, dialect, query) → the numbers of the flows that Elasticsearch finds."""
    for name in SOURCES:
        for context in CONTEXTS:
            held = [{**document(name, raw, flow, "elastic", context == "enriched"), "@timestamp": 0}
                    for raw, flow in world(name, "office")]
            node.delete(_index(name, context))
            node.create(_index(name, context), properties(held, name))
            node.load(_index(name, context), held)

    def found(name: str, context: str, dialect: str, text: str) -> set[int]:
        index = _index(name, context)
        if dialect == "lucene":
            return {int(hit["_id"]) for hit in node.search(index, text)}
        query = re.sub(r"^FROM \S+ ", f"FROM {index} ", text).partition(" | KEEP ")[0]
        return {int(row[0]) for row in node.esql(f"{query} | KEEP _id | LIMIT 10000").rows}
    return found


def _index(name: str, context: str) -> str:
    return f"predicates-{name.replace('_', '-')}-{context}"


@cache
def asked() -> Mapping[str, Rule]:
    """The probes, the probes under a NOT, and the pack's event rules without what comes after their condition."""
    found = {name: rule(selection) for name, selection in PROBES.items()}
    found |= {f"not {name}": rule(selection, "other and not selection", other={"destination.port": [22, 445, 3, 8]})
              for name, selection in PROBES.items()}
    return found | {r.name: bare(r) for r in pack().rules.values() if r.kind is Kind.EVENT}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("dialect", ["lucene", "esql"])
@pytest.mark.parametrize("name", SOURCES)
def test_elasticsearch_finds_the_same_flows(search: Callable[[str, str, str, str], set[int]], name: str, dialect: str,
                                            context: str) -> None:
    wrong, hits = [], 0
    for word, probe in asked().items():
        try:
            text = converted(probe, dialect, source_name=name, context=context).text
        except Rejected:
            # The source does not tell all that the rule asks, or Lucene cannot add up: the golden file shows why.
            assert word in pack().rules or (dialect == "lucene" and "network.bytes" in str(probe.body))
            continue
        meaning = means(probe)
        wanted = {n for n, (_, flow) in enumerate(world(name, "office")) if meaning(flow)}
        hits += len(wanted)
        if search(name, context, dialect, text) != wanted:
            wrong.append(word)
    assert not wrong and hits

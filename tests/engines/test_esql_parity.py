"""Every rule of the pack in ES|QL, run by a real Elasticsearch as Kibana would run it, run after run.

Sources flow, zeek_conn and suricata_eve in the shape of their integrations; context inline and enriched. Then
Elasticsearch 9's own verdict on every query, and faults put into the emitter, each of which this suite must see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import pytest

from ewdetect.backends.base import Query
from ewdetect.cases import CaseFile
from ewdetect.convert import backend, convert_rule
from ewdetect.model import Rule
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.convert_world import SOURCES, office, pack, source
from tests.engines.elastic_world import indexed, properties
from tests.engines.elasticsearch.analyzer import Analyzer, Index, analyzer
from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.java import Unavailable
from tests.engines.esql_parity import cases_of, executed, expected
from tests.engines.ledger import Entry, Ledger
from tests.engines.spl_parity import CONTEXTS, case_files, windowed

PROVED = [f for f in case_files() if windowed(f)]


def converted(rule: Rule, name: str, context: str) -> tuple[ResolvedRule, Query]:
    resolved = resolve_rule(rule, pack(), source(name), office())
    return resolved, convert_rule(resolved, backend("elastic"), context, "esql")


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("case_file", PROVED, ids=lambda f: f.rule)
def test_the_same_alerts(node: Client, ledger: Ledger, case_file: CaseFile, name: str, context: str) -> None:
    seen = 0
    for rule in windowed(case_file):
        resolved, query = converted(rule, name, context)
        found, runs = executed(node, cases_of(case_file, name), resolved, query)
        wanted = list(expected(case_file.path, rule.name, name))
        wrong = len(set(found) ^ set(wanted))
        ledger.add(Entry(rule.name, "ES|QL", context, name, len(case_file.cases), runs, len(wanted), wrong, True))
        assert found == wanted
        seen += len(wanted)
    assert seen


# ---------------------------------------------------------------- Elasticsearch 9

@pytest.fixture(scope="module")
def front() -> Iterator[Analyzer]:
    try:
        with analyzer() as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", SOURCES)
def test_elasticsearch_9_accepts_every_query(front: Analyzer, name: str, context: str) -> None:
    """With the types of an integration's fields; the columns that Kibana needs are in the answer."""
    for case_file in PROVED:
        held = [flow.fields for flows in cases_of(case_file, name) for flow in indexed(flows, name, 0)]
        types = {field: kind["type"] for field, kind in properties(held, name).items()}
        for rule in windowed(case_file):
            _, query = converted(rule, name, context)
            index = re.match(r"FROM (\S+)", query.text)
            assert index
            columns = dict(front.check(query.text, [Index(index[1], types)]))
            assert columns["_id"] == "keyword" and columns["@timestamp"] == "datetime"
            assert set(re.findall(r"MV_EXPAND (\S+)", query.text)) <= columns.keys()


# ---------------------------------------------------------------- faults

def tumbling(anchored: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """A row shares a window with anchors of its own slot alone, which makes slots calendar buckets."""
    return lambda *given: [text.replace("MV_APPEND(ew_slot, ew_slot + 1)", "ew_slot") for text in anchored(*given)]


def not_null_safe(printed: Callable[..., str]) -> Callable[..., str]:
    return lambda self, cond, state: f"NOT ({self.convert_condition(cond.args[0], state)})"


FAULTS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "tumbling bucket": ("elastic.stages._anchored", tumbling, "enriched"),
    "threshold off by one": ("elastic.stages.at_least", lambda found: lambda given: found(given) + 1, "enriched"),
    "null-unsafe not": ("elastic.esql.EsqlPrinter.convert_condition_not", not_null_safe, "enriched"),
    "wrong look-back": ("elastic.correlation.schedule", lambda found: lambda *given: replace(found(*given), window=0),
                        "enriched"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_emitter_is_seen(node: Client, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, change, context = FAULTS[fault]
    module, _, name = f"ewdetect.backends.{place}".rpartition(".")
    monkeypatch.setattr(f"{module}.{name}", change(resolve_name(f"{module}.{name}")))
    seen = []
    for rule in ("smb_fanout", "db_unapproved_role"):
        case_file = next(f for f in PROVED if f.rule == rule)
        resolved, query = converted(pack().rules[rule], "flow", context)
        found, _ = executed(node, cases_of(case_file, "flow"), resolved, query)
        seen.append(found != list(expected(case_file.path, rule, "flow")))
    assert any(seen)

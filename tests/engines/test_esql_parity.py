"""Every rule of the pack in ES|QL, run by a real Elasticsearch as Kibana would run it, run after run.

Sources flow, zeek_conn and suricata_eve in the shape of their integrations; context inline and enriched. Then
Elasticsearch 9's own verdict on every query, and faults put into the emitter, each of which this suite must see.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import pytest

from ewdetect.backends.base import Query
from ewdetect.cases import CaseFile
from ewdetect.convert import backend, convert_rule
from ewdetect.load import load_sources
from ewdetect.model import Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.convert_world import ROOT, SOURCES, office, pack, source
from tests.engines.elastic_world import indexed, properties
from tests.engines.elasticsearch.analyzer import Analyzer, Index
from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.inline_stats import run
from tests.engines.esql_parity import cases_of, executed, expected
from tests.engines.kibana import MAX_SIGNALS, milliseconds, worlds
from tests.engines.ledger import Entry, Ledger
from tests.engines.spl_parity import CONTEXTS, case_files, windowed

OTHERS = [s.name for s in load_sources() if s.name not in SOURCES
          and (ROOT / "mappings" / s.name / "elastic.yml").is_file()]
PROVED = [f for f in case_files() if windowed(f)]


def converted(rule: Rule, name: str, context: str) -> tuple[ResolvedRule, Query]:
    resolved = resolve_rule(rule, pack(), source(name), office())
    return resolved, convert_rule(resolved, backend("elastic"), context, "esql")


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("case_file", PROVED, ids=lambda f: f.rule)
def test_the_same_alerts(node: Client, ledger: Ledger, case_file: CaseFile, name: str) -> None:
    """A file's own rule; the rules that it refers to have files of their own."""
    rule = pack().rules[case_file.rule]
    queries: dict[str, Query] = {}
    for context in CONTEXTS:
        try:
            resolved, queries[context] = converted(rule, name, context)
        except Rejected as refused:
            ledger.add(Entry(rule.name, "ES|QL", context, name, refused=tuple(p.message for p in refused.problems)))
    if not queries:
        return
    wanted = list(expected(case_file.path, rule.name, name))
    found, runs = executed(node, cases_of(case_file, name), resolved, *queries.values())
    for (context, query), hits in zip(queries.items(), found, strict=True):
        ledger.add(Entry(rule.name, "ES|QL", context, name, len(case_file.cases), runs, len(wanted),
                         len(set(hits) ^ set(wanted)), bool(query.caveats)))
    assert found == [wanted] * len(found)


# ---------------------------------------------------------------- Elasticsearch 9

@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", SOURCES)
def test_elasticsearch_9_accepts_every_query(front: Analyzer, name: str, context: str) -> None:
    """With the types of an integration's fields; the columns that Kibana needs are in the answer."""
    for case_file in PROVED:
        try:
            _, query = converted(pack().rules[case_file.rule], name, context)
        except Rejected:        # there is no query; test_the_same_alerts keeps the reasons
            continue
        held = [flow.fields for flows in cases_of(case_file, name) for flow in indexed(flows, name, 0)]
        types = {field: kind["type"] for field, kind in properties(held, name).items()}
        index = re.match(r"FROM (\S+)", query.text)
        assert index
        columns = dict(front.check(query.text, [Index(index[1], types)]))
        assert columns["_id"] == "keyword" and columns["@timestamp"] == "datetime"
        assert set(re.findall(r"MV_EXPAND (\S+)", query.text)) <= columns.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_elasticsearch_9_accepts_the_queries_of_every_other_source(front: Analyzer, name: str) -> None:
    """With the types that the mapping says its fields have: a comparison that does not fit them is refused."""
    types = {field: kind["type"] for field, kind in properties([], name).items()}
    accepted = 0
    for rule in pack().alerting():
        try:
            _, query = converted(rule, name, "inline")
        except Rejected:
            continue
        index = re.match(r"FROM (\S+)", query.text)
        assert index
        columns = dict(front.check(query.text, [Index(index[1], types)]))
        assert columns["@timestamp"] == "datetime"
        accepted += 1
    assert accepted


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
        [found], _ = executed(node, cases_of(case_file, "flow"), resolved, query)
        seen.append(found != list(expected(case_file.path, rule, "flow")))
    assert any(seen)


# ---------------------------------------------------------------- the replay itself

def test_one_request_for_each_run_says_the_same(node: Client) -> None:
    """What the other tests put into one request, here run by run: the filter of the request and its own NOW()."""
    rule = "smb_fanout"
    case_file = next(f for f in PROVED if f.rule == rule)
    _, query = converted(pack().rules[rule], "zeek_conn", "enriched")
    assert query.schedule
    cases = [indexed(flows, "zeek_conn", query.schedule.delay) for flows in cases_of(case_file, "zeek_conn")]
    found = []
    for number, flows in enumerate(cases[:6]):
        held = [{**flow.fields, "@timestamp": flow.began, "event.ingested": flow.arrived} for flow in flows]
        node.delete("parity-runs")
        node.create("parity-runs", properties(held, "zeek_conn") | {"event.ingested": {"type": "date"}})
        node.load("parity-runs", held)
        seen: set[tuple[str, int]] = set()
        for world in worlds([flows], query.schedule)[0]:
            seen |= ran(node, query, world.now)
        found += [(number, (group,), at) for group, at in seen]
    wanted = [hit for hit in expected(case_file.path, rule, "zeek_conn") if hit[0] < 6]
    assert sorted(found) == wanted and wanted


def ran(node: Client, query: Query, now: int) -> set[tuple[str, int]]:
    """The alerts of one run at `now` (ms), as groups and times."""
    assert query.schedule
    when = query.schedule
    back = (when.window + 2 * when.period + when.delay + when.lasting) * 1000
    between = {"range": {"@timestamp": {"gte": now - back, "lte": now, "format": "epoch_millis"}}}
    arrived = {"range": {"event.ingested": {"lte": now, "format": "epoch_millis"}}}
    text = re.sub(r"^FROM \S+ ", "FROM parity-runs ", query.text.replace("TO_LONG(NOW())", str(now)))
    answer = run(node, f"{text} | LIMIT {MAX_SIGNALS}", {"bool": {"filter": [between, arrived]}})
    return {(str(row["source.ip"]), milliseconds(row["@timestamp"])) for row in answer.records()}

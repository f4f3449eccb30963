"""Kibana's threshold and query rules, run on a real Elasticsearch as Kibana runs them.

From elastic/kibana, detection_engine/rule_types/threshold: a run aggregates the documents between `from` and `to` by a
composite of the fields, drops groups below the value or the cardinality, and leaves out what came before the last
document of an earlier alert of the group.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.convert_world import rule
from tests.elastic_rules import kibana, window_rule
from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.java import Unavailable
from tests.engines.elasticsearch.node import elasticsearch_node

INDEX = "logs-ewdetect.flow-test"
BEGIN = 1_767_225_600       # 2026-01-01 00:00 UTC
SOURCES = [f"10.10.0.{n}" for n in range(1, 7)]
SIDE = {"properties": {"ip": {"type": "ip"}, "port": {"type": "long"}}}
MAPPING = {"@timestamp": {"type": "date"}, "source": SIDE, "destination": SIDE,
           "data_stream": {"properties": {"dataset": {"type": "keyword"}}}}

Flow = tuple[int, str, str, int | None]     # second, source, destination, port


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    try:
        with elasticsearch_node() as url:
            made = Client(url)
            yield made
            made.delete(INDEX)
    except Unavailable as reason:
        pytest.skip(str(reason))


def loaded(client: Client, flows: Sequence[Flow]) -> None:
    client.delete(INDEX)
    client.create(INDEX, MAPPING)
    client.load(INDEX, [{"@timestamp": _iso(second), "source": {"ip": source}, "data_stream": {
        "dataset": "ewdetect.flow"}, "destination": {"ip": destination, **({"port": port} if port else {})}}
        for second, source, destination, port in flows])


def _iso(second: int) -> str:
    return datetime.fromtimestamp(BEGIN + second, UTC).isoformat()


def _seconds(time: str) -> int:
    return 0 if time == "now" else int(time.removeprefix("now-").removesuffix("s"))


def bursts(seed: int) -> list[Flow]:
    """Three hours of SSH sessions in bursts of any length around the threshold, and flows of another port or none."""
    chance, flows = random.Random(seed), []
    for source in SOURCES:
        for _ in range(6):
            begin, lasting = chance.randrange(1200, 10_000), chance.choice((0, 60, 250, 299, 300, 301, 400, 600))
            for target in range(chance.choice((4, 5, 6, 9))):
                second = begin + (round(lasting * target / 4) if target < 5 else chance.randrange(lasting + 1))
                flows.append((second, source, f"10.30.0.{target}", chance.choice((22, 22, 22, 22, 445, None))))
                flows.append((second, source, f"10.30.0.{target}", 22))
    return flows


def runs(client: Client, made: Mapping[str, Any], phase: int) -> list[tuple[int, str]]:
    """The alerts of every run over the three hours: its second, and the group."""
    since, until = _seconds(made["from"]), _seconds(made["to"])
    period = int(made["interval"].removesuffix("m")) * 60
    seen: dict[str, int] = {}
    alerts: list[tuple[int, str]] = []
    for now in range(phase, 13_000, period):
        for bucket in _buckets(client, made, now - since, now - until, seen):
            (group,) = bucket["key"].values()
            seen[group] = round(bucket["last"]["value"] / 1000) - BEGIN
            alerts.append((now, group))
    return alerts


def _buckets(client: Client, made: Mapping[str, Any], begin: int, end: int,
             seen: Mapping[str, int]) -> list[dict[str, Any]]:
    """The groups of one run that reach the threshold."""
    part = made["threshold"]
    counted, least = part["cardinality"][0]["field"], part["cardinality"][0]["value"]
    before = [{"bool": {"filter": [{"range": {"@timestamp": {"lte": _iso(second)}}}, {"term": {"source.ip": group}}]}}
              for group, second in seen.items()]
    query = {"bool": {"must_not": before, "filter": [
        {"query_string": {"query": made["query"], "analyze_wildcard": True}},
        {"range": {"@timestamp": {"gte": _iso(begin), "lte": _iso(end)}}}]}}
    body = {"size": 0, "query": query, "aggs": {"groups": {
        "composite": {"size": 10_000, "sources": [{field: {"terms": {"field": field}}} for field in part["field"]]},
        "aggs": {"last": {"max": {"field": "@timestamp"}}, "distinct": {"cardinality": {"field": counted}}}}}}
    (index,) = made["index"]
    found = client.call("POST", f"/{index}/_search", body)["aggregations"]["groups"]["buckets"]
    return [bucket for bucket in found if bucket["doc_count"] >= part["value"] and bucket["distinct"]["value"] >= least]


def brute(flows: Sequence[Flow], phase: int, period: int, window: int, least: int) -> list[tuple[int, str]]:
    """The same by hand: hopping windows, and a group's history begins anew after its alert."""
    last = dict.fromkeys(SOURCES, -1)
    alerts = []
    for now in range(phase, 13_000, period):
        for source in SOURCES:
            inside = [f for f in flows if f[1] == source and f[3] == 22 and now - window <= f[0] <= now
                      and f[0] > last[source]]
            if len({f[2] for f in inside}) >= least:
                last[source] = max(f[0] for f in inside)
                alerts.append((now, source))
    return alerts


def episodes(flows: Sequence[Flow], span: int, least: int) -> set[tuple[int, str]]:
    """Each flow at which `least` targets of its source lie within `span` seconds."""
    ssh = [f for f in flows if f[3] == 22]
    return {(at, source) for at, source, *_ in ssh
            if len({f[2] for f in ssh if f[1] == source and at - span <= f[0] <= at}) >= least}


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_rule_does_what_its_caveats_say(client: Client, seed: int) -> None:
    asked, world = window_rule({"field": "destination.ip", "gte": 5})
    made = kibana(asked, "threshold", "flow", world=world)
    assert (made["interval"], made["from"], made["to"]) == ("5m", "now-600s", "now")
    flows = bursts(seed)
    loaded(client, flows)
    alerts = runs(client, made, phase := 37 * seed)
    assert sorted(alerts) == sorted(brute(flows, phase, 300, 600, 5))
    assert alerts
    short, whole = episodes(flows, 300, 5), episodes(flows, 600, 5)
    assert [(at, source) for at, source in short if not any(
        source == group and at - 300 <= now <= at + 300 for now, group in alerts)] == [], "window less period: found"
    assert [(now, group) for now, group in alerts if not any(
        source == group and now - 600 <= at <= now for at, source in whole)] == [], "nothing that is no window"
    assert short < whole


def test_a_query_rule_asks_for_the_fields_that_it_suppresses_by(client: Client) -> None:
    """A flow that lacks one never alerts, as the rule means it."""
    asked = rule({"source.ip": "10.10.0.1"}, ewdetect={"suppress": {"by": ["destination.port"], "for": "1h"}})
    made = kibana(asked, "lucene", "flow")
    loaded(client, [(0, "10.10.0.1", "10.30.0.1", 22), (1, "10.10.0.1", "10.30.0.1", None),
                    (2, "10.10.0.2", "10.30.0.1", 22)])
    (index,) = made["index"]
    window = {"bool": {"filter": [part["query"] for part in made["filters"]]}}
    assert [hit["_id"] for hit in client.search(index, made["query"], window)] == ["0"]
    assert len(client.search(index, made["query"])) == 2

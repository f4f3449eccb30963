"""The node runs what the backends emit, and ES|QL means what knowledge/elastic.md says it means."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.elasticsearch import java
from tests.engines.elasticsearch.client import Client, Failed
from tests.engines.elasticsearch.inline_stats import Inline, Unstageable, parse, run, split
from tests.engines.elasticsearch.java import Unavailable, find_java
from tests.engines.elasticsearch.node import elasticsearch_node

ADDRESSES = {"properties": {"ip": {"type": "ip"}, "port": {"type": "long"}, "bytes": {"type": "long"}}}
FLOW = {
    "@timestamp": {"type": "date"},
    "source": ADDRESSES,
    "destination": ADDRESSES,
    "network": {"properties": {"transport": {"type": "keyword"}}},
}
# time, source, destination, port, transport. A tumbling bucket of 5 minutes sees no two destinations of 10.0.0.1.
FLOWS = (
    ("00:00:00", "10.0.0.1", "10.1.0.1", 445, "tcp"),
    ("00:04:30", "10.0.0.2", "10.1.0.1", 445, "tcp"),
    ("00:05:10", "10.0.0.2", "10.1.0.2", 445, "TCP"),
    ("00:06:00", "10.0.0.1", "10.1.0.2", 445, None),
    ("00:00:00", "2001:db8::9", "10.1.0.1", None, "udp"),
)
WINDOW = """
FROM logs-flow-test METADATA _id, _index, _version
| WHERE source.ip IS NOT NULL AND destination.ip IS NOT NULL AND destination.port IN (22, 445, 3389)
| INLINE STATS ew_d = COUNT_DISTINCT(destination.ip), ew_anchor = VALUES(@timestamp) BY source.ip
| WHERE ew_d >= 2                                   // cheap necessary condition prunes first
| MV_EXPAND ew_anchor                                // every event x every anchor of the same key
| WHERE @timestamp <= ew_anchor AND @timestamp > ew_anchor - 5 minutes
| INLINE STATS ew_n = COUNT_DISTINCT(destination.ip) BY source.ip, ew_anchor
| WHERE ew_n >= 2 AND @timestamp == ew_anchor       // keep the crossing event itself
| INLINE STATS ew_first = MIN(ew_anchor) BY source.ip
| WHERE ew_anchor == ew_first
| SORT @timestamp ASC
| KEEP @timestamp, _id, _index, _version, source.ip, destination.ip, ew_n
"""


def flow(time: str, source: str, destination: str, port: int | None, transport: str | None) -> dict[str, object]:
    """One document in ECS shape; absent fields are absent, not null."""
    document: dict[str, object] = {"@timestamp": f"2026-01-01T{time}Z", "source": {"ip": source, "bytes": 100}}
    document["destination"] = {"ip": destination} | ({"port": port} if port else {})
    return document | ({"network": {"transport": transport}} if transport else {})


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    try:
        with elasticsearch_node() as url:
            yield with_flows(Client(url))
    except Unavailable as reason:
        pytest.skip(str(reason))


def with_flows(client: Client) -> Client:
    for index in ("logs-flow-test", "zones", "ranges"):
        client.delete(index)
    client.create("logs-flow-test", FLOW)
    client.load("logs-flow-test", [flow(*values) for values in FLOWS])
    zones = {"source.ip": {"type": "ip"}, "destination.port": {"type": "long"}, "source.zone": {"type": "keyword"}}
    client.create("zones", zones, {"index.mode": "lookup"})
    client.load("zones", [{"source.ip": "10.0.0.1", "destination.port": 445, "source.zone": "dmz"}])
    ranges = {"zone_first": {"type": "ip"}, "zone_last": {"type": "ip"}, "source.zone": {"type": "keyword"}}
    client.create("ranges", ranges, {"index.mode": "lookup"})
    client.load("ranges", [{"zone_first": "10.0.0.0", "zone_last": "10.0.0.1", "source.zone": "dmz"}])
    return client


def values(client: Client, query: str) -> list[object]:
    """The first column of the rows, sorted as text."""
    return sorted((row[0] for row in run(client, query).rows), key=str)


def test_cidr_match_holds_both_families(client: Client) -> None:
    query = "FROM logs-flow-test | WHERE CIDR_MATCH(source.ip, {}) | KEEP source.ip"
    assert values(client, query.format('"10.0.0.0/31", "2001:db8::/32"')) == ["10.0.0.1", "10.0.0.1", "2001:db8::9"]
    with pytest.raises(Failed, match="not allowed with IPv6-mapped IPv4"):
        run(client, query.format('"::ffff:10.0.0.2/128"'))


def test_not_of_a_missing_field_is_false_unless_coalesced(client: Client) -> None:
    plain = 'FROM logs-flow-test | WHERE NOT network.transport == "tcp" | KEEP source.ip'
    safe = 'FROM logs-flow-test | WHERE NOT COALESCE(network.transport == "tcp", false) | KEEP source.ip'
    assert values(client, plain) == ["10.0.0.2", "2001:db8::9"]
    assert values(client, safe) == ["10.0.0.1", "10.0.0.2", "2001:db8::9"]


def test_strings_compare_with_case_unless_lowered(client: Client) -> None:
    assert len(values(client, 'FROM logs-flow-test | WHERE network.transport == "tcp" | KEEP source.ip')) == 2
    assert len(values(client, 'FROM logs-flow-test | WHERE TO_LOWER(network.transport) == "tcp" | KEEP source.ip')) == 3


def test_count_distinct_by_group(client: Client) -> None:
    query = "FROM logs-flow-test | STATS n = COUNT_DISTINCT(destination.ip) BY source.ip | SORT source.ip"
    assert run(client, query).rows == ((2, "10.0.0.1"), (2, "10.0.0.2"), (1, "2001:db8::9"))


def test_a_missing_key_is_a_group_of_its_own(client: Client) -> None:
    query = "FROM logs-flow-test | STATS n = COUNT(*) BY destination.port | SORT destination.port"
    assert run(client, query).rows == ((4, 445), (1, None))


def test_count_distinct_is_exact_to_3000_and_an_estimate_above(client: Client) -> None:
    client.delete("many")
    client.create("many", {"peer": {"type": "ip"}})
    client.load("many", [{"peer": f"10.0.{number // 256}.{number % 256}"} for number in range(6000)])
    first = 'FROM many | WHERE peer < TO_IP("10.0.11.184") | STATS n = COUNT_DISTINCT(peer)'
    assert values(client, first) == [3000]
    (estimate,) = values(client, "FROM many | STATS n = COUNT_DISTINCT(peer)")
    assert isinstance(estimate, int) and estimate != 6000 and abs(estimate - 6000) < 300
    assert values(client, "FROM many | STATS c = COUNT(*) BY peer | STATS n = COUNT(*)") == [6000]


def test_several_values_in_one_field_make_a_comparison_null(client: Client) -> None:
    (row,) = client.esql("ROW port = [22, 23] | EVAL same = port == 22, other = NOT port == 22 | KEEP same, other").rows
    assert row == (None, None)


def test_an_answer_stops_at_1000_rows_unless_a_limit_says_more(client: Client) -> None:
    if os.environ.get("EWDETECT_ES_URL"):
        pytest.skip("a given cluster may have a limit of its own")
    expanded = 'ROW i = 1 | EVAL v = SPLIT(REPEAT("x,", 12000), ",") | MV_EXPAND v'
    assert len(client.esql(expanded).rows) == 1000
    assert len(client.esql(f"{expanded} | LIMIT 20000").rows) == 10_000


def test_inline_stats_keeps_the_rows(client: Client) -> None:
    query = "FROM logs-flow-test | INLINE STATS n = COUNT(*), t = VALUES(@timestamp) BY source.ip | KEEP n, t"
    records = run(client, query).records()
    assert [record["n"] for record in records] == [2, 2, 2, 2, 1]
    assert records[0]["t"] == ["2026-01-01T00:00:00.000Z", "2026-01-01T00:06:00.000Z"]


def test_inline_stats_over_all_rows_and_by_an_expression(client: Client) -> None:
    assert values(client, "FROM logs-flow-test | INLINE STATS n = COUNT(*) | KEEP n") == [5] * 5
    minutes = "FROM logs-flow-test | INLINE STATS n = COUNT(*) BY t = DATE_TRUNC(5 minutes, @timestamp) | KEEP n"
    assert values(client, minutes) == [2, 2, 3, 3, 3]


def test_lookup_join_enriches_and_keeps_unmatched_rows(client: Client) -> None:
    query = "FROM logs-flow-test | LOOKUP JOIN zones ON source.ip | STATS n = COUNT(*) BY source.zone | SORT n"
    assert run(client, query).rows == ((2, "dmz"), (3, None))


@pytest.mark.parametrize(
    ("lookup", "condition"),
    [
        ("zones", "source.ip, destination.port"),
        ("ranges", "source.ip >= zone_first AND source.ip <= zone_last"),
    ],
)
def test_lookup_join_on_several_keys_and_on_expressions(client: Client, lookup: str, condition: str) -> None:
    if client.version() < (9, 3):
        pytest.skip("LOOKUP JOIN on several fields (9.2) and on expressions (9.3) needs a cluster: EWDETECT_ES_URL")
    query = f"FROM logs-flow-test | LOOKUP JOIN {lookup} ON {condition} | STATS n = COUNT(source.zone)"
    assert values(client, query) == [2]


def test_the_sliding_window_finds_the_burst_that_straddles_a_bucket(client: Client) -> None:
    (alert,) = run(client, WINDOW).records()
    assert (alert["source.ip"], alert["@timestamp"]) == ("10.0.0.2", "2026-01-01T00:05:10.000Z")
    assert (alert["_id"], alert["_index"], alert["_version"], alert["ew_n"]) == ("2", "logs-flow-test", 1, 2)


def test_the_request_filter_cuts_the_rows_of_from(client: Client) -> None:
    recent = {"range": {"@timestamp": {"gte": "2026-01-01T00:05:00Z"}}}
    assert run(client, WINDOW, recent).rows == ()


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (r"source.ip:10.0.0.0\/8 AND NOT network.transport:tcp", ["2", "3"]),
        ("destination.port:[400 TO 500] AND _exists_:network.transport", ["0", "1", "2"]),
        (r"source.ip:2001\:db8\:\:\/32", ["4"]),
        ("network.transport:/[tT][cC][pP]/", ["0", "1", "2"]),
    ],
)
def test_lucene_query_string(client: Client, query: str, ids: list[str]) -> None:
    assert sorted(hit["_id"] for hit in client.search("logs-flow-test", query)) == ids


def test_refusals_carry_the_reason_of_the_server(client: Client) -> None:
    with pytest.raises(Failed, match="Unknown column"):
        client.esql("FROM logs-flow-test | WHERE no.such == 1")


def test_stages_refuse_a_null_key(client: Client) -> None:
    if client.version() >= (9, 3):
        pytest.skip("this cluster has INLINE STATS")
    with pytest.raises(Unstageable, match=r"destination\.port is null"):
        run(client, "FROM logs-flow-test | INLINE STATS n = COUNT(*) BY destination.port")


def test_split_leaves_strings_names_and_brackets_whole() -> None:
    assert split('a "x|\\"y" | `b|c` // no | here\n| d(e | f)', "|") == ['a "x|\\"y"', "`b|c`", "d(e | f)"]


def test_parse_finds_the_keys_of_inline_stats() -> None:
    command = 'INLINE STATS n = COUNT(*) WHERE a == " BY ", m = MAX(b) BY source.ip, t = DATE_TRUNC(1 hour, @timestamp)'
    keys = (("source.ip", "source.ip"), ("t", "DATE_TRUNC(1 hour, @timestamp)"))
    assert parse(command) == Inline('n = COUNT(*) WHERE a == " BY ", m = MAX(b)', keys)
    assert parse("STATS n = COUNT(*) BY a") is None


def test_a_given_cluster_is_used_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EWDETECT_ES_URL", "http://127.0.0.1:1/")
    with elasticsearch_node() as url:
        assert url == "http://127.0.0.1:1"


def test_a_machine_without_java_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_candidates", lambda: iter([Path("/nowhere/bin/java")]))
    with pytest.raises(Unavailable, match=r"needs Java 21 or later.*EWDETECT_JAVA_HOME"):
        find_java()


def test_the_node_ends_with_its_context() -> None:
    if os.environ.get("EWDETECT_ES_URL"):
        pytest.skip("a given cluster is not ours to stop")
    try:
        with elasticsearch_node() as url:
            Client(url).version()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)

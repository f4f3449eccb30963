"""Elasticsearch 9.5's own front end accepts the templates and refuses what is wrong, with types."""

from __future__ import annotations

import pytest

from tests.engines.elasticsearch.analyzer import Analyzer, Index, Refused
from tests.engines.elasticsearch.test_node import WINDOW

FLOW = {
    "@timestamp": "date",
    "source.ip": "ip",
    "destination.ip": "ip",
    "destination.port": "long",
    "network.transport": "keyword",
}
INDICES = (
    Index("logs-flow-test", FLOW),
    Index("zones", {"source.ip": "ip", "destination.port": "long", "source.zone": "keyword"}, "lookup"),
    Index("ranges", {"zone_first": "ip", "zone_last": "ip", "source.zone": "keyword"}, "lookup"),
)


def test_the_sliding_window_is_accepted_with_its_types(front: Analyzer) -> None:
    columns = dict(front.check(WINDOW, INDICES))
    assert columns == {
        "@timestamp": "datetime",
        "_id": "keyword",
        "_index": "keyword",
        "_version": "long",
        "source.ip": "ip",
        "destination.ip": "ip",
        "ew_n": "long",
    }


@pytest.mark.parametrize(
    "rest",
    [
        "LOOKUP JOIN zones ON source.ip, destination.port",
        "LOOKUP JOIN ranges ON source.ip >= zone_first AND source.ip <= zone_last",
        'WHERE KQL("destination.port: 22") AND NOT COALESCE(network.transport == "tcp", false)',
        'STATS n = COUNT_DISTINCT(destination.ip) BY z = CASE(CIDR_MATCH(source.ip, "10.0.0.0/8", "fc00::/7"), "a")',
    ],
)
def test_what_9_3_can_do_is_accepted(front: Analyzer, rest: str) -> None:
    assert front.check(f"FROM logs-flow-test | {rest}", INDICES)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ('WHERE CIDR_MATCH(network.transport, "10.0.0.0/8")', r"must be \[ip\], found value .* type \[keyword\]"),
        ("STATS s = SUM(network.transport)", "must be .* numeric"),
        ('WHERE destination.port == "ssh"', "second argument must also be .numeric."),
        ('WHERE source.ip == "10.0.0.300"', "is not an IP string literal"),
        ("WHERE no.such == 1", r"Unknown column \[no.such\]"),
        ("LIMIT 5 | INLINE STATS n = COUNT(*)", "INLINE STATS cannot be used after an explicit or implicit LIMIT"),
        ("LOOKUP JOIN absent ON source.ip", r"Unknown index \[absent\]"),
        ("WHERE (", "mismatched input|no viable alternative|extraneous"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(front: Analyzer, rest: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        front.check(f"FROM logs-flow-test | {rest}", INDICES)

"""What rules mean in the engine, one fact at a time: values, missing fields, groups, filters, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pytest

from ewdetect.engine.engine import _world
from ewdetect.problems import Rejected, WorldFailed
from ewdetect.resolve import resolve_rule
from tests.world import DAY, alerts, correlation, event_rule, flow, open_office, pack

FLOWS = [
    flow(0, 0, source_ip="10.10.0.1", network_protocol="SMB", network_history="ShADadFf", source_bytes=10),
    flow(1, 1, source_ip="::ffff:10.10.0.2", destination_port=22, source_bytes=20),
    flow(2, 2, source_ip="fd00:10::1", destination_ip="fd00:30::1", network_protocol="ssh", source_bytes=None),
    flow(3, 3, source_ip="198.51.100.7", network_protocol="100%_sure!", flow_outcome="denied", source_bytes=0),
]

# selection (or selection, condition, further selections) → the flows that match
MEANINGS: Mapping[str, tuple[dict[str, Any], str, set[int]]] = {
    "text in any case": ({"selection": {"network.protocol": "sMb"}}, "selection", {0}),
    "a list is any of": ({"selection": {"network.protocol": ["smb", "SSH"]}}, "selection", {0, 2}),
    "a list of selections is any of": (
        {"selection": [{"destination.port": 22}, {"network.protocol": "ssh"}]},
        "selection",
        {1, 2},
    ),
    "wildcards": ({"selection": {"network.protocol": "s*"}}, "selection", {0, 2}),
    "a single wildcard": ({"selection": {"network.protocol": "s?b"}}, "selection", {0}),
    "contains": ({"selection": {"network.protocol|contains": "m"}}, "selection", {0}),
    "SQL's own wildcards are plain text": ({"selection": {"network.protocol|contains": "%_"}}, "selection", {3}),
    "the escape character is plain text": ({"selection": {"network.protocol|endswith": "E!"}}, "selection", {3}),
    "a quote is plain text": ({"selection": {"network.protocol": "a'b"}}, "selection", set()),
    "a regular expression matches anywhere": ({"selection": {"network.protocol|re": "S[SM]"}}, "selection", {0, 2}),
    "ids in any case": ({"selection": {"network.history|startswith": "sha"}}, "selection", {0}),
    "an address in any spelling": ({"selection": {"source.ip": "10.10.0.2"}}, "selection", {1}),
    "a v4-mapped address": ({"selection": {"source.ip": "::ffff:10.10.0.1"}}, "selection", {0}),
    "a v4 network": ({"selection": {"source.ip|cidr": "10.0.0.0/8"}}, "selection", {0, 1}),
    "the widest v6 network holds no v4": ({"selection": {"source.ip|cidr": "::/0"}}, "selection", {2}),
    "a number": ({"selection": {"destination.port": 22}}, "selection", {1}),
    "a bound leaves out what is missing": ({"selection": {"source.bytes|gte": 0}}, "selection", {0, 1, 3}),
    "null is missing": ({"selection": {"source.bytes": None}}, "selection", {2}),
    "exists": ({"selection": {"source.bytes|exists": True}}, "selection", {0, 1, 3}),
    "neq of a missing field is true": ({"selection": {"network.protocol|neq": "smb"}}, "selection", {1, 2, 3}),
    "not of a missing field is true": ({"selection": {"network.protocol": "smb"}}, "not selection", {1, 2, 3}),
    "not of a whole selection": (
        {"selection": {"network.protocol": "smb", "source.bytes": 10}},
        "not selection",
        {1, 2, 3},
    ),
    "not of not": ({"a": {"source.bytes": 10}, "b": {"network.protocol": "smb"}}, "not (a and not b)", {0, 1, 2, 3}),
    "fields compare": ({"selection": {"source.zone|fieldref": "destination.zone"}}, "not selection", {0, 1, 2, 3}),
    "context": ({"selection": {"source.zone": "Workstations"}}, "selection", {0, 1, 2}),
    "an unknown address": ({"selection": {"source.known": False, "source.zone": "unknown"}}, "selection", {3}),
    "scope": ({"selection": {"network.scope": "inbound"}}, "selection", {3}),
    "1 of them": ({"a": {"source.bytes": 10}, "b": {"source.bytes": 20}}, "1 of them", {0, 1}),
    "all of them": ({"s_a": {"source.bytes|gte": 10}, "s_b": {"source.bytes|lt": 20}}, "all of s_*", {0}),
}


@pytest.mark.parametrize("case", MEANINGS)
def test_a_selection(case: str) -> None:
    selections, condition, expected = MEANINGS[case]
    rule = event_rule("rule", {}, condition) | {"detection": {**selections, "condition": condition}}
    assert {int(a.evidence[0][1:]) for a in alerts(FLOWS, [rule], "rule")} == expected


def test_a_missing_group_field_never_forms_a_group() -> None:
    flows = [flow(i, i, destination_port=None) for i in range(3)] + [flow(9, 9, destination_port=22)]
    documents = [
        event_rule("base", {"network.scope": "internal"}),
        correlation("count", "event_count", ["base"], "1m", group_by=["destination.port"], condition={"gte": 1}),
    ]
    assert [a.group for a in alerts(flows, documents, "count")] == [{"destination.port": 22}]


def test_without_group_by_all_flows_are_one_group() -> None:
    flows = [flow(i, i, source_ip=f"10.10.0.{i}") for i in range(3)]
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("count", "event_count", ["base"], "1m", condition={"gte": 3})]
    assert [(a.group, a.evidence) for a in alerts(flows, documents, "count")] == [({}, ("f0", "f1", "f2"))]


def test_a_flow_that_matches_two_rules_counts_once() -> None:
    flows = [flow(i, i, source_bytes=100) for i in range(3)]
    documents = [
        event_rule("smb", {"destination.port": 445}),
        event_rule("big", {"source.bytes|gte": 100}),
        correlation("count", "event_count", ["smb", "big"], "1m", group_by=["source.ip"], condition={"gte": 4}),
    ]
    assert alerts(flows, documents, "count") == []


def test_a_flow_that_matches_two_rules_counts_once_beside_a_correlation() -> None:
    flows = [flow(0, 0, source_bytes=100)]
    documents = [
        event_rule("smb", {"destination.port": 445}),
        event_rule("big", {"source.bytes|gte": 100}),
        correlation("seen", "event_count", ["smb"], "1m", group_by=["source.ip"], condition={"gte": 1}),
        correlation("count", "event_count", ["smb", "seen", "big"], "1m", group_by=["source.ip"], condition={"gte": 2}),
        correlation("more", "event_count", ["smb", "seen", "big"], "1m", group_by=["source.ip"], condition={"gte": 3}),
    ]
    assert [(a.value, a.evidence) for a in alerts(flows, documents, "count")] == [(2, ("f0",))]
    assert alerts(flows, documents, "more") == []


def test_a_range_needs_both_bounds() -> None:
    documents = [
        event_rule("base", {"network.scope": "internal"}),
        correlation("few", "event_count", ["base"], "1m", group_by=["source.ip"], condition={"gte": 2, "lte": 3}),
    ]
    found = alerts([flow(i, i) for i in range(5)], documents, "few")
    assert [(a.crossing - DAY, a.end - DAY) for a in found] == [(1_000_000, 2_000_000)]


def test_a_percentile_interpolates() -> None:
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("p75", "value_percentile", ["base"], "1m", group_by=["source.ip"],
                             condition={"field": "source.bytes", "percentile": 75, "gte": 17.5})]
    flows = [flow(i, i, source_bytes=b) for i, b in enumerate([10, 0, 20, 20])]        # 75 % of 0 10 20 20 is 20
    assert [(a.crossing - DAY, a.value) for a in alerts(flows, documents, "p75")] == [(3_000_000, 20.0)]


def test_distinct_pairs_of_fields() -> None:
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("pairs", "value_count", ["base"], "1m", group_by=["source.ip"],
                             condition={"field": ["destination.ip", "destination.port"], "gte": 3})]
    flows = [flow(i, i, destination_ip=f"10.30.0.{a}", destination_port=p)
             for i, (a, p) in enumerate([(1, 1), (1, 1), (1, 2), (2, None), (2, 1)])]
    assert [a.crossing - DAY for a in alerts(flows, documents, "pairs")] == [4_000_000]


def test_evidence_of_a_chain_is_the_flows_behind_it() -> None:
    documents = [event_rule("fail", {"flow.outcome": "failed"}), event_rule("login", {"destination.port": 22}),
                 correlation("sweep", "value_count", ["fail"], "1m", group_by=["source.ip"],
                             condition={"field": "destination.ip", "gte": 2}),
                 correlation("then", "temporal_ordered", ["sweep", "login"], "1h", group_by=["source.ip"])]
    flows = [flow(0, 0, destination_ip="10.30.0.1", flow_outcome="failed"),
             flow(1, 1, destination_ip="10.30.0.2", flow_outcome="failed"), flow(2, 60, destination_port=22)]
    assert [(a.group, a.evidence, a.start - DAY) for a in alerts(flows, documents, "then")] == [
        ({"source.ip": "10.10.0.1"}, ("f0", "f1", "f2"), 0)]


def test_a_filter_applies_to_each_rule_it_names() -> None:
    """pySigma 1.x transforms a filter once for every rule it is applied to; ours is fresh for each."""
    shield = {
        "title": "shield",
        "name": "shield",
        "logsource": {"category": "network", "service": "connection"},
        "filter": {"rules": ["smb", "ssh"], "selection": {"source.ip": "10.10.0.1"}, "condition": "not selection"},
    }
    made = pack(event_rule("smb", {"destination.port": 445}), event_rule("ssh", {"destination.port": 22}), shield)
    flows = [flow(i, i, source_ip=f"10.10.0.{1 + i // 2}", destination_port=(22, 445)[i % 2]) for i in range(4)]
    with open_office(flows) as engine:
        found = {
            name: [a.evidence for a in engine.alerts(resolve_rule(made.rules[name], made))] for name in ("smb", "ssh")
        }
    assert found == {"smb": [("f3",)], "ssh": [("f2",)]}


def test_a_rule_that_changed_is_not_answered_from_the_last_one() -> None:
    """Stages keep their names when a mutant changes what stands below them."""
    count = correlation("count", "event_count", ["base"], "1m", group_by=["source.ip"], condition={"gte": 1})
    with open_office([flow(0, 0, destination_port=22)]) as engine:
        for port, alerted in ((22, 1), (23, 0), (22, 1)):
            made = pack(event_rule("base", {"destination.port": port}), count)
            assert len(engine.alerts(resolve_rule(made.rules["count"], made))) == alerted


REFUSED: Mapping[str, list[dict[str, Any]]] = {
    "keywords": [event_rule("rule", ["smb"])],
    "distinct over three steps": [
        *(event_rule(n, {"destination.port": 22}) for n in "abc"),
        correlation("rule", "temporal_ordered", ["a", "b", "c"], "1m") | {"ewdetect": {"distinct": ["source.ip"]}}]}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_said_is_refused(case: str) -> None:
    with pytest.raises(Rejected) as refused:
        alerts([flow(0, 0)], REFUSED[case], "rule")
    assert [p.code for p in refused.value.problems] == ["convert/unsupported"]


def test_names_of_rules_and_keys_cannot_collide_with_the_engines_own() -> None:
    documents = [
        event_rule("flow", {"network.scope": "internal"}),
        correlation("address", "temporal", ["flow"], "1m", group_by=["end"], aliases={"end": {"flow": "source.ip"}}),
    ]
    assert [a.group for a in alerts([flow(0, 0)], documents, "address")] == [{"end": "10.10.0.1"}]


def test_an_interrupt_in_the_middle_of_a_query() -> None:
    with pytest.raises(KeyboardInterrupt), _world():
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="a bug"), _world():
        raise RuntimeError("a bug")


def test_too_little_memory_is_the_worlds_failure() -> None:
    with pytest.raises(WorldFailed, match="Out of Memory"), _world():
        raise duckdb.OutOfMemoryException("Out of Memory Error: 1 MB is not enough\nsome advice")


def test_many_flows_live_in_a_file_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ewdetect.engine.engine.IN_MEMORY", 2)
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("count", "event_count", ["base"], "1m", group_by=["source.ip"], condition={"gte": 3})]
    assert [a.evidence for a in alerts([flow(i, i) for i in range(4)], documents, "count")] == [("f0", "f1", "f2")]
    made = pack(event_rule("base", {"network.scope": "internal"}))
    with open_office([flow(i, i) for i in range(4)]) as engine:
        assert [f["event.id"] for f in engine.flows()] == ["f0", "f1", "f2", "f3"]
        assert len(engine.alerts(resolve_rule(made.rules["base"], made))) == 4

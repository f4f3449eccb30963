"""`tstats` over Network_Traffic: the pages "tstats" 9.4 and CIM's Network_Traffic.json."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.spl import SplSyntaxError, UnknownSpl, network_traffic, run

MODEL = network_traffic({"src": "src_ip", "dest": "dest_ip", "dest_port": "'id.resp_p'", "action": "action",
                         "transport": "proto", "bytes_in": "orig", "bytes_out": "resp", "app": "service"},
                        "sourcetype=conn")
FLOWS: list[dict[str, Any]] = [
    {"_time": 100.25, "sourcetype": "conn", "src_ip": "10.0.0.1", "dest_ip": "10.1.0.1", "id.resp_p": 445,
     "proto": "TCP", "orig": 10, "resp": 5, "service": "smb"},
    {"_time": 100.75, "sourcetype": "conn", "src_ip": "10.0.0.1", "dest_ip": "10.1.0.2", "id.resp_p": "n/a"},
    {"_time": 103, "sourcetype": "conn", "src_ip": "host7", "id.resp_p": 22, "proto": "tcp"},
    {"_time": 104, "sourcetype": "dns", "src_ip": "10.0.0.9"},
]
HEAD = "| tstats count from datamodel=Network_Traffic.All_Traffic"


def found(rest: str, head: str = HEAD) -> list[dict[str, Any]]:
    return run(f"{head} {rest} | rename All_Traffic.* AS *", FLOWS, datamodels=MODEL, now=200)


def test_calculated_fields() -> None:
    """CIM: null becomes "unknown", a port that is no number 0, transport is in lower case, bytes are the sum."""
    assert found("by All_Traffic.dest All_Traffic.dest_port All_Traffic.transport All_Traffic.action") == [
        {"dest": "10.1.0.1", "dest_port": 445, "transport": "tcp", "action": "unknown", "count": 1},
        {"dest": "10.1.0.2", "dest_port": 0, "transport": "unknown", "action": "unknown", "count": 1},
        {"dest": "unknown", "dest_port": 22, "transport": "tcp", "action": "unknown", "count": 1}]
    total = "| tstats sum(All_Traffic.bytes) AS b from datamodel=Network_Traffic"
    assert found("", total) == [{"b": 15}]


def test_null_by_fields_are_lost_without_fillnull_value() -> None:
    assert found("by All_Traffic.app") == [{"app": "smb", "count": 1}]
    filled = HEAD.replace("tstats", "tstats fillnull_value=null")
    assert found("by All_Traffic.app", filled) == [{"app": "null", "count": 2}, {"app": "smb", "count": 1}]


def test_time_spans_and_ranges() -> None:
    assert found("where earliest=-101s latest=103 by _time span=1s All_Traffic.src") == [
        {"_time": 100, "src": "10.0.0.1", "count": 2}]


def test_where_is_a_search() -> None:
    """WHERE has the syntax of `search`: OR before AND, case ignored."""
    assert found("where All_Traffic.dest_port=445 OR All_Traffic.dest_port=22 All_Traffic.transport=TCP") == [
        {"count": 2}]


def test_networks_may_let_hosts_through() -> None:
    """Page "tstats": a network in WHERE compares texts, so a host's name may pass; filter again behind it."""
    assert {r["src"] for r in found('where All_Traffic.src="10.0.0.0/8" by All_Traffic.src')} == {"10.0.0.1", "host7"}
    assert {r["src"] for r in found('where NOT All_Traffic.src="10.0.0.0/8" by All_Traffic.src')} == {"host7"}


def test_summaries_lag() -> None:
    """With summariesonly=true what is not yet summarised is not seen; by default it is."""
    model = network_traffic({"src": "src_ip"}, "*", summarized_until=103)
    only = HEAD.replace("tstats", "tstats summariesonly=true")
    assert run(only, FLOWS, datamodels=model) == [{"count": 2}]
    assert run(HEAD, FLOWS, datamodels=model) == [{"count": 4}]


@pytest.mark.parametrize(("rest", "error"), [
    ("by All_Traffic.nope", UnknownSpl), ("by src", UnknownSpl), ("where src=1", UnknownSpl),
    ("by _time", SplSyntaxError), ("by All_Traffic.src span=1s", SplSyntaxError), ("by All_Traffic.*", SplSyntaxError)])
def test_what_is_not_known(rest: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        found(rest)
    with pytest.raises(SplSyntaxError):
        found("", "| tstats count(eval(a=1)) from datamodel=Network_Traffic")
    with pytest.raises(UnknownSpl):
        found("", "| tstats count from datamodel=Nope")

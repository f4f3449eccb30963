"""Several records of one connection become one flow, from its initiator, counted once."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ewdetect.engine import Engine, ReadReport
from ewdetect.load import load_pack
from ewdetect.plan import fields_used
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests.samples import samples
from tests.world import ROOT, fields, network, office, orientation, source

Flow = Mapping[str, Any]
START = 1768471200


def read(name: str, path: Path, text: str) -> tuple[ReadReport, list[dict[str, Any]]]:
    path.write_text(text, encoding="utf-8")
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(path)], network("name: n\nnetworks: []\n"), fields())
        assert report.read == report.kept + report.joined + report.passed + sum(report.dropped.values())
        return report, engine.flows()


def nfdump(src: str, sport: int, dst: str, dport: int, flags: str = "...AP.SF", at: float = 0, lasts: float = 1,
           **more: Any) -> dict[str, Any]:
    first, last = (datetime.fromtimestamp(START + t, UTC).isoformat(timespec="milliseconds")[:-6]
                   for t in (at, at + lasts))
    return {"type": "FLOW", "export_sysid": 1, "first": first, "last": last, "in_packets": 5, "in_bytes": 500,
            "proto": 6, "tcp_flags": flags, "src_port": sport, "dst_port": dport,
            "src4_addr": src, "dst4_addr": dst, **more}


def netflow(tmp_path: Path, *records: Mapping[str, Any]) -> list[dict[str, Any]]:
    return read("netflow", tmp_path / "flows.json", json.dumps(list(records)))[1]


def ends(flow: Flow) -> tuple[Any, ...]:
    return flow["source.ip"], flow["source.port"], flow["destination.ip"], flow["destination.port"]


def test_both_directions_are_one_flow(tmp_path: Path) -> None:
    there = nfdump("10.0.0.1", 50000, "10.0.0.2", 445)
    back = nfdump("10.0.0.2", 445, "10.0.0.1", 50000, at=.1, in_bytes=9)
    [flow] = netflow(tmp_path, back, there)
    assert ends(flow) == ("10.0.0.1", 50000, "10.0.0.2", 445)
    assert (flow["source.bytes"], flow["destination.bytes"], flow["flow.outcome"]) == (500, 9, "established")
    assert flow["event.duration"] == pytest.approx(1.1) and flow["flow.inferred"]


def test_a_syn_alone_proves_the_initiator_against_its_port(tmp_path: Path) -> None:
    [flow] = netflow(tmp_path, nfdump("10.0.0.1", 445, "10.0.0.2", 50000, "......S."),
                     nfdump("10.0.0.2", 50000, "10.0.0.1", 445, "...A.R.."))
    assert ends(flow) == ("10.0.0.1", 445, "10.0.0.2", 50000)
    assert (flow["flow.outcome"], flow["flow.inferred"], flow["flow.reversed"]) == ("failed", False, False)


def test_without_proof_the_first_to_be_heard_began(tmp_path: Path) -> None:
    late, early = nfdump("10.0.0.2", 7001, "10.0.0.1", 7000, at=.2), nfdump("10.0.0.1", 7000, "10.0.0.2", 7001)
    [flow] = netflow(tmp_path, late, early)
    assert ends(flow) == ("10.0.0.1", 7000, "10.0.0.2", 7001) and flow["flow.inferred"]


def test_a_lone_answer_is_turned_round_and_marked(tmp_path: Path) -> None:
    [flow] = netflow(tmp_path, nfdump("10.0.0.2", 445, "10.0.0.1", 50000))
    assert ends(flow) == ("10.0.0.1", 50000, "10.0.0.2", 445)
    assert flow["flow.reversed"] and flow["destination.bytes"] == 500 and "source.bytes" not in flow


@pytest.mark.parametrize("back", [(), ("10.0.0.1", 50000, "10.0.0.2", 445)], ids=["alone", "with its request"])
def test_every_side_is_turned_round_with_the_addresses(tmp_path: Path, back: tuple[Any, ...]) -> None:
    """Namespaces too: what a record says of its source is true of the responder where the record is an answer."""
    told = {"10.0.0.1": "shop", "10.0.0.2": "payments"}
    records = [{"TimeFlowStartMs": START * 1000, "TimeFlowEndMs": START * 1000 + 1, "Etype": 2048, "Proto": 6,
                "SrcAddr": src, "SrcPort": sport, "SrcK8S_Namespace": told[src],
                "DstAddr": dst, "DstPort": dport, "DstK8S_Namespace": told[dst]}
               for src, sport, dst, dport in [("10.0.0.2", 445, "10.0.0.1", 50000), *([back] if back else [])]]
    [flow] = read("openshift_netobserv", tmp_path / "flows.jsonl", "".join(f"{json.dumps(r)}\n" for r in records))[1]
    assert ends(flow) == ("10.0.0.1", 50000, "10.0.0.2", 445)
    assert (flow["source.namespace"], flow["destination.namespace"]) == ("shop", "payments")


def test_a_gap_makes_two_connections(tmp_path: Path) -> None:
    pieces = [nfdump("10.0.0.1", 50000, "10.0.0.2", 445, at=t) for t in (0, 301, 603)]
    assert [f["source.packets"] for f in netflow(tmp_path, *pieces)] == [10, 5]


def test_installments_add_up_and_two_exporters_do_not(tmp_path: Path) -> None:
    def piece(at: float, exporter: int) -> dict[str, Any]:
        return nfdump("10.0.0.1", 50000, "10.0.0.2", 445, at=at, export_sysid=exporter)
    [flow] = netflow(tmp_path, piece(0, 1), piece(60, 1), piece(0, 2))
    assert (flow["source.bytes"], flow["event.duration"]) == (1000, 61)


def test_counters_that_go_on_are_not_added_up(tmp_path: Path) -> None:
    lines = [json.dumps({"type": "flow", "event": {"start": "2026-01-15T10:00:00Z", "duration": seconds * 10**9},
                         "flow": {"id": "x", "final": seconds == 30}, "network": {"transport": "tcp"},
                         "source": {"ip": "10.0.0.1", "port": 50000, "bytes": seconds * 100, "packets": 3},
                         "destination": {"ip": "10.0.0.2", "port": 445, "bytes": 7, "packets": 3}})
             for seconds in (10, 20, 30)]
    report, [flow] = read("packetbeat_flow", tmp_path / "flows.jsonl", "\n".join(lines) + "\n")
    assert (report.joined, flow["source.bytes"], flow["event.duration"]) == (2, 3000, 30)


def test_one_denial_among_allowed_records_denies(tmp_path: Path) -> None:
    line = "2 1 {} 10.0.0.1 10.0.0.2 50000 445 6 5 500 1768471200 1768471230 {} OK\n"
    text = line.format("eni-1", "ACCEPT") + line.format("eni-2", "REJECT")
    _, [flow] = read("aws_vpc_flow", tmp_path / "vpc.log", text)
    assert (flow["flow.outcome"], flow["event.action"], flow["source.bytes"]) == ("denied", "denied", 500)


def answers_of_a_server(clients: int) -> list[dict[str, Any]]:
    """What a server's interface sends to many clients and ports, which looks like a scan of its own."""
    return [nfdump("10.30.0.11", 445, f"10.10.{n // 200}.{n % 200 + 1}", 49152 + n, at=n / 10, lasts=.05)
            for n in range(clients)]


@pytest.mark.parametrize("asked", [False, True])
def test_the_answers_of_a_busy_server_are_no_scan(tmp_path: Path, asked: bool) -> None:
    records = answers_of_a_server(400)
    if asked:
        records += [nfdump(r["dst4_addr"], r["dst_port"], "10.30.0.11", 445, at=n / 10, lasts=.05)
                    for n, r in enumerate(records)]
    path = tmp_path / "flows.json"
    path.write_text(json.dumps(records))
    pack = load_pack([ROOT / "rules"], fields())
    resolved = [resolve_rule(rule, pack) for rule in pack.alerting()]
    with Engine(fields(), orientation()) as engine:
        engine.read(source("netflow"), [str(path)], office(), frozenset().union(*map(fields_used, resolved)))
        assert not [alert for each in resolved for alert in engine.alerts(each)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2000)), min_size=1, max_size=12,
                unique=True), st.integers(0, 2**16))
def test_the_order_of_records_does_not_matter(tmp_path: Path, drawn: list[tuple[int, int, int]], seed: int) -> None:
    """And no packet is lost: those of all flows are those of all records."""
    records = [nfdump("10.0.0.1", 50000 + host, f"10.0.0.{host + 1}", 445, at=at) if way else
               nfdump(f"10.0.0.{host + 1}", 445, "10.0.0.1", 50000 + host, at=at) for host, way, at in drawn]
    once = netflow(tmp_path, *records)
    random.Random(seed).shuffle(records)
    assert netflow(tmp_path, *records) == once
    assert sum(f.get("source.packets", 0) + f.get("destination.packets", 0) for f in once) == 5 * len(records)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=10, unique=True))
def test_sessions_are_split_exactly_at_the_gap(tmp_path: Path, starts: list[int]) -> None:
    """One second each, 300 seconds of gap: counted by hand."""
    found = netflow(tmp_path, *(nfdump("10.0.0.1", 50000, "10.0.0.2", 445, at=at) for at in starts))
    ordered = sorted(starts)
    assert len(found) == 1 + sum(b - (a + 1) > 300 for a, b in pairwise(ordered))


def test_an_engine_reads_on_after_files_it_refused(tmp_path: Path) -> None:
    """What was put together is a view, and the next reading needs its name."""
    good, bad = tmp_path / "flows.json", tmp_path / "other.json"
    good.write_text(json.dumps([nfdump("10.10.0.1", 50000, "10.50.2.10", 445)]), encoding="utf-8")
    bad.write_text(json.dumps([{"type": "FLOW", "first": "2026-01-15T10:00:00"}]), encoding="utf-8")
    world = network("name: n\nnetworks: []\n")
    with Engine(fields(), orientation()) as engine:
        with pytest.raises(Rejected):
            engine.read(source("netflow"), [str(bad)], world, fields())
        for name, sample in (("netflow", str(good)), ("flow", str(dict(samples())["flow"])), ("netflow", str(good))):
            assert engine.read(source(name), [sample], world, fields()).kept > 0, name


def test_a_length_that_is_not_told_is_not_nought(tmp_path: Path) -> None:
    """The first two of these tell it in the third column or by their ends, the last does not."""
    text = ("ts,te,td,sa,da,sp,dp,pr,flg,ipkt,ibyt\n"
            "2026-01-15 10:00:00.000,,5.000,10.10.0.1,10.50.2.10,50000,445,TCP,...AP.SF,5,500\n"
            "2026-01-15 10:00:00.000,2026-01-15 10:00:02.000,,10.10.0.1,10.50.2.11,50000,445,TCP,...AP.SF,5,500\n"
            "2026-01-15 10:00:00.000,,,10.10.0.1,10.50.2.12,50000,445,TCP,...AP.SF,5,500\n")
    _, flows = read("netflow", tmp_path / "flows.csv", text)
    assert {f["destination.ip"][-1]: f.get("event.duration") for f in flows} == {"0": 5, "1": 2, "2": None}

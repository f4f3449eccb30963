"""One capture as Suricata's flow events and as NetFlow (fixtures/recordings/netflow_lab): the same alerts come out.

Each difference is written down with the trait that explains it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ewdetect.backtest import Backtest, run_backtest
from ewdetect.load import load_pack
from tests.netflow_shapes import elastic, stream
from tests.world import ROOT, fields, office, orientation, source

LAB = ROOT / "fixtures" / "recordings" / "netflow_lab"
Found = tuple[str, tuple[tuple[str, object], ...]]
Shape = Callable[[dict[str, Any]], dict[str, Any]]

# Unanswered UDP is `unknown` in NetFlow, not `failed`: an exporter may see one way only. The rule
# that asks for no outcome catches the sweep, scan_udp_sweep.
ONLY_SURICATA: set[Found] = {
    ("scan_hosts_failed", (("destination.port", 161), ("network.transport", "udp"), ("source.ip", "10.10.0.19"))),
}
BOTH = {"admin_not_from_jump", "scan_hosts_failed", "scan_icmp_sweep", "scan_ports", "scan_udp_sweep", "ssh_fanout"}


@cache
def backtest(name: str, file: str) -> Backtest:
    return run_backtest(load_pack([ROOT / "rules"], fields()), source(name), [str(LAB / file)], office(), fields(),
                        orientation())


def suricata() -> Backtest:
    return backtest("suricata_eve", "flows.eve.jsonl.gz")


def netflow() -> Backtest:
    return backtest("netflow", "flows.nfdump.json.gz")


def found(result: Backtest) -> set[Found]:
    return {(alert.rule.name, tuple(sorted(dict(alert.group).items()))) for alert in result.alerts}


def test_both_sensors_have_the_same_connections() -> None:
    assert suricata().report.kept == netflow().report.kept
    assert netflow().report.joined == netflow().report.read - netflow().report.kept > 0
    assert not suricata().report.dropped and not netflow().report.dropped


def test_netflow_gives_the_alerts_of_suricata_but_for_what_its_traits_say() -> None:
    assert found(suricata()) - found(netflow()) == ONLY_SURICATA
    assert found(netflow()) <= found(suricata())
    assert {rule for rule, _ in found(netflow())} == BOTH


@pytest.mark.parametrize(("name", "shape"), [("netflow_elastic", elastic), ("netflow_stream", stream)])
def test_what_a_siem_holds_gives_the_same_alerts(tmp_path: Path, name: str, shape: Shape) -> None:
    exported = tmp_path / "exported.jsonl"
    text = gzip.decompress((LAB / "flows.nfdump.json.gz").read_bytes()).decode()
    exported.write_text("".join(json.dumps(shape(record)) + "\n" for record in json.loads(f"[{text}]")))
    result = backtest(name, str(exported))
    assert result.report.kept == netflow().report.kept and not result.report.dropped
    assert found(result) == found(netflow())

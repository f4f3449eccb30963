"""What a real sensor recorded of real tools: every step fires the rules that its truth names, and nothing else does."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from ewdetect.backtest import Backtest, run_backtest
from ewdetect.load import load_network, load_pack, load_source
from ewdetect.truth import judge, load_truth
from tests.world import ROOT, fields, orientation

RECORDINGS = {path.parent.name: path.parent for path in sorted(ROOT.glob("fixtures/recordings/*/truth.yml"))}
QUIET = RECORDINGS["company_quiet"]


@cache
def backtest(folder: Path, file: str, source: str, until: int | None = None) -> Backtest:
    network = load_network(folder / "network.yml", fields())
    return run_backtest(load_pack([ROOT / "rules"], fields()), load_source(source, fields()), [str(folder / file)],
                        network, fields(), orientation(), until=until)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_step_is_caught_and_nothing_else_fires(name: str) -> None:
    found = backtest(RECORDINGS[name], "flows.eve.jsonl.gz", "suricata_eve")
    judgement = judge(found.alerts, load_truth(RECORDINGS[name] / "truth.yml"))
    assert not judgement.missed, [(v.step.id, v.missed) for v in judgement.missed]
    assert not judgement.false, [(a.rule.name, dict(a.group)) for a in judgement.false]
    assert found.report.kept > 5_000


@pytest.mark.parametrize(("name", "expected"), [
    ("company_quiet", set()),
    ("company_attacks", {"deny_breadth", "policy_drop_fan_out", "scan_hosts_failed"}),
])
def test_the_router_s_log_shows_the_pod_that_leaves_its_policy(name: str, expected: set[str]) -> None:
    """Guests who ask for a printer are denied as well, and nobody minds."""
    truth = load_truth(RECORDINGS[name] / "truth.yml")
    found = backtest(RECORDINGS[name], "deny.log.gz", "iptables", max(step.end for step in truth.steps))
    assert {alert.rule.name for alert in found.alerts} == expected
    assert all(alert.group["source.ip"] == "10.78.65.12" for alert in found.alerts)
    assert found.report.kept >= 8 and not any(found.report.dropped.values())


def test_rules_that_a_recording_proves() -> None:
    proved = {rule for folder in RECORDINGS.values() for step in load_truth(folder / "truth.yml").steps
              for rule in step.rules}
    assert len(proved) >= 25


def test_the_quiet_recording_is_of_a_company_and_of_twenty_minutes() -> None:
    truth, network = load_truth(QUIET / "truth.yml"), load_network(QUIET / "network.yml", fields())
    hosts = [entry for entry in network.entries if entry.cidr.num_addresses == 1]
    zones = {entry.attributes["zone"] for entry in network.entries if "zone" in entry.attributes}
    assert len(hosts) >= 25 and len(zones) >= 8
    assert all(not step.attack and step.end - step.start >= 20 * 60_000_000 for step in truth.steps)
    assert (QUIET / "flows.eve.jsonl.gz").stat().st_size < 1_500_000

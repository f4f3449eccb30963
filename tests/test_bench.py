"""The benchmark itself: it runs, finds what it planted, and makes the same flows for the same seed."""

from __future__ import annotations

import json
from pathlib import Path

from bench.generate import ENTRIES, attacks, write_flows, write_network
from bench.run import Bound, main
from bench.sources import main as sources_main
from ewdetect.coverage import lack
from ewdetect.load import load_fields, load_network, load_pack
from ewdetect.resolve import resolve_rule
from tests.convert_world import sayable
from tests.world import ROOT, fields, source

FEW = 1_000


def test_quick_run_finds_every_attack(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert main(["--quick", "--folder", str(tmp_path), "--json", str(report)]) == 0
    results = json.loads(report.read_text())
    assert [result["layout"] for result in results] == ["eve", "zeek", "parquet", "parquet"]
    for result in results:
        assert not result["missed"] and not result["unplanned"]
        assert result["alerts"] == result["planted"]


def test_same_seed_same_flows(tmp_path: Path) -> None:
    made = [tmp_path / str(number) for number in range(3)]
    for path, seed in zip(made, (1, 1, 2), strict=True):
        write_flows(path, "zeek", FEW, seed)
    once, again, other = (path.read_bytes() for path in made)
    assert once == again != other


def test_flows_are_as_many_as_asked_for(tmp_path: Path) -> None:
    write_flows(tmp_path / "eve", "eve", FEW, 1)
    kinds = [json.loads(line)["event_type"] for line in (tmp_path / "eve").read_text().splitlines()]
    assert kinds.count("flow") == FEW and 0.02 < kinds.count("dns") / FEW < 0.08


def test_network_has_its_entries(tmp_path: Path) -> None:
    write_network(tmp_path / "network.yml")
    assert len(load_network(tmp_path / "network.yml", load_fields()).entries) == ENTRIES


def test_every_rule_that_every_layout_can_run_has_an_attack_each_day() -> None:
    """The layouts are Suricata's, Zeek's and our own; the first two know of nothing that was denied.
    No day of flows holds the weeks of habits that first-seen and its like look at."""
    pack = load_pack([ROOT / "rules"], fields())
    rules = {rule.name for rule in pack.alerting()
             if rule.name == Path(rule.document.path).stem and sayable(rule)}
    unable = {name for name in rules for sensor in ("suricata_eve", "zeek_conn")
              if lack(resolve_rule(pack.rules[name], pack), source(sensor), fields())}
    assert {attack.rule for attack in attacks(FEW)} == rules - unable
    assert len(attacks(10_000_000)) == 10 * len(attacks(1_000_000))


def test_bound_is_inclusive() -> None:
    assert Bound("ratio", 3.0, 3.0).holds and not Bound("ratio", 3.1, 3.0).holds


def test_every_source_is_measured() -> None:
    assert sources_main(["--quick", "--only", "cisco_asa", "--only", "netflow", "--only", "zeek_conn"]) == 0

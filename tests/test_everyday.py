"""Ordinary traffic: made the same for the same seed, read like any other, and quiet."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from bench.budget import Bill, Line, count, table
from bench.calibrate import calibrate
from bench.everyday import DAY, HISTORY, START, host_days, read_world, write_flows, write_network
from ewdetect.cli import verbs
from ewdetect.load import load_network
from tests.world import fields

WORLD = read_world()
FRIDAY = HISTORY - 3


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Bill:
    """Friday to Sunday: a working day, backups, a weekend and the scanner's night."""
    return count(WORLD, FRIDAY, 0, 3, 1, tmp_path_factory.mktemp("everyday"))


def test_the_network_is_large_enough_to_mean_something(tmp_path: Path) -> None:
    write_network(tmp_path / "network.yml", WORLD)
    entries = load_network(tmp_path / "network.yml", fields()).entries
    assert len({entry.attributes["zone"] for entry in entries if "zone" in entry.attributes}) >= 8
    assert host_days(WORLD, 14) >= 25 * 14


def test_every_rule_keeps_its_budget_from_friday_to_sunday(bill: Bill) -> None:
    """Too short a span for one alert in 1,000 host-days, so one is always allowed. `make budget` counts a fortnight."""
    most = {line.rule: math.ceil(line.budget * bill.host_days / 1000) for line in bill.lines}
    assert {line.rule: line.alerts for line in bill.lines if line.alerts > most[line.rule]} == {}
    assert bill.flows > 200_000 and len(bill.lines) > 80


def test_same_seed_same_flows_and_they_begin_within_their_days(tmp_path: Path) -> None:
    made = [tmp_path / f"{number}.parquet" for number in range(3)]
    for path, seed in zip(made, (1, 1, 2), strict=True):
        write_flows(path, WORLD, 1, 1, seed)
    once, again, other = (duckdb.execute(f"""
        SELECT md5(string_agg(f::VARCHAR, '' ORDER BY f::VARCHAR)), epoch(min("event.start")), epoch(max("event.start"))
        FROM '{path}' f""").fetchall()[0] for path in made)
    assert once == again and once[0] != other[0]
    assert START + DAY <= once[1] <= once[2] < START + 2 * DAY


def test_sizes_and_times_are_those_of_the_recordings_that_ship() -> None:
    assert calibrate(WORLD.text["services"]) == WORLD.samples and len(WORLD.samples) >= 15


@pytest.mark.parametrize("form", ["parquet", "jsonl.gz"])
def test_backtest_reads_every_flow(form: str, tmp_path: Path) -> None:
    flows, network = tmp_path / f"day.{form}", tmp_path / "network.yml"
    written = write_flows(flows, WORLD, 0, 1, 1)
    write_network(network, WORLD)
    said = CliRunner().invoke(verbs, ["backtest", str(flows), "--source", "flow", "--network", str(network), "--rule",
                                     "decoy_touch", "--format", "json"])
    assert said.exit_code == 0
    assert f'"kept": {written}' in said.stdout


def test_a_rule_over_its_budget_stands_in_the_table_with_its_reason() -> None:
    line = Line("new_pair", 9, 9.0, 8.0, "new computers")
    assert not line.holds and Line("scan", 1, 1.0, 1.0, "").holds
    assert "| new_pair | 9 | 9.00 | 8 | new computers |" in table(Bill(10, 1000, (line,), (), ()))

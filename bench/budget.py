"""How often does each rule alert on traffic in which nothing happens?

`python -m bench.budget` makes five weeks of ordinary traffic, runs every rule, counts the alerts of the last two weeks
and exits with 1 if a rule has more than its budget: one for every 1,000 host-days, or what the rule itself states.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.everyday import COUNTED, DAY, HISTORY, START, World, host_days, read_world, write_flows, write_network
from ewdetect.backtest import run_backtest
from ewdetect.engine import Settings
from ewdetect.load import content_root, load_fields, load_network, load_orientation, load_pack, load_source
from ewdetect.model import Alert, Rule

PAGE = Path(__file__).parents[1] / "docs" / "budget.md"


@dataclass(frozen=True, slots=True)
class Line:
    """One rule: its alerts, what that is in 1,000 host-days, the most it may be, and why if that is more than one."""

    rule: str
    alerts: int
    rate: float
    budget: float
    why: str

    @property
    def holds(self) -> bool:
        return self.rate <= self.budget


@dataclass(frozen=True, slots=True)
class Bill:
    """`alerts` are those that count, oldest first; `skipped` rules cannot be asked of these flows."""

    flows: int
    host_days: int
    lines: tuple[Line, ...]
    skipped: tuple[str, ...]
    alerts: tuple[Alert, ...]


def count(world: World, first: int, history: int, counted: int, seed: int, folder: Path) -> Bill:
    """Make `history + counted` days from day `first` on and run every rule; alerts count in the last `counted` days."""
    network, flows = folder / "network.yml", folder / f"everyday-{seed}.parquet"
    write_network(network, world)
    written = write_flows(flows, world, first, history + counted, seed)
    fields = load_fields()
    pack = load_pack([content_root() / "rules"], fields)
    found = run_backtest(pack, load_source("flow"), [str(flows)], load_network(network, fields), fields,
                         load_orientation(), settings=Settings(memory="1GB"))
    begin = (START + (first + history) * DAY) * 1_000_000
    alerts = tuple(alert for alert in found.alerts if alert.crossing >= begin)
    days = host_days(world, counted)
    lines = _lines([pack.rules[name] for name in found.rules], alerts, days)
    return Bill(written, days, lines, tuple(each.rule for each in found.skipped), alerts)


def _lines(rules: Sequence[Rule], alerts: Sequence[Alert], days: int) -> tuple[Line, ...]:
    told: Mapping[str, int] = Counter(alert.rule.name for alert in alerts)
    return tuple(Line(rule.name, told.get(rule.name, 0), told.get(rule.name, 0) * 1000 / days, *_budget(rule))
                 for rule in sorted(rules, key=lambda rule: rule.name))


def _budget(rule: Rule) -> tuple[float, str]:
    stated = rule.meta.get("budget", {"alerts": 1, "because": ""})
    return stated["alerts"], stated["because"]


def table(bill: Bill) -> str:
    """The page: what was counted, and a row for every rule."""
    rows = [f"| {line.rule} | {line.alerts} | {line.rate:.2f} | {line.budget:g} | {line.why} |" for line in bill.lines]
    return "\n".join([
        "# What the rules say when nothing happens", "",
        f"Made by `make budget` from [bench/everyday.yml](../bench/everyday.yml): {bill.flows:,} flows of ordinary",
        f"traffic in {HISTORY + COUNTED} days, of which the last {COUNTED} count: {bill.host_days:,} host-days.",
        "Sizes and times of the flows are those that a real sensor saw in the lab. A rule may alert once in 1,000",
        "host-days; where it may more often, the rule says why.", "",
        "| rule | alerts | in 1,000 host-days | budget | why more than one |",
        "| --- | --- | --- | --- | --- |", *rows, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print what is over budget with its alerts, and tell by the exit code whether any is."""
    parser = argparse.ArgumentParser(description="Count the alerts of every rule on weeks of ordinary traffic.")
    parser.add_argument("--history", type=int, default=HISTORY, help="days before those that count")
    parser.add_argument("--days", type=int, default=COUNTED, help="days that count")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table to docs/budget.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ewdetect-budget-") as folder:
        bill = count(read_world(), HISTORY - options.history, options.history, options.days, options.seed, Path(folder))
    for alert in bill.alerts:
        sys.stdout.write(f"{alert.rule.name}: {', '.join(f'{k} {v}' for k, v in alert.group.items())}\n")
    over = [line for line in bill.lines if not line.holds]
    sys.stdout.write(f"{bill.flows:,} flows, {bill.host_days:,} host-days, {len(bill.lines)} rules, "
                     f"{sum(line.alerts for line in bill.lines)} alerts; over budget: {len(over)}\n")
    sys.stdout.writelines(f"over budget: {line.rule}: {line.rate:.2f}, at most {line.budget:g}\n" for line in over)
    if options.write:
        PAGE.write_text(table(bill), encoding="utf-8")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

"""Rules over recorded flows: which of them can run on this telemetry, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ewdetect.coverage import Grade, cover
from ewdetect.engine import Engine, ReadReport, Settings
from ewdetect.flows import Orientation, Source
from ewdetect.model import Alert, Field, Pack
from ewdetect.network import Network
from ewdetect.plan import fields_used
from ewdetect.resolve import chosen_rules, resolve_rule


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that the telemetry cannot answer, or not as well as it is meant, and what is lacking."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Backtest:
    """`alerts` are in the order of their crossings; `rules` are the names of those that ran, in the pack's order.

    `degraded` are those of them that this telemetry answers worse than they are meant.
    """

    report: ReadReport
    alerts: tuple[Alert, ...]
    skipped: tuple[Skipped, ...]
    rules: tuple[str, ...]
    degraded: tuple[Skipped, ...] = ()


def run_backtest(pack: Pack, source: Source, paths: Sequence[str], network: Network, fields: Mapping[str, Field],
                 orientation: Orientation, only: Sequence[str] = (), settings: Settings | None = None,
                 progress: Callable[[str], None] = lambda _: None, until: int | None = None) -> Backtest:
    """Read the flows once and run every alerting rule on them, or the rules that `only` names.

    `progress` is told what is being done, in words. `until` is the latest time of a log whose times have no year.
    Raises Rejected for a rule that is not there and for files that
    the source does not read, WorldFailed where disk or memory run out.
    """
    resolved = [resolve_rule(rule, pack) for rule in chosen_rules(pack, only)]
    covered = [cover(each, source, fields) for each in resolved]
    lacking = {each.rule: "; ".join(each.reasons) for each in covered if each.grade is Grade.IMPOSSIBLE}
    ready = [each for each in resolved if each.rule.name not in lacking]
    used = frozenset[str]().union(*(fields_used(each) for each in ready))
    with Engine(fields, orientation, settings) as engine:
        progress("reading flows")
        report = engine.read(source, paths, network, used, until)
        alerts = engine.all_alerts(ready, progress)
    return Backtest(report, tuple(sorted(alerts, key=_by_time)),
                    tuple(Skipped(name, reason) for name, reason in lacking.items()),
                    tuple(each.rule.name for each in ready),
                    tuple(Skipped(each.rule, "; ".join(each.reasons)) for each in covered
                          if each.grade is Grade.DEGRADED))


def _by_time(alert: Alert) -> tuple[int, str, str]:
    return alert.crossing, alert.rule.name, str(alert.group)

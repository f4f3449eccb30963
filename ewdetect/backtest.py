"""Rules over recorded flows: which of them can run on this telemetry, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ewdetect.coverage import Coverage, Grade, cover
from ewdetect.engine import Engine, ReadReport, Settings
from ewdetect.flows import Orientation, Source
from ewdetect.model import Alert, Field, Pack
from ewdetect.network import Network
from ewdetect.plan import fields_used
from ewdetect.resolve import ResolvedRule, chosen_rules, resolve_rule


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
    ready, covered = _ready(pack, source, fields, only)
    with Engine(fields, orientation, settings) as engine:
        progress("reading flows")
        report = engine.read(source, paths, network, _used(ready), until)
        alerts = engine.all_alerts(ready, progress)
    return Backtest(report, tuple(sorted(alerts, key=_by_time)),
                    _skipped(covered, Grade.IMPOSSIBLE),
                    tuple(each.rule.name for each in ready),
                    _skipped(covered, Grade.DEGRADED))


def fields_read(pack: Pack, source: Source, fields: Mapping[str, Field]) -> frozenset[str]:
    """The fields that a backtest of every rule on this source asks for."""
    return _used(_ready(pack, source, fields, ())[0])


def _ready(pack: Pack, source: Source, fields: Mapping[str, Field],
           only: Sequence[str]) -> tuple[list[ResolvedRule], list[Coverage]]:
    """The chosen rules that the source can answer, and how well it answers each that was chosen."""
    resolved = [resolve_rule(rule, pack) for rule in chosen_rules(pack, only)]
    covered = [cover(each, source, fields) for each in resolved]
    return [each for each, found in zip(resolved, covered, strict=True) if found.grade is not Grade.IMPOSSIBLE], covered


def _used(rules: Iterable[ResolvedRule]) -> frozenset[str]:
    return frozenset[str]().union(*map(fields_used, rules))


def _skipped(covered: Iterable[Coverage], grade: Grade) -> tuple[Skipped, ...]:
    return tuple(Skipped(each.rule, "; ".join(each.reasons)) for each in covered if each.grade is grade)


def _by_time(alert: Alert) -> tuple[int, str, str]:
    return alert.crossing, alert.rule.name, str(alert.group)

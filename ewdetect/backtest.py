"""Rules over recorded flows: which of them can run on this telemetry, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as parts_of

from ewdetect.engine import Engine, ReadReport, Settings
from ewdetect.flows import Orientation, Source
from ewdetect.load import items
from ewdetect.model import Alert, Field, Kind, Pack, Rule
from ewdetect.network import Network
from ewdetect.plan import fields_used
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.resolve import ResolvedRule, resolve_rule


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that the telemetry cannot answer, and what is lacking."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Backtest:
    """`alerts` are in the order of their crossings; `rules` are the names of those that ran, in the pack's order."""

    report: ReadReport
    alerts: tuple[Alert, ...]
    skipped: tuple[Skipped, ...]
    rules: tuple[str, ...]


def run_backtest(pack: Pack, source: Source, paths: Sequence[str], network: Network, fields: Mapping[str, Field],
                 orientation: Orientation, only: Sequence[str] = (), settings: Settings | None = None,
                 progress: Callable[[str], None] = lambda _: None) -> Backtest:
    """Read the flows once and run every alerting rule on them, or the rules that `only` names.

    `progress` is told what is being done, in words. Raises Rejected for a rule that is not there and for files that
    the source does not read, WorldFailed where disk or memory run out.
    """
    resolved = [resolve_rule(rule, pack) for rule in chosen_rules(pack, only)]
    lacking = {each.rule.name: reason for each in resolved if (reason := lack(each, source, fields))}
    ready = [each for each in resolved if each.rule.name not in lacking]
    used = frozenset[str]().union(*(fields_used(each) for each in ready))
    alerts: list[Alert] = []
    with Engine(fields, orientation, settings) as engine:
        progress("reading flows")
        report = engine.read(source, paths, network, used)
        for each in ready:
            progress(each.rule.name)
            alerts += engine.alerts(each)
    return Backtest(report, tuple(sorted(alerts, key=_by_time)),
                    tuple(Skipped(name, reason) for name, reason in lacking.items()),
                    tuple(each.rule.name for each in ready))


def chosen_rules(pack: Pack, only: Sequence[str]) -> tuple[Rule, ...]:
    """The alerting rules, or those of the given names or ids. Raises Rejected, `rule/unknown`, for every other word."""
    unknown = [word for word in only if pack.find(word) is None]
    if unknown:
        names = sorted(pack.rules)
        raise Rejected(Problem("rule/unknown", f"there is no rule `{word}`", None, suggest(word, names))
                       for word in unknown)
    found = dict.fromkeys(rule.name for word in only if (rule := pack.find(word)))
    return tuple(pack.rules[name] for name in found) if only else pack.alerting()


def lack(resolved: ResolvedRule, source: Source, fields: Mapping[str, Field]) -> str:
    """Why the source cannot answer the rule; empty if it can.

    What counts is `needs.telemetry`. A rule that declares nothing is taken to need every field that it reads.
    """
    declared = [name for part in resolved.parts for name in (part.meta.get("needs") or {}).get("telemetry", ())]
    needed = declared or sorted(fields_used(resolved))
    return "; ".join(dict.fromkeys([*_unfilled(needed, source, fields), *_untold(resolved, source),
                                    *_untimed(resolved, source)]))


def _unfilled(needed: Sequence[str], source: Source, fields: Mapping[str, Field]) -> Iterator[str]:
    """Record fields that the source does not fill, and traits that it does not have."""
    traits = {part.name for part in parts_of(source.traits)}
    for name in needed:
        if name in fields and fields[name].origin == "record" and name not in source.fields:
            yield f"{source.name} does not tell {name}"
        elif name in traits and not getattr(source.traits, name):
            yield f"{source.name} is not {name}"


def _untold(resolved: ResolvedRule, source: Source) -> Iterator[str]:
    """Outcomes that a selection asks for and the source never reports.

    Selections called `filter…` are exceptions by Sigma's convention: one that never hits takes nothing away.
    """
    for part in resolved.parts:
        for item in items(part):
            asked = {str(value).lower() for value, _ in item.values}
            if item.field != "flow.outcome" or item.modifiers or str(item.path[1]).startswith("filter"):
                continue
            if asked and not asked & set(source.traits.outcomes):
                yield f"{source.name} cannot tell whether a connection was {' or '.join(sorted(asked))}"


def _untimed(resolved: ResolvedRule, source: Source) -> Iterator[str]:
    """A beacon is in the intervals, and sampled or aggregated telemetry has others than the traffic."""
    if any(part.kind is Kind.BEACON for part in resolved.parts):
        if source.traits.sampled:
            yield f"{source.name} is sampled, which destroys the intervals between connections"
        if source.traits.timing != "exact":
            yield f"{source.name} has {source.traits.timing} times, which destroy the intervals between connections"


def _by_time(alert: Alert) -> tuple[int, str, str]:
    return alert.crossing, alert.rule.name, str(alert.group)

"""A backtest as text: what was read, what was found, and a table of the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ewdetect.backtest import Backtest
from ewdetect.engine import DAMAGE, ReadReport
from ewdetect.model import LEVELS, Alert, Rule
from ewdetect.report.alert_text import LEVEL_STYLES, Clock, actor, alert_text, by_actor
from ewdetect.report.words import clock, count, day, host, length, moment, safe

REPAIRS: Mapping[str, str] = {"reversed": "initiator and responder turned round",
                              "number": "a counter that cannot be true left out",
                              "year": "a time without a year, told from other lines or from the file's date"}
_ALIKE, _SHOWN = 5, 3   # more alerts of one rule on one host than the first are cut to the second
_PLACES = 8             # damaged records whose place is shown


def backtest_text(result: Backtest, rules: Mapping[str, Rule], source: str, network: str) -> RenderableType:
    """The whole report. `rules` are those of the pack, by name."""
    return Group(_read(result, source, network), Text(), *_alerts(result, rules), *_summary(result))


def _read(result: Backtest, source: str, network: str) -> Table:
    report = result.report
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Flows", f"{_files(report)}, as {safe(source)}")
    table.add_row("Network", safe(network))
    table.add_row("Read", _records(report))
    if report.repaired:
        repairs = (f"{number:,} {REPAIRS.get(what, what)}" for what, number in report.repaired.items())
        table.add_row("Repaired", "; ".join(repairs))
    if report.dropped or report.places:
        table.add_row("Dropped", "\n".join(_dropped(report)))
    if report.first is not None and report.last is not None:
        span = f"{moment(report.first)} to {moment(report.last)} UTC ({length(report.last - report.first)})"
        table.add_row("Span", span)
    table.add_row("Rules", f"{len(result.rules)} ran" + (f", {len(result.skipped)} skipped" if result.skipped else ""))
    for skipped in result.skipped:
        table.add_row("Skipped", f"{skipped.rule}: {skipped.reason}")
    for degraded in result.degraded:
        table.add_row("Degraded", f"{degraded.rule}: {degraded.reason}")
    return table


def _files(report: ReadReport) -> str:
    return safe(report.files[0]) if len(report.files) == 1 else count(len(report.files), "file")


def _records(report: ReadReport) -> str:
    passed = f", {report.joined:,} joined to others of their connection" if report.joined else ""
    passed += f", {report.passed:,} of other kinds passed over" if report.passed else ""
    dropped = sum(report.dropped.values())
    return (f"{count(report.read, 'record')}: {count(report.kept, 'flow')} kept{passed}"
            + (f", {dropped:,} dropped" if dropped else ""))


def _dropped(report: ReadReport) -> Iterator[str]:
    for damage, number in report.dropped.items():
        yield f"{number:,} {damage}: {DAMAGE.get(damage, damage)}"
    for place in report.places[:_PLACES]:
        where = f"{safe(place.file)}:{place.line}" if place.line else safe(place.file)
        meaning = "" if place.damage in report.dropped else f": {DAMAGE.get(place.damage, '')}"
        yield f"  {where}: {place.damage}{meaning}"
    if len(report.places) > _PLACES:
        yield f"  and {len(report.places) - _PLACES} more places; --format json lists them"


def _alerts(result: Backtest, rules: Mapping[str, Rule]) -> Iterator[RenderableType]:
    if not result.alerts:
        yield from _nothing(result, rules)
        return
    days = {day(time) for alert in result.alerts for time in (alert.start, alert.crossing, alert.end)}
    when: Clock = clock if len(days) == 1 else moment
    yield Text(f"Alerts on {days.pop()}, UTC" if len(days) == 1 else "Alerts, UTC", "bold underline")
    yield Text()
    for address, alerts in by_actor(result.alerts).items():
        yield Text(host(address, alerts[0].context), "bold").append(f": {count(len(alerts), 'alert')}", "not bold")
        for shown in _compact(alerts, when):
            yield Padding(shown, (0, 0, 0, 2))


def _compact(alerts: Sequence[Alert], when: Clock) -> Iterator[RenderableType]:
    """All alerts in full, but where one rule gave many only the first, and how many more there are."""
    total = Counter(alert.rule.name for alert in alerts)
    seen: Counter[str] = Counter()
    for alert in alerts:
        seen[alert.rule.name] += 1
        if total[alert.rule.name] <= _ALIKE or seen[alert.rule.name] <= _SHOWN:
            yield alert_text(alert, when)
    for name, number in total.items():
        if number > _ALIKE:
            last = when(max(alert.crossing for alert in alerts if alert.rule.name == name))
            more = f"and {number - _SHOWN} more of {name}, the last at {last}; --alerts FILE writes all"
            yield Padding(Text(more), (0, 0, 1, 0))


def _nothing(result: Backtest, rules: Mapping[str, Rule]) -> Iterator[RenderableType]:
    report = result.report
    if report.kept == 0:
        found = "No flow was kept, so there was nothing to look at." if report.read else "There were no records."
        yield Text(found, "bold")
        if report.read:
            yield Text("Was it this source that wrote the file? `ewdetect list sources` shows the others.")
        return
    yield Text("No alerts. Looked for:", "bold")
    for name in result.rules:
        yield Text(f"  {safe(rules[name].title)}").append(f"  {name}", "dim")


def _summary(result: Backtest) -> Iterator[RenderableType]:
    """A table of the rules that alerted, gravest first, and the names of the quiet ones."""
    found: dict[str, list[Alert]] = {}
    for alert in result.alerts:
        found.setdefault(alert.rule.name, []).append(alert)
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("rule", "level", "alerts", "hosts", "first", "last"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("alerts", "hosts") else "left")
    for alerts in sorted(found.values(), key=_gravest_first):
        table.add_row(*_rule_row(alerts))
    yield table
    if quiet := [name for name in result.rules if name not in found]:
        yield Text(f"\nquiet: {', '.join(quiet)}")


def _rule_row(alerts: Sequence[Alert]) -> Iterator[str | Text]:
    rule = alerts[0].rule
    yield rule.name
    yield Text(rule.level, LEVEL_STYLES.get(rule.level, ""))
    yield f"{len(alerts):,}"
    yield f"{len(set(map(actor, alerts))):,}"
    yield moment(alerts[0].crossing)
    yield moment(alerts[-1].crossing)


def _gravest_first(alerts: Sequence[Alert]) -> tuple[int, str]:
    rule = alerts[0].rule
    return -LEVELS.index(rule.level) if rule.level in LEVELS else 0, rule.name

"""How a backtest measures up to the truth, as a table and a score."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ewdetect.report.alert_text import actor, measured
from ewdetect.report.words import clock, count, host, moment, safe
from ewdetect.truth import Judgement, Verdict

_STYLES = {"caught": "green", "missed": "bold red"}


def truth_text(judgement: Judgement) -> RenderableType:
    """The attack steps, notes on those without a rule, false alerts, and one line with the score."""
    return Group(Text("\nWhat really happened (UTC)\n", "bold underline"), _table(judgement), *_without_rule(judgement),
                 *_everyday(judgement), *_false(judgement), Text(f"\n{score(judgement)}", "bold"))


def score(judgement: Judgement) -> str:
    """One line: caught, missed, without a rule, false."""
    asked = len(judgement.caught) + len(judgement.missed)
    return ", ".join([
        f"{len(judgement.caught)} of {count(asked, 'attack step')} with a rule caught",
        f"{len(judgement.missed)} missed",
        f"{len(judgement.without_rule)} without a rule", count(len(judgement.false), "false alert")])


def _table(judgement: Judgement) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("step", "when", "what", "technique", "rules", "verdict"):
        table.add_column(column, no_wrap=column != "what", overflow="fold")
    for verdict in judgement.verdicts:
        if verdict.step.attack or verdict.step.rules:
            table.add_row(*_row(verdict))
    return table


def _row(verdict: Verdict) -> Iterator[str | Text]:
    step = verdict.step
    yield safe(step.id)
    yield f"{clock(step.start)}-{clock(step.end)}"
    yield safe(step.tool)
    yield safe(step.technique)
    yield "\n".join(map(safe, step.rules)) or Text("none yet", "dim")
    words = ["missed" if rule in verdict.missed else "caught" for rule in step.rules]
    yield Text("\n").join(Text(word, _STYLES[word]) for word in words)


def _without_rule(judgement: Judgement) -> Iterator[Text]:
    if judgement.without_rule:
        yield Text("\nno rule asks for these yet:")
    for verdict in judgement.without_rule:
        yield Text(f"  {safe(verdict.step.id)}: {safe(verdict.step.note)}")


def _everyday(judgement: Judgement) -> Iterator[Text]:
    everyday = [verdict for verdict in judgement.verdicts if not (verdict.step.attack or verdict.step.rules)]
    if everyday:
        yield Text(f"\nbeside them {count(len(everyday), 'kind')} of everyday traffic, on which no rule may fire")


def _false(judgement: Judgement) -> Iterator[Text]:
    if judgement.false:
        yield Text("\nfalse alerts, which no step accounts for:", "bold red")
    for alert in judgement.false:
        who = host(actor(alert), alert.context)
        yield Text(f"  {moment(alert.crossing)}  {alert.rule.name}  {who}: {measured(alert)}")

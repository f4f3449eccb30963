"""A rule about long flows says how long they may last.

Sensors write a flow when it ends. A SIEM's schedule looks back an hour further than the windows need, or not at all, so
it never sees flows of eight hours unless the rule tells it to.

- `rule/long-flows`: a selection asks for flows of an hour or more. Write `flows-last` under `ewdetect:` of the rule
  that alerts, longer than what the selection asks for.
"""

from __future__ import annotations

from collections.abc import Iterator

from ewdetect.checks.scope import Scope
from ewdetect.load import items
from ewdetect.load.detection import Item
from ewdetect.model import Kind, Rule
from ewdetect.problems import Problem
from ewdetect.resolve import resolve_rule
from ewdetect.schedule import LASTING_KEY, lasting

_LEAST = {"gt", "gte"}


def check(scope: Scope) -> list[Problem]:
    return [problem for rule in scope.pack.alerting() for problem in _rule(rule, scope)]


def _rule(rule: Rule, scope: Scope) -> Iterator[Problem]:
    kept = lasting(rule)
    for part in resolve_rule(rule, scope.pack).parts:
        for item in items(part) if part.kind is Kind.EVENT else ():
            if _least(item) >= kept:
                yield Problem("rule/long-flows", f"`{rule.name}` asks for flows of {_least(item):g} s or more, which "
                              f"no schedule waits for", part.document.at(*item.path),
                              f"write a longer `ewdetect.{LASTING_KEY}` in `{rule.name}`, such as 24h")


def _least(item: Item) -> float:
    """The shortest duration that a line of a selection lets through, in seconds; 0 if it asks for none."""
    if item.field != "event.duration" or not _LEAST & set(item.modifiers) or "filter" in str(item.path[1]):
        return 0
    return max(float(value) for value, _ in item.values)

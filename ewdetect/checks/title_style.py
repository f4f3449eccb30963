"""Titles are short names of behaviour.

The title is the line of the alert queue: it must fit there, and name what happened. The verb is in the description.

- `rule/long-title`: the title is longer than 120 characters. Move the details to the description.
- `rule/title-style`: the title starts with "Detects" or ends with a full stop. Name the behaviour instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from ewdetect.checks.scope import Scope
from ewdetect.model import Rule
from ewdetect.problems import Problem

_LONGEST = 120


def check(scope: Scope) -> list[Problem]:
    return [problem for rule in scope.rules() for problem in _rule(rule)]


def _rule(rule: Rule) -> Iterator[Problem]:
    place = rule.document.at("title")
    if len(rule.title) > _LONGEST:
        yield Problem("rule/long-title", f"the title has {len(rule.title)} characters", place,
                      f"keep it to {_LONGEST}; details belong in the description")
    if rule.title.lower().startswith(("detects ", "detection of ")) or rule.title.endswith("."):
        yield Problem("rule/title-style", "a title names the behaviour; it is no sentence", place,
                      "leave out `Detects` and the full stop")

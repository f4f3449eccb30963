"""A rule that alerts says everything that the analyst on shift needs.

The description, its false positives and the guide are what stands in the alert at three in the morning. `needs` decides
which telemetry the rule can be deployed on, `tuning` names the one knob that makes it quieter.

- `rule/incomplete-head`: a key is missing. Add it; the message names it.
- `rule/description-style`: the description does not start with "Detects", so lists of rules do not read as one.
- `rule/short-guide`: the guide has fewer than five numbered steps. Say where to look, for what, and what to do then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ewdetect.checks.scope import Scope
from ewdetect.model import Rule
from ewdetect.problems import Problem

_HEAD = ("description", "references", "tags", "falsepositives", "level", "date", "author")
_OWN = ("guide", "tuning", "needs")
_STEP = re.compile(r"^\s*[0-9]+[.)]\s+\S", re.MULTILINE)
_FEWEST_STEPS = 5


def check(scope: Scope) -> list[Problem]:
    return [problem for rule in scope.pack.alerting() for problem in _rule(rule)]


def _rule(rule: Rule) -> Iterator[Problem]:
    for key in _HEAD:
        if not rule.body.get(key):
            yield Problem("rule/incomplete-head", f"`{rule.name}` alerts and has no `{key}`", rule.document.at(key),
                          f"add `{key}:`")
    for key in _OWN:
        if not rule.meta.get(key):
            yield Problem("rule/incomplete-head", f"`{rule.name}` alerts and has no `ewdetect.{key}`",
                          rule.document.at("ewdetect", key), f"add `{key}:` under `ewdetect:`")
    description = rule.body.get("description", "")
    if description and not description.startswith("Detects "):
        yield Problem("rule/description-style", "a description starts with `Detects`", rule.document.at("description"),
                      "say in the first sentence what is detected")
    guide = rule.meta.get("guide", "")
    steps = len(_STEP.findall(guide))
    if guide and steps < _FEWEST_STEPS:
        place = rule.document.at("ewdetect", "guide")
        yield Problem("rule/short-guide", f"the guide has {steps} numbered steps", place,
                      f"write at least {_FEWEST_STEPS}, each on a line that starts with its number")

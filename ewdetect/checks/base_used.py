"""Base rules have a user.

A rule of level `informational` never alerts; it exists to be correlated. One that nothing refers to does nothing.

- `rule/unused-base`: no correlation refers to the rule. Remove it, correlate it, or give it a level that alerts.
"""

from __future__ import annotations

from ewdetect.checks.scope import Scope
from ewdetect.problems import Problem


def check(scope: Scope) -> list[Problem]:
    used = {reference for rule in scope.rules() for reference in rule.refers_to}
    return [Problem("rule/unused-base", f"`{rule.name}` never alerts, and no correlation refers to it",
                    rule.document.at("level"), "remove it, correlate it, or raise its level")
            for rule in scope.rules() if rule.level == "informational" and not {rule.name, rule.id} & used]

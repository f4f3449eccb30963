"""Every detection has a proof: a case in which it fires, and one in which it stays quiet.

A rule that no case makes fire may match nothing at all; one that no case keeps quiet may match everything.

- `test/missing`: there is no `<name>.test.yaml` beside the rule file. Write one; `ewdetect new rule` shows the form.
- `test/never-fires`: no case of the file expects an alert of the rule. Add one.
- `test/never-quiet`: no case of the file expects that the rule stays quiet. Add the nearest benign behaviour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ewdetect.checks.scope import Scope
from ewdetect.load import test_of
from ewdetect.model import Rule
from ewdetect.problems import Problem
from ewdetect.yamlfile import Document


def check(scope: Scope) -> list[Problem]:
    return [problem for rule in scope.pack.alerting() for problem in _rule(rule, scope.tests)]


def _rule(rule: Rule, tests: Mapping[Path, Document | None]) -> Iterator[Problem]:
    rule_file = Path(rule.document.path).resolve()
    if rule_file not in tests:
        yield Problem("test/missing", f"`{rule.name}` has no proof", rule.document.at("name"),
                      f"write `{test_of(rule_file).name}` beside it")
    elif test := tests[rule_file]:
        yield from _cases_problems(rule, test)


def _cases_problems(rule: Rule, test: Document) -> Iterator[Problem]:
    own = Path(rule.document.path).stem
    fires = [rule.name in _expected(case, own) for case in _cases(test)]
    if fires and not any(fires):
        yield Problem("test/never-fires", f"no case expects an alert of `{rule.name}`", test.at("cases"),
                      "add one that fires")
    if fires and all(fires):
        yield Problem("test/never-quiet", f"no case keeps `{rule.name}` quiet", test.at("cases"),
                      "add the nearest benign behaviour, with `alerts: []`")


def _cases(test: Document) -> list[dict[str, Any]]:
    """The cases that are well enough formed to be read; what is wrong with the others the schema says."""
    cases = test.data.get("cases") if isinstance(test.data, dict) else None
    return [case for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []


def _expected(case: dict[str, Any], own: str) -> set[str]:
    """The rules whose alerts a case expects; an alert that names none is of the file's own rule."""
    alerts = case.get("alerts")
    entries = alerts if isinstance(alerts, list) else []
    return {str(entry.get("rule") or own) for entry in entries if isinstance(entry, dict)}

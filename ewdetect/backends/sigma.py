"""From our plain documents to fresh pySigma objects, one set for each conversion.

Fresh because conversion edits the objects in place, and because pySigma 1.x shares a filter's detections
between all rules it is applied to, so that they are transformed once for each of them.
"""

from __future__ import annotations

import copy
from typing import Any

from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from ewdetect.model import Kind, Rule
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule


def hydrate(resolved: ResolvedRule) -> dict[str, SigmaRule]:
    """The event rules that `resolved` stands on, by name, with filters applied. Raises Rejected."""
    return {part.name: _event_rule(part, resolved.filters.get(part.name, ()))
            for part in resolved.parts if part.kind is Kind.EVENT}


def _event_rule(part: Rule, filters: tuple[Rule, ...]) -> SigmaRule:
    try:
        rule = SigmaRule.from_dict(_plain(part))
        for sigma_filter in filters:
            SigmaFilter.from_dict(_plain(sigma_filter)).apply_on_rule(rule)
        _ = [condition.parsed for condition in rule.detection.parsed_condition]
    except SigmaError as error:
        raise Rejected([Problem("rule/not-sigma", str(error), part.document.at("detection"),
                                "see the Sigma specification")]) from error
    return rule


def _plain(rule: Rule) -> dict[str, Any]:
    return copy.deepcopy(dict(rule.body))




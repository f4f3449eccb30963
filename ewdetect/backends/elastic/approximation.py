"""What a rule type of Kibana says nearly: a Lucene query that finds the flows, and Kibana's own keys beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ewdetect.backends import predicate
from ewdetect.backends.base import Query, refuse_base
from ewdetect.backends.events import any_of, conditions_of
from ewdetect.backends.predicate import Setting, Target
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule


def setting_of(resolved: ResolvedRule, context: str, target: Target) -> Setting:
    """The setting of a rule that alerts. Raises Rejected."""
    refuse_base(resolved.rule, target.name)
    return predicate.setting_of(resolved, context, target)


def approximation(resolved: ResolvedRule, setting: Setting, dialect: str, says: Mapping[str, Any],
                  differences: Iterable[str], when: Schedule) -> Query:
    """The query on the first line, `says` as JSON on the second. `differences` are the first caveats.

    Raises Rejected.
    """
    found = conditions_of(resolved, setting)
    lucene = any_of(predicate.printer(setting).finished(predicate.spelt(c.tree, c.state, part, setting), c.state)
                    for part, c in found)
    size = predicate.size_caveats(setting, sum(c.clauses for _, c in found), len(lucene))
    caveats = dict.fromkeys([*differences, *(caveat for _, c in found for caveat in c.caveats),
                             *setting.vocabulary.caveats, *size])
    return Query(resolved.rule.name, setting.target.name, dialect, setting.source.name, setting.context,
                 f"{lucene}\n{json.dumps(says)}", tuple(caveats), when)

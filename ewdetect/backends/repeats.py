"""Which rules mean the same where a connection may have several records, all from who began to who answered.

Whether there is a flow, and how many different values flows have, does not depend on how often one is written. How many
flows there are does, and so do sums, sizes, intervals, and steps that one connection must not take twice.
"""

from __future__ import annotations

from ewdetect.flows import Source
from ewdetect.plan import Deviation, FirstSeen, Selection, Stage, Threshold, Window, plan
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule

_BLIND = {"distinct", "temporal"}
_ANY = (Threshold("gte", 1),)


def refuse_counts(resolved: ResolvedRule, source: Source) -> None:
    """Raises Rejected for a rule that would take a further record for another connection."""
    if all(_blind(stage) for stage in plan(resolved)):
        return
    rule = resolved.rule
    raise Rejected([Problem(
        "convert/several-records", f"`{rule.name}` counts or orders connections, and `{source.name}` may write "
        "several records of one, which only ewdetect's reader joins", rule.document.at("title"),
        "run the rule with `ewdetect backtest`, or count different values instead")])


def _blind(stage: Stage) -> bool:
    match stage:
        case Selection() | FirstSeen():
            return True
        case Window(measure=measure, thresholds=thresholds):
            return measure.function in _BLIND or (measure.function == "count" and thresholds == _ANY)
        case Deviation(measure=measure):
            return measure.function in _BLIND
    return False

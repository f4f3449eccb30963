"""A count or distinct count as Kibana's threshold rule: an approximation for those who ask for it by name.

Kibana counts what it finds between `from` and `to` of a run, so windows hop by the period instead of sliding.
https://www.elastic.co/docs/solutions/security/detect-and-alert/create-detection-rule#create-threshold-rule
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.backends.base import Query, unsupported
from ewdetect.backends.elastic.approximation import approximation, setting_of
from ewdetect.backends.predicate import Setting, Target, letters_caveat
from ewdetect.model import Kind
from ewdetect.plan import Selection, Window, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule, schedule

DIALECT = "threshold"
FIELDS = 5                      # of one rule, from Elastic 9.2 on
_TIME = "@timestamp"
_EXACTLY = 3000                 # distinct values up to which Elasticsearch's estimate is close to exact

_REASONS = {
    "anything but a count": "a threshold rule counts flows, or distinct values of one field, and nothing else",
    "correlation of alerts": "a threshold rule counts flows, not alerts of another rule",
    "bound": "a threshold rule knows `gte` and `gt` alone; the absence of flows is no bucket",
    "several fields": "it counts distinct values of one field, not of several together",
    "aliases": "it groups by one field, whichever rule the flow matches",
    "many keys": f"it groups by at most {FIELDS} fields",
    "unmapped key": "it groups and counts by fields that the flows have; for the context, use --context enriched",
}
CANNOT: Mapping[str, str] = {f"{DIALECT}: {construct}": why for construct, why in _REASONS.items()}


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The Lucene query on the first line, the threshold as JSON on the second. `target` is Lucene's.

    Raises Rejected with every reason why there is none.
    """
    setting = setting_of(resolved, context, target)
    part = threshold_of(resolved, setting.names)
    when = schedule(resolved.rule, plan(resolved), setting.source)
    return approximation(resolved, setting, DIALECT, {"threshold": part}, _differences(part, when, setting), when)


def threshold_of(resolved: ResolvedRule, names: Mapping[str, str]) -> dict[str, Any]:
    """`threshold` of the rule: field, value and, for distinct values, cardinality. Raises Rejected."""
    found = list(dict.fromkeys(_constructs(resolved, names)))
    if found:
        rule = resolved.rule
        raise Rejected([unsupported(rule, "elastic", construct, _REASONS[construct], rule.document.at("correlation"),
                                    "use the dialect esql, or run it with `ewdetect backtest`") for construct in found])
    stage = _window(resolved)
    fields = [names[_first(key.fields)] for key in stage.keys]
    if stage.measure.function == "count":
        return {"field": fields, "value": _least(stage)}
    (counted,) = _first(stage.measure.fields)
    return {"field": fields, "value": 1, "cardinality": [{"field": names[counted], "value": _least(stage)}]}


def _window(resolved: ResolvedRule) -> Window:
    stage = plan(resolved)[-1]
    assert isinstance(stage, Window)        # `_constructs` has refused everything else
    return stage


def _constructs(resolved: ResolvedRule, names: Mapping[str, str]) -> Iterator[str]:
    """What of the rule a threshold rule cannot hold."""
    *below, last = plan(resolved)
    if (resolved.rule.kind is Kind.EVENT or not isinstance(last, Window)
            or last.measure.function not in ("count", "distinct")):
        yield "anything but a count"
        return
    if not all(isinstance(stage, Selection) for stage in below):
        yield "correlation of alerts"
    if [t.operator for t in last.thresholds] not in (["gte"], ["gt"]):
        yield "bound"
    if len(last.keys) > FIELDS:
        yield "many keys"
    yield from _fields(last, names)


def _fields(stage: Window, names: Mapping[str, str]) -> Iterator[str]:
    counted = stage.measure.fields if stage.measure.function == "distinct" else {}
    if any(len(fields) != 1 for fields in counted.values()):
        yield "several fields"
    spread = [set(key.fields.values()) for key in stage.keys] + [{f for fields in counted.values() for f in fields}]
    if any(len(fields) > 1 for fields in spread[:-1]) or len(set(counted.values())) > 1:
        yield "aliases"
    if any(name not in names for fields in spread for name in fields):
        yield "unmapped key"


def _first(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values()))


def _least(stage: Window) -> int:
    """The least whole number that fulfils the condition."""
    bound = stage.thresholds[0]
    return max(1, math.ceil(bound.value) if bound.operator == "gte" else math.floor(bound.value) + 1)


def _differences(part: Mapping[str, Any], when: Schedule, setting: Setting) -> Iterator[str]:
    """How it differs from the rule."""
    yield (f"An approximation of the rule: Kibana counts in windows of {when.window} s that end with each run, every "
           f"{when.period} s. What takes more than {max(when.window - when.period, 0)} s to reach the threshold may "
           "fall between two of them and be missed, and so may all of a window whose run is missed.")
    yield ("After an alert the counts of its group begin again at nothing: what goes on alerts again each time that it "
           "reaches the threshold anew, where the rule alerts once.")
    yield (f"An alert holds the fields of its group, at most {FIELDS} of them, and the counts. It holds no flow.")
    if setting.names.get("event.start", _TIME) != _TIME:
        yield f"Kibana counts by `{_TIME}`, which this source sets to another time than the beginning of the flow."
    if any(distinct["value"] > _EXACTLY for distinct in part.get("cardinality", ())):
        yield f"Elasticsearch estimates distinct values, and beyond {_EXACTLY} the estimate is off by some per cent."
    yield from letters_caveat((*part["field"], *(distinct["field"] for distinct in part.get("cardinality", ()))),
                              setting)

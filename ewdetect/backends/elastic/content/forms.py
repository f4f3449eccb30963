"""How Kibana runs a query: the rule type with the keys that only it has, and the times between which it reads.

Types, keys and limits are those of Kibana's rule API (rule_schemas.schema.yaml and its neighbours in elastic/kibana).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.backends.base import Query, unsupported
from ewdetect.backends.elastic import new_terms, threshold
from ewdetect.backends.elastic.content.fields import Reading, columns, group_names, grouped, index_of
from ewdetect.backends.predicate import suppression_caveats
from ewdetect.model import Kind
from ewdetect.plan import seconds
from ewdetect.problems import Rejected
from ewdetect.schedule import Schedule

SUPPRESSED_BY = 3                   # `group_by` of a suppression
# Columns of a window's query beside fields: its measure, its beginning, and keys that are no field of one name.
_COMPUTED = ("Esql.value", "Esql.window_start")
_SPARE = 2                          # periods that are read again, so that one missed or late run loses nothing


@dataclass(frozen=True, slots=True)
class Form:
    """`since` and `until` are seconds before the run. `windowed` says that times of flows, not of arrivals, count.

    `carried` are the fields that an alert has; None where it has all of a flow. `reads` are fields that the query
    reads beside those of the rule.
    """

    type: str
    parts: Mapping[str, Any]
    schedule: Schedule
    since: int
    until: int = 0
    windowed: bool = False
    carried: tuple[str, ...] | None = None
    reads: tuple[str, ...] = ()


def form(read: Reading, query: Query) -> Form:
    """The form of a query of `render`. Raises Rejected for what the rule type cannot hold."""
    plan = query.schedule or Schedule(300, 0, 0)
    match query.dialect:
        case "lucene":
            return _single(read, query, plan)
        case threshold.DIALECT:
            return _threshold(read, query, plan)
        case new_terms.DIALECT:
            return _new_terms(read, query, plan)
    return _esql(read, query, plan)


def _esql(read: Reading, query: Query, plan: Schedule) -> Form:
    """A query that leaves suppression to the rule says so, and has no window of its own.

    The crossing of a window is no document, so that its alert has the columns of the query and nothing else.
    """
    parts = {"language": "esql", "query": query.text.rstrip("\n")}
    kept = tuple(columns(read))
    if plan.window == 0 or set(suppression_caveats(read.resolved.rule)) & set(query.caveats):
        return Form("esql", parts, plan, _since(plan, 0), reads=kept)
    keys = [f"Esql.{name}" for name in group_names(read) if name not in read.names]
    carried = dict.fromkeys([*grouped(read), *(name for name in (*keys, *_COMPUTED) if name in query.text), *kept])
    began = read.names.get("event.start")
    return Form("esql", parts, plan, _since(plan, plan.window), windowed=True, carried=tuple(carried),
                reads=(*kept, *([began] if began else [])))


def _since(plan: Schedule, window: int) -> int:
    return window + _SPARE * plan.period + plan.delay + (plan.lasting if window else 0)


def _single(read: Reading, query: Query, plan: Schedule) -> Form:
    """Kibana suppresses by itself, so the query need not look back over what is suppressed."""
    parts = {"language": "lucene", "query": query.text.rstrip("\n"), "index": index_of(read.vocabulary)}
    return Form("query", {**parts, **_suppression(read)}, plan, _since(plan, 0))


def _suppression(read: Reading) -> Mapping[str, Any]:
    """One alert for a key. A flow that lacks one of the fields never alerts, which a filter has to say."""
    rule = read.resolved.rule
    suppress = rule.meta.get("suppress") if rule.kind is Kind.EVENT else None
    if not suppress:
        return {}
    keys = [read.names.get(key, "") for key in suppress["by"]]
    if len(keys) > SUPPRESSED_BY or "" in keys:
        raise Rejected([unsupported(
            rule, "elastic", "suppress", f"Kibana suppresses by up to {SUPPRESSED_BY} fields that the flows have",
            rule.document.at("ewdetect", "suppress", "by"), "use the dialect esql, or suppress by fewer fields")])
    return {"filters": [_exists(key) for key in keys],
            "alert_suppression": {"group_by": keys, "duration": _duration(seconds(suppress["for"])),
                                  "missing_fields_strategy": "doNotSuppress"}}


def _exists(field: str) -> Mapping[str, Any]:
    """A filter as Kibana stores it."""
    return {"meta": {"disabled": False, "negate": False, "type": "exists", "key": field, "value": "exists"},
            "query": {"exists": {"field": field}}, "$state": {"store": "appState"}}


def _duration(length: int) -> Mapping[str, Any]:
    unit, size = next((u, s) for u, s in (("h", 3600), ("m", 60), ("s", 1)) if length % s == 0)
    return {"value": length // size, "unit": unit}


def _threshold(read: Reading, query: Query, plan: Schedule) -> Form:
    """It counts what it reads, so it reads exactly one window, which ends when the last flow of it has arrived."""
    part = threshold.threshold_of(read.resolved, read.names)
    keys = {"language": "lucene", "query": query.text.partition("\n")[0], "index": index_of(read.vocabulary),
            "threshold": part}
    return Form("threshold", keys, plan, plan.window + plan.delay, plan.delay, windowed=True,
                carried=tuple(part["field"]))


def _new_terms(read: Reading, query: Query, plan: Schedule) -> Form:
    """Raises Rejected where the history is no longer than what a run reads: nothing would be left to compare with."""
    terms, since = new_terms.terms_of(read.resolved, read.names), _since(plan, 0)
    if terms.history <= since:
        rule = read.resolved.rule
        raise Rejected([unsupported(rule, "elastic", "first seen",
                                    f"the history must be longer than the {since} s that each run reads",
                                    rule.document.at("ewdetect", "history"), "make the history longer")])
    parts = {"language": "lucene", "query": query.text.partition("\n")[0], "index": index_of(read.vocabulary),
             **terms.parts}
    return Form("new_terms", parts, plan, since)

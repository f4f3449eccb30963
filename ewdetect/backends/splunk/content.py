"""A query as Splunk deploys it: a saved search for Enterprise Security, and the macro that a site tunes it with.

The keys are those of savedsearches.conf.spec 9.2, and for Enterprise Security those that splunk/contentctl-ng 1.1.1
writes. One stanza serves both: without Enterprise Security its `action.` keys do nothing, and the alert is listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

from ewdetect.backends.base import Query
from ewdetect.backends.predicate import Setting, Target
from ewdetect.backends.splunk.conf import Stanza, Value, compact, one_line, written
from ewdetect.backends.splunk.events import setting_of
from ewdetect.backends.splunk.period import Run, filter_macro, run_of
from ewdetect.backends.splunk.search import columns_of
from ewdetect.model import Rule
from ewdetect.plan import Selection, Stage, plan
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule

LONGEST_NAME = 81
# Of each level: the score in the middle of Enterprise Security's range for the severity, and alert.severity's number.
_SCORES = {"informational": 10, "low": 30, "medium": 50, "high": 70, "critical": 90}
_SEVERITIES = {"informational": 2, "low": 3, "medium": 4, "high": 5, "critical": 6}
# A rule of these levels is worth an analyst's look by itself; lower ones only add to a score.
_FINDINGS = ("medium", "high", "critical")


def content(resolved: ResolvedRule, query: Query, target: Target) -> str:
    """The stanzas of one rule. Raises Rejected for a title that is too long for a saved search."""
    setting = setting_of(resolved, query.context, target)
    stages = plan(resolved)
    assert query.schedule is not None
    keys = _keys(resolved.rule, query, stages, setting, query.schedule)
    fingerprint = hashlib.sha256(compact(keys).encode()).hexdigest()[:16]
    rule = resolved.rule
    marked = {**keys, "action.ewdetect.rule_id": rule.id, "action.ewdetect.rule": rule.name,
              "action.ewdetect.fingerprint": fingerprint}
    macro = Stanza(filter_macro(rule.name), {"definition": "search *", "iseval": False})
    return written("savedsearches.conf", [Stanza(_name(rule), marked)]) + "\n" + written("macros.conf", [macro]) + "\n"


def _name(rule: Rule) -> str:
    name = f"EW - {one_line(rule.title)} - Rule"
    if len(name) > LONGEST_NAME:
        raise Rejected([Problem(
            "convert/title-too-long", f"`{rule.name}`: the saved search would be called `{name}`, which is "
            f"{len(name)} characters long; Enterprise Security takes {LONGEST_NAME}", rule.document.at("title"),
            f"shorten the title by {len(name) - LONGEST_NAME} characters")])
    return name


def _keys(rule: Rule, query: Query, stages: Sequence[Stage], setting: Setting, schedule: Schedule) -> dict[str, Value]:
    run = run_of(schedule, setting)
    entities = _entities(stages, setting)
    is_finding = bool(entities) and rule.level in _FINDINGS
    return {**_scheduled(rule, query, run), **_suppressed(stages, setting, run),
            **_correlation(rule, setting, is_finding, bool(entities)),
            **(_finding(rule, entities[0]) if is_finding else {}),
            **_risk(rule, entities[1:] if is_finding else entities)}


def _scheduled(rule: Rule, query: Query, run: Run) -> dict[str, Value]:
    """`allow_skew` stays off: the hash spreads the searches already, and a skewed run would look at another period."""
    return {
        "description": str(rule.body.get("description") or rule.title),
        "search": query.text,
        "cron_schedule": cron(rule.id, run.period),
        "dispatch.earliest_time": f"-{run.earliest}s@m",
        "dispatch.latest_time": f"-{run.latest}s@m" if run.latest else "@m",
        "dispatch.allow_partial_results": False,
        "disabled": True, "enableSched": True, "is_visible": False,
        "realtime_schedule": False, "schedule_window": "auto", "allow_skew": "0",
        "counttype": "number of events", "relation": "greater than", "quantity": "0",
        "alert.digest_mode": True, "alert.track": True, "alert.severity": str(_SEVERITIES[rule.level]),
    }


def cron(rule_id: str, period: int) -> str:
    """A schedule of this period in seconds, begun at a minute that the rule's id decides and that is never 0."""
    minutes = period // 60
    first = int(hashlib.sha256(rule_id.encode()).hexdigest(), 16) % (minutes - 1) + 1
    return f"{first} * * * *" if minutes == 60 else f"{first}-59/{minutes} * * * *"


def _suppressed(stages: Sequence[Stage], setting: Setting, run: Run) -> dict[str, Value]:
    """A second guard: one crossing of one group is told once, also where somebody runs a period again."""
    if isinstance(stages[-1], Selection):
        return {"alert.suppress": False}
    return {"alert.suppress": True, "alert.suppress.fields": ",".join([*columns_of(stages, setting), "window_end"]),
            "alert.suppress.period": f"{run.earliest}s"}


# ---------------------------------------------------------------- Enterprise Security

def _entities(stages: Sequence[Stage], setting: Setting) -> tuple[str, ...]:
    """The columns of an alert that hold hosts."""
    last = stages[-1]
    if isinstance(last, Selection):
        return tuple(setting.names[f"{side}.ip"] for side in ("source", "destination"))
    held = (set(key.fields.values()) for key in last.keys)
    inner = {key.name: set(key.fields.values()) for stage in stages[:-1] if not isinstance(stage, Selection)
             for key in stage.keys}
    return tuple(column for column, fields in zip(columns_of(stages, setting), held, strict=True)
                 if all(_is_host(field, inner, setting) for field in fields))


def _is_host(field: str, inner: Mapping[str, set[str]], setting: Setting) -> bool:
    """Whether a field, or the fields behind the key of an inner correlation, are addresses."""
    if field in setting.fields:
        return setting.fields[field].type == "ip"
    return any(below != field and _is_host(below, inner, setting) for below in inner.get(field, ()))


def _correlation(rule: Rule, setting: Setting, is_finding: bool, has_entity: bool) -> dict[str, Value]:
    kind = "TTP" if is_finding else "Anomaly" if has_entity else "Hunting"
    published = rule.body.get("date")
    metadata = {"deprecated": "0", "detection_id": rule.id, "detection_version": "1"}
    return {
        "action.correlationsearch.enabled": True,
        "action.correlationsearch.detection_type": "ebd",
        "action.correlationsearch.label": _name(rule),
        "action.correlationsearch.annotations": compact({
            "data_source": [setting.source.title], "mitre_attack": list(_techniques(rule)), "type": kind,
            "type_list": [kind]}),
        "action.correlationsearch.metadata": compact(
            metadata | ({"publish_time": _epoch(published)} if published else {})),
    }


def _techniques(rule: Rule) -> Iterator[str]:
    for tag in rule.body.get("tags") or ():
        word = str(tag).removeprefix("attack.")
        if word != tag and word[:1] == "t" and word[1:2].isdigit():
            yield word.upper()


def _epoch(published: date | str) -> float:
    day = published if isinstance(published, date) else date.fromisoformat(str(published))
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _finding(rule: Rule, entity: str) -> dict[str, Value]:
    """A finding about exactly one entity, which carries the whole score: `_risk` must not name it again."""
    return {
        "action.notable": True,
        "action.notable.param.rule_title": f"{_untokened(rule.title)}: ${entity}$",
        "action.notable.param.rule_description": _untokened(str(rule.body.get("description") or rule.title)),
        "action.notable.param.security_domain": "network",
        "action.notable.param.severity": rule.level,
        "action.notable.param._entities": compact([_scored(entity, rule)]),
        "action.notable.param.drilldown_searches": compact([{
            "name": f"What the search found about ${entity}$",
            "search": f'| savedsearch "{_name(rule)}" | search {entity}="${entity}$"',
            "earliest_offset": "$info_min_time$", "latest_offset": "$info_max_time$"}]),
    }


def _risk(rule: Rule, entities: Sequence[str]) -> dict[str, Value]:
    """Intermediate findings: a score for each entity that no finding of this rule has."""
    if not entities:
        return {}
    return {"action.risk": True, "action.risk.param._risk": compact([
        {**_scored(entity, rule), "risk_message": f"{_untokened(rule.title)}: ${entity}$"} for entity in entities])}


def _scored(entity: str, rule: Rule) -> dict[str, str | int]:
    return {"risk_object_field": entity, "risk_object_type": "system", "risk_score": _SCORES[rule.level]}


def _untokened(text: str) -> str:
    """A text in which no `$` begins the name of a field."""
    return one_line(text).replace("$", "")

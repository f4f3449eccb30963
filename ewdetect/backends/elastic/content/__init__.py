"""A whole detection rule for Elastic Security around a query, as one line of the NDJSON that Kibana imports.

The form is that of schemas/kibana_rule.schema.json. Nothing is looked up on a network, and the bytes depend on the
rule with its cases, the mapping and the network file alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ewdetect import schemas
from ewdetect.backends.base import Query, refuse_base
from ewdetect.backends.elastic.content.fields import Reading, grouped, reading, required, shown
from ewdetect.backends.elastic.content.forms import Form, form
from ewdetect.backends.elastic.content.guide import note, setup
from ewdetect.backends.elastic.content.threat import tactics, techniques, threat
from ewdetect.backends.predicate import suppression_caveats
from ewdetect.load import load_tactics
from ewdetect.model import LEVELS, Kind
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.yamlfile import Document

# Sigma's level → Kibana's severity and risk score. Kibana has no `informational`; its scores are 0-21 low, 22-47
# medium, 48-73 high, 74-100 critical, and these are the ones that Elastic's own rules use, but for the first.
SEVERITY: Mapping[str, tuple[str, int]] = {
    "informational": ("low", 10), "low": ("low", 21), "medium": ("medium", 47), "high": ("high", 73),
    "critical": ("critical", 99)}
# Alerts of one run. A flood of single flows helps nobody, and the next run raises the rest; an episode is told once, so
# as many as Kibana allows by default (xpack.alerting.rules.run.alerts.max).
SINGLE, EPISODES = 100, 1000
_LICENCE = "Apache-2.0"


def content(resolved: ResolvedRule, query: Query) -> str:
    """One line of JSON with its line break. Raises Rejected for what a rule of Kibana cannot hold."""
    return json.dumps(rule_of(resolved, query), ensure_ascii=False) + "\n"


def rule_of(resolved: ResolvedRule, query: Query) -> dict[str, Any]:
    """The rule as plain data, its keys in a fixed order. Raises Rejected."""
    refuse_base(resolved.rule, "elastic")
    read = reading(resolved, query.context)
    made = _rule(read, form(read, query), query)
    # What users write ends up in it, so it is not sound by construction.
    problems = schemas.validate(Document(resolved.rule.document.path, made, {}, {}), "kibana_rule")
    if problems:
        raise Rejected(problems)
    return made


def _rule(read: Reading, how: Form, query: Query) -> dict[str, Any]:
    rule, body = read.resolved.rule, read.resolved.rule.body
    severity, risk = SEVERITY[rule.level]
    return {
        "rule_id": rule.id,
        "name": rule.title,
        "description": str(body.get("description") or rule.title).strip(),
        "version": 1,
        "enabled": False,
        "type": how.type,
        **how.parts,
        **_times(read, how),
        "severity": severity,
        "severity_mapping": _severities(read, how, severity),
        "risk_score": risk,
        "risk_score_mapping": [],
        "max_signals": EPISODES if how.windowed else SINGLE,
        "threat": threat(rule),
        "tags": list(_tags(read)),
        "author": [name.strip() for name in str(body.get("author") or "").split(",") if name.strip()],
        "license": body.get("license") or _LICENCE,
        "references": list(body.get("references") or ()),
        "false_positives": list(body.get("falsepositives") or ()),
        "note": note(read, how),
        "setup": setup(read, how, query, _open(read, how, query)),
        "investigation_fields": {"field_names": list(how.carried or ()) or shown(read)},
        "required_fields": required(read, how.reads),
        "related_integrations": [dict(part) for part in read.vocabulary.content.get("integrations") or ()],
        "exceptions_list": [],
    }


def _times(read: Reading, how: Form) -> dict[str, Any]:
    """When it runs, and what it reads by which time.

    Windows are about the times of flows. Single flows of a late source are read by their arrival, or those that ended
    long after they began would be older than any look-back.
    """
    arrival = read.vocabulary.content.get("arrival")
    late = not how.windowed and how.schedule.delay > 0
    period = how.schedule.period
    return {"interval": f"{period}s" if period % 60 else f"{period // 60}m", "from": f"now-{how.since}s",
            "to": f"now-{how.until}s" if how.until else "now",
            **({"timestamp_override": arrival} if late and arrival else {})}


def _severities(read: Reading, how: Form, severity: str) -> list[dict[str, str]]:
    """A more critical destination makes the alert more severe, where the alert has one destination."""
    name, field = read.names.get("destination.criticality"), read.fields.get("destination.criticality")
    one = read.resolved.rule.kind in (Kind.EVENT, Kind.FIRST_SEEN) or read.names["destination.ip"] in grouped(read)
    if not name or field is None or not one or (how.carried is not None and name not in how.carried):
        return []
    return [{"field": name, "operator": "equals", "value": value, "severity": value} for value in field.values
            if LEVELS.index(value) > LEVELS.index(severity)]


def _tags(read: Reading) -> Iterator[str]:
    """What rules are found by."""
    rule, names = read.resolved.rule, load_tactics()
    yield "ewdetect"
    yield f"ewdetect:{_version()}"
    yield f"Data Source: {read.vocabulary.content.get('data_source') or read.source.title}"
    yield from (f"Tactic: {names[tag].name}" for tag in tactics(rule))
    yield from (f"Technique: {technique.id}" for technique in techniques(rule))
    yield from ([f"Sigma Status: {rule.status}"] if rule.status else [])


def _version() -> str:
    """The installed version; `0+source` when run from a folder that was never installed."""
    try:
        return version("ewdetect")
    except PackageNotFoundError:
        return "0+source"


def _open(read: Reading, how: Form, query: Query) -> list[str]:
    """The caveats of the query that the rule around it does not settle."""
    settled = suppression_caveats(read.resolved.rule) if "alert_suppression" in how.parts else ()
    return [caveat for caveat in query.caveats if caveat not in set(settled)]

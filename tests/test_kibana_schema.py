"""The schema of Kibana's rules: what it takes of each type, and that each bad thing is refused."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from ewdetect import schemas
from ewdetect.yamlfile import Document

HEAD = {"name": "A", "description": "D", "risk_score": 21, "severity": "low"}
TACTIC = {"id": "TA0008", "name": "Lateral Movement", "reference": "https://attack.mitre.org/tactics/TA0008/"}
TECHNIQUE = {"id": "T1021", "name": "Remote Services", "reference": "https://attack.mitre.org/techniques/T1021/"}
SUB = {"id": "T1021.002", "name": "SMB/Windows Admin Shares",
       "reference": "https://attack.mitre.org/techniques/T1021/002/"}
QUERY = {**HEAD, "type": "query", "query": "a:1", "language": "lucene", "index": ["logs-*"]}
ESQL = {**HEAD, "type": "esql", "query": "FROM a", "language": "esql"}
THRESHOLD = {**HEAD, "type": "threshold", "query": "a:1", "threshold": {"field": ["source.ip"], "value": 1}}
NEW_TERMS = {**HEAD, "type": "new_terms", "query": "a:1", "new_terms_fields": ["source.ip"],
             "history_window_start": "now-14d"}
EQL = {**HEAD, "type": "eql", "query": "any where true", "language": "eql"}
MATCH = {**HEAD, "type": "threat_match", "query": "a:1", "threat_query": "*:*", "threat_index": ["filebeat-*"],
         "threat_mapping": [{"entries": [{"field": "source.ip", "type": "mapping", "value": "threat.indicator.ip"}]}]}
LEARNING = {**HEAD, "type": "machine_learning", "anomaly_threshold": 50, "machine_learning_job_id": ["lmd"]}
FULL = {
    **QUERY, "rule_id": "r", "version": 1, "enabled": False, "interval": "5m", "from": "now-9m", "to": "now",
    "tags": ["Domain: Network"], "author": ["A"], "license": "MIT", "note": "", "setup": "", "references": ["https://a"],
    "false_positives": [], "max_signals": 100, "meta": {"from": "1m"}, "timestamp_override": "event.ingested",
    "timestamp_override_fallback_disabled": False, "rule_name_override": "message", "building_block_type": "default",
    "timeline_id": "t", "timeline_title": "T", "filters": [{"query": {"match_all": {}}}],
    "threat": [{"framework": "MITRE ATT&CK", "tactic": TACTIC, "technique": [{**TECHNIQUE, "subtechnique": [SUB]}]}],
    "severity_mapping": [{"field": "f", "operator": "equals", "value": "high", "severity": "high"}],
    "risk_score_mapping": [{"field": "f", "operator": "equals", "value": ""}],
    "investigation_fields": {"field_names": ["source.ip"]}, "required_fields": [{"name": "source.ip", "type": "ip"}],
    "related_integrations": [{"package": "zeek", "version": "^2.0.0", "integration": "zeek"}],
    "exceptions_list": [{"id": "a", "list_id": "b", "type": "detection", "namespace_type": "single"}],
    "actions": [{"action_type_id": ".email", "id": "a", "params": {}, "group": "default", "frequency": {
        "summary": True, "notifyWhen": "onActiveAlert", "throttle": None}}],
    "alert_suppression": {"group_by": ["a", "b", "c"], "duration": {"value": 5, "unit": "m"},
                          "missing_fields_strategy": "suppress"}}


def found(rule: Mapping[str, Any]) -> list[str]:
    document = Document("rule.json", copy.deepcopy(dict(rule)), {}, {})
    return [f"{p.code}: {p.message}; {p.fix}" for p in schemas.validate(document, "kibana_rule")]


@pytest.mark.parametrize("rule", [
    QUERY, ESQL, THRESHOLD, NEW_TERMS, EQL, MATCH, LEARNING, FULL,
    {**HEAD, "type": "query"}, {**HEAD, "type": "saved_query", "saved_id": "s"},
    {**QUERY, "language": "kuery"},
    {**ESQL, "alert_suppression": {"group_by": ["source.ip"]}},
    {**THRESHOLD, "threshold": {"field": "source.ip", "value": 3}},
    {**THRESHOLD, "threshold": {"field": [], "value": 1, "cardinality": [{"field": "destination.ip", "value": 100}]}},
    {**THRESHOLD, "alert_suppression": {"duration": {"value": 1, "unit": "h"}}},
    {**NEW_TERMS, "new_terms_fields": ["a", "b", "c"]},
    {**EQL, "tiebreaker_field": "event.sequence", "timestamp_field": "@timestamp", "index": ["logs-*"]},
    {**LEARNING, "machine_learning_job_id": "lmd"},
    {**QUERY, "threat": [{"framework": "MITRE ATT&CK", "tactic": TACTIC}]},
], ids=lambda rule: rule["type"])
def test_what_kibana_takes(rule: Mapping[str, Any]) -> None:
    assert found(rule) == []


# Each: a sound rule, what is changed in it (None removes the key), and a part of what the problem says.
BAD: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "unknown key": (QUERY, {"severty": "low"}, "unknown-key: `severty`"),
    "key of Kibana alone": (QUERY, {"id": "x"}, "unknown-key: `id`"),
    "revision": (QUERY, {"revision": 1}, "unknown-key"),
    "immutable": (QUERY, {"immutable": False}, "unknown-key"),
    "no name": (QUERY, {"name": None}, "missing-key: `name`"),
    "empty name": (QUERY, {"name": ""}, "text is empty"),
    "no description": (QUERY, {"description": None}, "missing-key: `description`"),
    "no severity": (QUERY, {"severity": None}, "missing-key: `severity`"),
    "informational": (QUERY, {"severity": "informational"}, "`informational`"),
    "no risk": (QUERY, {"risk_score": None}, "missing-key: `risk_score`"),
    "risk above": (QUERY, {"risk_score": 101}, "more than 100"),
    "risk as fraction": (QUERY, {"risk_score": 21.5}, "wrong-type"),
    "no type": (QUERY, {"type": None}, "missing-key: `type`"),
    "type of an action": (QUERY, {"type": "siem.queryRule"}, "siem.queryRule"),
    "version 0": (QUERY, {"version": 0}, "less than 1"),
    "enabled as text": (QUERY, {"enabled": "false"}, "wrong-type"),
    "interval": (QUERY, {"interval": "0m"}, "an interval is"),
    "from of a date": (QUERY, {"from": "2026-01-01"}, "a time is `now-`"),
    "to": (QUERY, {"to": "later"}, "a time is `now`"),
    "no signals": (QUERY, {"max_signals": 0}, "less than 1"),
    "too many signals": (QUERY, {"max_signals": 5000}, "more than 1000"),
    "tags as text": (QUERY, {"tags": "a"}, "wrong-type"),
    "framework": (QUERY, {"threat": [{"framework": "ATT&CK", "tactic": TACTIC}]}, "MITRE ATT&CK"),
    "no tactic": (QUERY, {"threat": [{"framework": "MITRE ATT&CK", "technique": [TECHNIQUE]}]}, "`tactic`"),
    "technique as tactic": (QUERY, {"threat": [{"framework": "MITRE ATT&CK", "tactic": TECHNIQUE}]}, "bad-value"),
    "sub-technique as technique": (
        QUERY, {"threat": [{"framework": "MITRE ATT&CK", "tactic": TACTIC, "technique": [SUB]}]}, "bad-value"),
    "no URL": (QUERY, {"threat": [{"framework": "MITRE ATT&CK", "tactic": {**TACTIC, "reference": ""}}]}, "bad-value"),
    "timeline by half": (QUERY, {"timeline_id": "x"}, "`timeline_title`"),
    "building block": (QUERY, {"building_block_type": "yes"}, "`default`"),
    "no investigation field": (QUERY, {"investigation_fields": {"field_names": []}}, "at least 1"),
    "ecs of a field": (QUERY, {"required_fields": [{"name": "a", "type": "ip", "ecs": True}]}, "unknown-key: `ecs`"),
    "field without type": (QUERY, {"required_fields": [{"name": "a"}]}, "missing-key: `type`"),
    "integration without version": (QUERY, {"related_integrations": [{"package": "zeek"}]}, "missing-key: `version`"),
    "version that is none": (QUERY, {"related_integrations": [{"package": "a", "version": "new"}]}, "semantic"),
    "exception": (QUERY, {"exceptions_list": [{"id": "a"}]}, "missing-key"),
    "operator of a mapping": (QUERY, {"severity_mapping": [
        {"field": "f", "operator": "is", "value": "x", "severity": "low"}]}, "equals"),
    "index and view": (QUERY, {"data_view_id": "x"}, "exclude each other"),
    "language of another type": (QUERY, {"language": "esql"}, "`esql`"),
    "threshold of a query": (QUERY, {"threshold": {"field": "a", "value": 1}}, "type query has no `threshold`"),
    "terms of a query": (QUERY, {"new_terms_fields": ["a"]}, "type query has no `new_terms_fields`"),
    "four group_by": (QUERY, {"alert_suppression": {"group_by": ["a", "b", "c", "d"]}}, "at most 3"),
    "no group_by": (QUERY, {"alert_suppression": {"duration": {"value": 1, "unit": "h"}}}, "missing-key: `group_by`"),
    "days of suppression": (
        QUERY, {"alert_suppression": {"group_by": ["a"], "duration": {"value": 1, "unit": "d"}}}, "`d`"),
    "strategy": (QUERY, {"alert_suppression": {"group_by": ["a"], "missing_fields_strategy": "drop"}}, "`drop`"),
    "index of ES|QL": (ESQL, {"index": ["logs-*"]}, "from FROM"),
    "filters of ES|QL": (ESQL, {"filters": []}, "from FROM"),
    "view of ES|QL": (ESQL, {"data_view_id": "x"}, "from FROM"),
    "ES|QL without language": (ESQL, {"language": None}, "missing-key: `language`"),
    "ES|QL without query": (ESQL, {"query": None}, "missing-key: `query`"),
    "no threshold": (THRESHOLD, {"threshold": None}, "missing-key: `threshold`"),
    "threshold of nothing": (THRESHOLD, {"threshold": {"field": "a", "value": 0}}, "less than 1"),
    "six fields": (THRESHOLD, {"threshold": {"field": list("abcdef"), "value": 1}}, "at most 5"),
    "group_by of a threshold": (THRESHOLD, {"alert_suppression": {
        "group_by": ["a"], "duration": {"value": 1, "unit": "h"}}}, "by its own fields"),
    "no history": (NEW_TERMS, {"history_window_start": None}, "missing-key: `history_window_start`"),
    "history of a date": (NEW_TERMS, {"history_window_start": "2026-01-01"}, "a time is `now-`"),
    "four terms": (NEW_TERMS, {"new_terms_fields": list("abcd")}, "at most 3"),
    "no terms": (NEW_TERMS, {"new_terms_fields": []}, "at least 1"),
    "EQL in Lucene": (EQL, {"language": "lucene"}, "must be `eql`"),
    "no indicators": (MATCH, {"threat_index": []}, "at least 1"),
    "query of a job": (LEARNING, {"query": "a"}, "has no `query`"),
    "anomaly": (LEARNING, {"anomaly_threshold": 200}, "more than 100"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_kibana_refuses(case: str) -> None:
    sound, change, expected = BAD[case]
    broken = {key: value for key, value in {**sound, **change}.items() if value is not None}
    assert found(sound) == []
    assert expected in " | ".join(found(broken))

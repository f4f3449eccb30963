"""The schemas: usable by an editor, and every violation in plain words at its line and column."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from ewdetect import schemas
from ewdetect.problems import Problem
from ewdetect.yamlfile import parse_documents

RULE = """\
title: SMB Session
id: 22222222-2222-4222-8222-222222222222
name: smb
status: test
date: 2026-11-23
tags: [attack.lateral-movement]
logsource: {category: network, service: connection}
detection:
    selection: {destination.port: 445}
    condition: selection
level: low
ewdetect:
    suppress: {by: [source.ip], for: 1h}
"""

CORRELATION = """\
title: SMB Fan-Out
id: 11111111-1111-4111-8111-111111111111
name: fanout
correlation:
    type: value_count
    rules: [smb, rdp]
    group-by: [source.ip]
    timespan: 10m
    condition: {gte: 5, field: destination.ip}
level: high
ewdetect:
    guide: Look.
"""

FILTER = """\
title: Our Scanners
id: 66666666-6666-4666-8666-666666666666
logsource: {category: network}
filter:
    rules: [smb]
    selection: {source.name: scan01}
    condition: not selection
"""

TEST = """\
network: office
cases:
  - name: five servers
    flows: |
      id  at     source.ip
      a   09:00  10.0.0.1
    alerts:
      - rule: fanout
        source.ip: 10.0.0.1
        flows: a
        at: "09:00"
  - name: quiet
    recording: lab
    alerts: []
"""


def problems(text: str, schema: str) -> list[Problem]:
    return [p for document in parse_documents(text, "f.yml") for p in schemas.validate(document, schema)]


def shown(found: list[Problem]) -> list[str]:
    return [f"{p.location} {p.code}" for p in found]


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_is_one_that_an_editor_can_use(name: str) -> None:
    schema = schemas.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert all(schema[key] for key in ("$id", "title", "description"))


def test_the_schemas_that_ship() -> None:
    assert {"network", "rule", "test"} <= set(schemas.names())


@pytest.mark.parametrize(("text", "schema"), [(RULE, "rule"), (CORRELATION, "rule"), (FILTER, "rule"), (TEST, "test")])
def test_sound_documents_have_no_problems(text: str, schema: str) -> None:
    assert problems(text, schema) == []


# Each: the document, what is replaced in it by what, and the one problem: place and code, and a part of what it says.
EDITS = {
    "unknown key": (RULE, "status:", "stauts:", "4:1 rule/unknown-key", "did you mean `status`?"),
    "key of another tool": (RULE, "status: test", "x_owner: me", "4:1 rule/unknown-key", "not a key of the document"),
    "unknown key in our block": (RULE, "suppress:", "supress:", "13:5 rule/unknown-key", "`suppress`"),
    "type beside a detection": (RULE, "suppress: {by: [source.ip], for: 1h}", "type: first_seen",
                                "13:5 rule/unknown-key", "`ewdetect`"),
    "unknown key in logsource": (RULE, "service:", "servise:", "7:32 rule/unknown-key", "`service`"),
    "unknown key in correlation": (CORRELATION, "timespan: 10m", "timespan: 10m\n    window: sliding",
                                   "9:5 rule/unknown-key", "`window` is not a key of `correlation`"),
    "unknown key in condition": (CORRELATION, "gte:", "min:", "9:17 rule/unknown-key", "gte"),
    "two kinds in one": (RULE, "level: low", "level: low\nfilter: {rules: any, s: {a: 1}, condition: s}",
                         "12:1 rule/unknown-key", "cannot stand in one document"),
    "logsource of a correlation": (CORRELATION, "level: high", "level: high\nlogsource: {category: network}",
                                   "11:1 rule/unknown-key", "the rules it names have"),
    "suppress on a correlation": (CORRELATION, "guide: Look.", "suppress: {by: [source.ip], for: 1h}",
                                  "12:5 rule/unknown-key", "for event rules"),
    "distinct on an event rule": (RULE, "suppress: {by: [source.ip], for: 1h}", "distinct: [peer]",
                                  "13:5 rule/unknown-key", "event rule"),
    "level of a filter": (FILTER, "filter:", "level: low\nfilter:", "4:1 rule/unknown-key", "never alerts"),
    "field of event_count": (CORRELATION, "value_count", "event_count", "9:25 rule/unknown-key", "value_count does"),
    "percentile elsewhere": (CORRELATION, "gte: 5", "gte: 5, percentile: 9", "9:25 rule/unknown-key",
                             "value_percentile"),
    "title": (RULE, "title: SMB Session\n", "", "1:1 rule/missing-key", "`title` is missing"),
    "no kind": (RULE, "detection:\n    selection: {destination.port: 445}\n    condition: selection\n", "",
                "1:1 rule/missing-key", "no `detection`, `correlation` or `filter`"),
    "log source": (RULE, "logsource: {category: network, service: connection}\n", "", "1:1 rule/missing-key",
                   "logsource"),
    "level": (CORRELATION, "level: high\n", "", "1:1 rule/missing-key", "`level`"),
    "condition of a rule": (RULE, "    condition: selection\n", "    other: {source.port: 1}\n", "8:1 rule/missing-key",
                            "`condition` is missing in `detection`"),
    "timespan": (CORRELATION, "    timespan: 10m\n", "", "4:1 rule/missing-key", "add `timespan:`"),
    "threshold": (CORRELATION, "gte: 5, ", "", "9:5 rule/missing-key", "one of gt, gte"),
    "field of value_count": (CORRELATION, ", field: destination.ip", "", "9:5 rule/missing-key", "`field`"),
    "percentile": (CORRELATION, "value_count", "value_percentile", "9:5 rule/missing-key", "`percentile`"),
    "half of suppress": (RULE, ", for: 1h", "", "13:5 rule/missing-key", "`for` is missing in `suppress`"),
    "budget without a reason": (RULE, "    suppress:", "    budget: {alerts: 8}\n    suppress:",
                                "13:5 rule/missing-key", "`because` is missing in `budget`"),
    "budget of one, which every rule has": (RULE, "    suppress:", "    budget: {alerts: 1, because: x}\n    suppress:",
                                            "13:14 rule/bad-value", "1"),
    "tags as text": (RULE, "[attack.lateral-movement]", "attack.discovery", "6:1 rule/wrong-type",
                     "must be a list, not `attack.discovery`"),
    "title as number": (RULE, "title: SMB Session", "title: 445", "1:1 rule/wrong-type", '"445"'),
    "threshold as text": (CORRELATION, "gte: 5", 'gte: "5"', "9:17 rule/wrong-type", "5 without quotes"),
    "condition as list": (RULE, "condition: selection", "condition: [selection]", "10:5 rule/wrong-type",
                          "must be text, not a list"),
    "words without a field": (RULE, "selection: {destination.port: 445}", "selection: [smb]", "9:17 rule/wrong-type",
                              "an entry of `selection` must be a mapping"),
    "a document that is text": (RULE, RULE, "just words\n", "1:1 rule/wrong-type", "the document must be a mapping"),
    "status": (RULE, "status: test", "status: tested", "4:1 rule/bad-value", "did you mean `test`?"),
    "correlation type": (CORRELATION, "value_count", "value_cuont", "5:5 rule/bad-value",
                         "did you mean `value_count`?"),
    "date": (RULE, "2026-11-23", '"23.11.2026"', "5:1 rule/bad-value", "year-month-day"),
    "duration": (CORRELATION, "10m", "10 minutes", "8:5 rule/bad-value", "such as 10m"),
    "tag": (RULE, "attack.lateral-movement", "Lateral Movement", "6:8 rule/bad-value", "namespace.name"),
    "name": (RULE, "name: smb", "name: smb-session", "3:1 rule/bad-value", "underscores"),
    "empty list": (CORRELATION, "[source.ip]", "[]", "7:5 rule/bad-value", "at least 1"),
    "the same rule twice": (CORRELATION, "[smb, rdp]", "[smb, smb]", "6:5 rule/bad-value", "twice"),
    "temporal of one rule": (CORRELATION, "type: value_count\n    rules: [smb, rdp]",
                             "type: temporal\n    rules: [smb]", "6:5 rule/bad-value", "at least 2"),
    "unknown key in a case": (TEST, "recording:", "recordings:", "13:5 test/unknown-key", "`recording`"),
    "case without flows": (TEST, "    recording: lab\n", "", "12:5 test/missing-key", "`flows`, `on` or `recording`"),
    "evidence as number": (TEST, "flows: a\n", "flows: 1\n", "10:9 test/wrong-type", "text or a list"),
    "alerts as text": (TEST, "alerts: []", "alerts: none", "14:5 test/wrong-type", "a list"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_violation_is_said_plainly_where_it_is(edit: tuple[str, str, str, str, str]) -> None:
    text, old, new, expected, said = edit
    assert old in text
    found = problems(text.replace(old, new, 1), "test" if text is TEST else "rule")
    wanted = [p for p in found if f"{p.location} {p.code}" == f"f.yml:{expected}"]
    assert wanted, shown(found)
    assert said in f"{wanted[0].message} {wanted[0].fix}"
    assert not any("is not valid under" in p.message or "is a required property" in p.message for p in found)


def test_every_violation_is_reported() -> None:
    text = RULE.replace("status: test", "stauts: test").replace("[attack.lateral-movement]", "[A, B]")
    assert shown(problems(text, "rule")) == [
        "f.yml:4:1 rule/unknown-key", "f.yml:6:8 rule/bad-value", "f.yml:6:11 rule/bad-value"]


def test_of_several_forms_the_one_that_was_meant_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"is": {"enum": ["one", "two"]}}}]}
    monkeypatch.setattr(schemas, "_validator", lambda _: Draft202012Validator({"properties": {"x": forms}}))
    assert [(str(p.location), p.code, p.fix) for p in problems("x: {is: tow}\n", "any")] == [
        ("f.yml:1:5", "any/bad-value", "did you mean `two`?")]


def test_a_name_that_breaks_the_rule_for_names_is_shown_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    validator = Draft202012Validator({"propertyNames": {"enum": ["one", "two"]}})
    monkeypatch.setattr(schemas, "_validator", lambda _: validator)
    assert [(str(p.location), p.code, p.fix) for p in problems("a: 1\n", "any")] == [
        ("f.yml:1:1", "any/unknown-key", "use one of: one, two")]

"""Kibana rules around the pack's queries: every rule, dialect, source and context, against schema and meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ewdetect import schemas
from ewdetect.backends.base import Query
from ewdetect.backends.elastic.content import SEVERITY
from ewdetect.backends.elastic.content.fields import Reading, index_of, reading
from ewdetect.backends.elastic.content.forms import form
from ewdetect.backends.elastic.content.guide import escaped, known_gaps
from ewdetect.backends.elastic.content.threat import threat
from ewdetect.cli import verbs
from ewdetect.convert import backend
from ewdetect.load import load_attack, load_tactics
from ewdetect.model import LEVELS, Kind, Pack, Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule
from ewdetect.yamlfile import dump, parse_documents
from tests.convert_world import ROOT, SOURCES, pack, rule
from tests.elastic_rules import DIALECTS, combinations, elastic, kibana, window_rule

Made = Mapping[str, Any]
APPROXIMATE = ("threshold", "new_terms")


@cache
def everything() -> tuple[tuple[Rule, str, str, str, Made], ...]:
    """Every combination that has a query, with its Kibana rule."""
    return tuple((*found, kibana(*found)) for found in combinations())


@cache
def converted(name: str, dialect: str, source: str, context: str) -> tuple[ResolvedRule, Query]:
    """A rule of the pack resolved, and its query."""
    return elastic(pack().rules[name], dialect, source, context)


def of_dialect(*dialects: str) -> Iterator[tuple[Rule, str, str, Made]]:
    return ((r, source, context, made) for r, dialect, source, context, made in everything() if dialect in dialects)


def codes(caught: pytest.ExceptionInfo[Rejected]) -> list[str]:
    return [problem.code for problem in caught.value.problems]


# ---------------------------------------------------------------- every rule of the pack

def test_there_is_a_rule_for_each_construct() -> None:
    made = {(r.name, dialect) for r, dialect, *_ in everything()}
    events = {r.name for r in pack().alerting() if r.kind is Kind.EVENT}
    assert {(name, dialect) for name in events for dialect in ("lucene", "esql")} <= made
    assert {"smb_fanout", "ssh_fanout", "scan_ports"} <= {name for name, dialect in made if dialect == "threshold"}


def test_every_rule_fulfils_the_schema() -> None:
    validator = Draft202012Validator(schemas.schema("kibana_rule"))
    assert [(r.name, *how, e.message) for r, *how, made in everything() for e in validator.iter_errors(made)] == []


def test_the_query_is_the_one_that_convert_prints() -> None:
    for r, dialect, source, context, made in everything():
        _, query = converted(r.name, dialect, source, context)
        assert made["query"] == (query.text.partition("\n")[0] if dialect in APPROXIMATE else query.text)


def test_types_and_their_own_keys() -> None:
    for r, dialect, source, _, made in everything():
        assert made["type"] == {"lucene": "query"}.get(dialect, dialect)
        assert made["language"] == ("esql" if dialect == "esql" else "lucene")
        held = {"index", "filters", "alert_suppression"} & made.keys()
        if dialect == "esql":
            assert not held
        else:
            assert made["index"] == {"flow": ["logs-ewdetect.flow-*"], "suricata_eve": ["logs-suricata.eve-*"],
                                     "zeek_conn": ["logs-zeek.connection-*"]}[source]
            assert ("alert_suppression" in held) == (dialect == "lucene" and "suppress" in r.meta)


def test_identity() -> None:
    for dialect in DIALECTS:
        for source in SOURCES:
            ids = [made["rule_id"] for r, s, context, made in of_dialect(dialect) if (s, context) == (source, "inline")]
            assert len(set(ids)) == len(ids) > 0
    assert all(made["rule_id"] == r.id and made["version"] == 1 and made["enabled"] is False
               and made["exceptions_list"] == [] for r, *_, made in everything())


def own_window(query: Query) -> int:
    """The window of an ES|QL query in seconds; 0 where the query is a predicate alone, or Kibana counts."""
    alone = any("set suppression by" in caveat for caveat in query.caveats)
    return query.schedule.window if query.schedule and query.dialect == "esql" and not alone else 0


def test_a_rule_reads_its_windows_whole_even_after_a_missed_run() -> None:
    for r, dialect, source, context, made in everything():
        query = converted(r.name, dialect, source, context)[1]
        plan = query.schedule
        assert plan is not None
        assert made["interval"] == f"{plan.period // 60}m"
        since, until = _seconds(made["from"]), _seconds(made["to"])
        if dialect == "threshold":
            assert (since - until, until) == (plan.window, plan.delay), "it counts what it reads"
        else:
            window = own_window(query)
            lasting = plan.lasting if window else 0
            assert (since, until) == (window + 2 * plan.period + plan.delay + lasting, 0)


def _seconds(time_: str) -> int:
    return 0 if time_ == "now" else int(re.fullmatch(r"now-(\d+)s", time_)[1])  # type: ignore[index]


ARRIVALS = st.integers(0, 600)


@given(st.integers(0, 10**6), st.integers(0, 10**6), ARRIVALS, st.booleans())
def test_no_window_is_lost_to_a_late_flow_or_a_missed_run(crossing: int, phase: int, late: int, missed: bool) -> None:
    """The first run after all flows of a window have arrived may fail; the next one still reads the whole window."""
    plan = Schedule(300, 900, 600)
    since = form(_read(), _query("esql", plan)).since
    arrived = crossing + max(late, plan.delay)
    run = arrived + (phase - arrived) % plan.period + (plan.period if missed else 0)
    assert run - since <= crossing - plan.window, "the run begins to read before the window does"


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_no_arrival_is_lost_to_a_missed_run(arrival: int, phase: int, missed: bool) -> None:
    plan = Schedule(300, 0, 600)
    since = form(_read(), _query("lucene", plan)).since
    run = arrival + (phase - arrival) % plan.period + (plan.period if missed else 0)
    assert run - since <= arrival <= run


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 600))
def test_a_threshold_rule_finds_what_its_caveat_promises(begin: int, phase: int, lasting: int) -> None:
    """What takes no longer than window less period lies in the counts of one run, after all of it has arrived."""
    made = _quarter_of_an_hour()
    since, until, period = _seconds(made["from"]), _seconds(made["to"]), int(made["interval"].removesuffix("m")) * 60
    assert since - until - period == 600
    end = begin + lasting
    run = end + until + (phase - end - until) % period
    assert run - since <= begin and end <= run - until


@cache
def _read() -> Reading:
    return reading(elastic(rule({"destination.port": 22}), "lucene")[0], "inline")


def _query(dialect: str, plan: Schedule) -> Query:
    return Query("probe", "elastic", dialect, "zeek_conn", "inline", "text", (), plan)


@cache
def _quarter_of_an_hour() -> Made:
    return threshold(timespan="15m")


def test_single_flows_of_late_sources_are_read_by_arrival() -> None:
    for r, dialect, source, context, made in everything():
        windowed = dialect == "threshold" or own_window(converted(r.name, dialect, source, context)[1]) > 0
        late = source != "flow" and not windowed
        assert made.get("timestamp_override") == ("event.ingested" if late else None), (r.name, dialect, source)


def test_severity() -> None:
    for r, dialect, source, context, made in everything():
        assert (made["severity"], made["risk_score"]) == SEVERITY[r.level]
        flow = dialect != "threshold" and not own_window(converted(r.name, dialect, source, context)[1])
        raised = [m["severity"] for m in made["severity_mapping"]]
        if context == "inline" or not flow:
            assert raised == []
        else:
            assert raised == [level for level in LEVELS if LEVELS.index(level) > LEVELS.index(made["severity"])]
            assert {m["field"] for m in made["severity_mapping"]} <= {"ew.destination.criticality"}


def test_every_level_has_a_severity_of_kibana() -> None:
    bands = {"low": range(22), "medium": range(22, 48), "high": range(48, 74), "critical": range(74, 101)}
    assert list(SEVERITY) == list(LEVELS)
    assert all(risk in bands[severity] for severity, risk in SEVERITY.values())
    assert SEVERITY["informational"][0] == "low"


def test_heads_are_carried_over() -> None:
    for r, *_, made in everything():
        assert (made["name"], made["description"]) == (r.title, r.body["description"])
        assert made["references"] == r.body.get("references", [])
        assert made["false_positives"] == r.body.get("falsepositives", [])
        assert (", ".join(made["author"]), made["license"]) == (r.body["author"], r.body.get("license", "Apache-2.0"))


def test_tags_find_a_rule() -> None:
    made = kibana(pack().rules["smb_fanout"], "threshold", "suricata_eve")
    version = made["tags"].pop(1)
    assert re.fullmatch(r"ewdetect:\d+\.\d+\.\d+|ewdetect:0\+source", version)
    assert made["tags"] == ["ewdetect", "Data Source: Suricata", "Tactic: Lateral Movement", "Technique: T1021.002",
                            "Technique: T1570", "Sigma Status: test"]


def test_integrations_are_packages_of_fleet() -> None:
    named = {source: made["related_integrations"] for _, source, _, made in of_dialect("lucene")}
    assert named == {"flow": [], "suricata_eve": [{"package": "suricata", "version": ">=2.0.0"}],
                     "zeek_conn": [{"package": "zeek", "version": ">=2.0.0"}]}


def test_the_command_line_writes_what_kibana_imports() -> None:
    found = CliRunner().invoke(verbs, ["convert", str(ROOT / "rules"), "--to", "elastic", "--source", "zeek_conn",
                                       "--context", "enriched", "--dialect", "lucene", "--format", "rule"])
    made = [json.loads(line) for line in found.stdout.splitlines()]
    assert {rule["name"] for rule in made} == {r.title for r in pack().alerting() if r.kind is Kind.EVENT}
    assert len({rule["rule_id"] for rule in made}) == len(made)
    assert found.exit_code == 1, "correlations are no Lucene, and that is said"


def test_order_and_bytes_do_not_change() -> None:
    for r, dialect, source, context, made in everything():
        resolved, query = converted(r.name, dialect, source, context)
        assert backend("elastic").content(resolved, query) == json.dumps(made, ensure_ascii=False) + "\n"
        assert list(made)[:6] == ["rule_id", "name", "description", "version", "enabled", "type"]


# ---------------------------------------------------------------- fields

# What ECS and the two integrations say: https://www.elastic.co/docs/reference/ecs/ecs-field-reference
TYPES = {"source.ip": "ip", "destination.ip": "ip", "destination.port": "long",
         "destination.packets": "long", "network.transport": "keyword", "data_stream.dataset": "constant_keyword",
         "zeek.connection.state": "keyword", "zeek.connection.icmp.type": "integer",
         "suricata.eve.event_type": "keyword", "suricata.eve.icmp_type": "long",
         "suricata.eve.tcp.tcp_flags_ts": "keyword", "ew.source.is_scanner": "boolean",
         "ew.destination.role": "keyword", "flow.outcome": "keyword", "@timestamp": "date"}


def test_required_fields_are_all_that_the_query_reads() -> None:
    seen: set[str] = set()
    for r, dialect, source, context, made in everything():
        types = {field["name"]: field["type"] for field in made["required_fields"]}
        read = _esql_fields(made["query"]) if dialect == "esql" else _lucene_fields(made["query"])
        grouped = set(made.get("alert_suppression", {}).get("group_by", ())) | set(
            made.get("threshold", {}).get("field", ()))
        assert read | grouped <= types.keys(), (r.name, dialect, source, context)
        assert {name: TYPES[name] for name in types if name in TYPES}.items() <= types.items()
        assert list(types) == sorted(types)
        seen |= types.keys()
    assert seen >= TYPES.keys()


def _lucene_fields(query: str) -> set[str]:
    bare = re.sub(r'"(\\.|[^"\\])*"', "", query)
    return {exists or name for name, exists in re.findall(r"([\w.@]+):(?!\*)(?:([a-z]\w*\.[\w.]+))?", bare)
            if exists or name != "_exists_"}


def _esql_fields(query: str) -> set[str]:
    bare = re.sub(r'"(\\.|[^"\\])*"', "", query.partition(" | WHERE ")[2].partition(" | KEEP ")[0])
    return set(re.findall(r"\b[a-z_]+(?:\.[a-z_]+)+", bare))


def test_an_analyst_sees_the_group_first() -> None:
    made = kibana(pack().rules["env_crossing"], "lucene", "zeek_conn", "enriched")
    names = made["investigation_fields"]["field_names"]
    assert names[:3] == ["source.ip", "destination.ip", "destination.port"]
    assert {"network.community_id", "ew.network.cross_env", "ew.source.is_scanner"} <= set(names)
    threshold = kibana(pack().rules["scan_hosts_failed"], "threshold")
    assert threshold["investigation_fields"]["field_names"] == threshold["threshold"]["field"]


# ---------------------------------------------------------------- texts

def buttons(note: str) -> list[dict[str, Any]]:
    """The buttons as Kibana's tokenizer finds them: it counts braces, and takes the rest of the paragraph with it."""
    found = []
    for paragraph in note.split("\n\n"):
        if "!{" not in paragraph:
            continue
        assert paragraph.startswith("!{investigate{")
        text, depth = paragraph.removeprefix("!{investigate"), 0
        for place, character in enumerate(text):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == -1:
                assert text[place + 1:].strip() == "", "the rest of the paragraph would be lost"
                found.append(json.loads(text[:place]))
                break
    return found


def test_buttons_work() -> None:
    for r, dialect, source, context, made in everything():
        known = set(reading(converted(r.name, dialect, source, context)[0], context).vocabulary.fields.values())
        found = buttons(made["note"])
        assert found, (r.name, dialect)
        assert len({button["label"] for button in found}) == len(found)
        for button in found:
            assert button.keys() == {"label", "providers", "relativeFrom", "relativeTo"}
            assert _seconds(button["relativeFrom"]) >= max(_seconds(made["from"]), 3600)
            assert button["relativeTo"] == "now"
            for provider in (p for alternative in button["providers"] for p in alternative):
                value = re.fullmatch(r"\{\{([a-z_.]+)\}\}", provider["value"])
                assert value is not None and {value[1], provider["field"]} <= known
                assert dialect != "threshold" or value[1] in made["threshold"]["field"], "its alerts have no more"
                assert provider["excluded"] is False
                assert (provider["queryType"], provider["valueType"]) == ("phrase", "string")


def test_buttons_of_a_single_flow() -> None:
    labels = [b["label"] for b in buttons(kibana(pack().rules["decoy_touch"], "lucene")["note"])]
    assert labels == ["Flows from the source", "Flows to the source", "Flows to the destination",
                      "Flows between the two", "This connection in every sensor"]


def test_the_guide_has_what_the_rule_knows() -> None:
    for r, *_, made in everything():
        titles = re.findall(r"^## (.+)$", made["note"], re.MULTILINE)
        assert titles == ["What it saw", "Triage", "Tuning", *(["Known gaps"] if known_gaps(r) else [])]
        for part in (r.body["description"], r.meta["guide"].strip(), r.meta["tuning"], *known_gaps(r)):
            assert part in made["note"]


def test_known_gaps_are_the_cases_that_say_so() -> None:
    assert known_gaps(pack().rules["db_unapproved_role"]) == [
        "a database on another port", "a source that no entry of the context covers has no role to judge"]
    assert known_gaps(rule({"source.port": 1})) == []


def test_setup_says_what_it_takes_for_granted() -> None:
    for r, dialect, source, context, made in everything():
        setup = made["setup"]
        needed = r.meta["needs"].get("context", ())
        assert all(f"`{name}`" in setup for name in needed)
        assert ("An ingest pipeline must fill" in setup) == ("ew." in made["query"])
        if needed and context == "inline":
            assert "Convert and import the rule again when the network file changes" in setup
        for caveat in converted(r.name, dialect, source, context)[1].caveats:
            assert (caveat in setup) != ("alert_suppression" in made and "set suppression by" in caveat)
        assert ("Alert suppression needs a Platinum licence" in setup) == ("alert_suppression" in made)


def test_no_text_holds_a_brace_of_a_template() -> None:
    for r, *_, made in everything():
        texts = [made[key] for key in ("name", "description", "setup")] + [
            *made["false_positives"], *made["references"],
            *(p for p in made["note"].split("\n\n") if not p.startswith("!{investigate{"))]
        assert not [text for text in texts if re.search(r"\{\{|!\{", text)], r.name


@given(st.text("a{}!\\ \n", max_size=20))
def test_escaped_text_opens_nothing(text: str) -> None:
    found = escaped(text)
    assert "{{" not in found and "!{" not in found
    assert "\\" in text or found.replace("\\{", "{") == text


def test_a_brace_in_a_rule_is_escaped() -> None:
    asked = rule({"destination.port": 22}, ewdetect={"guide": "Look at {{user.name}} and !{osquery{}}."})
    note = kibana(asked, "lucene")["note"]
    assert "Look at \\{\\{user.name}} and !\\{osquery{}}." in note
    assert len(buttons(note)) == 5


# ---------------------------------------------------------------- ATT&CK

def tagged(*tags: str) -> Rule:
    asked = rule({"destination.port": 22})
    return replace(asked, body={**asked.body, "tags": [f"attack.{tag}" for tag in tags]})


def pairs(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Tactic → its techniques and sub-techniques."""
    return {entry["tactic"]["name"]: [found["id"] for technique in entry["technique"]
                                      for found in (technique, *technique.get("subtechnique", ()))]
            for entry in entries}


def test_threat_agrees_with_attack() -> None:
    attack, names = load_attack(), {t.name: (tag, t.id) for tag, t in load_tactics().items()}
    for r, *_, made in everything():
        listed: set[str] = set()
        for entry in made["threat"]:
            tag, number = names[entry["tactic"]["name"]]
            assert entry["tactic"]["id"] == number
            assert entry["tactic"]["reference"] == f"https://attack.mitre.org/tactics/{number}/"
            for technique in entry["technique"]:
                for found in (technique, *technique.get("subtechnique", ())):
                    known = attack[found["id"]]
                    assert (found["name"], tag in known.tactics) == (known.name, True)
                    path = found["id"].replace(".", "/")
                    assert found["reference"] == f"https://attack.mitre.org/techniques/{path}/"
                    listed.add(found["id"])
        assert {t[7:].upper() for t in r.body["tags"] if re.match(r"attack\.t\d", t)} <= listed


def test_tactics_are_those_of_the_techniques() -> None:
    """Every tactic that a technique has is in the table, and its order is ATT&CK's."""
    used = {tactic for t in load_attack().values() for tactic in t.tactics}
    assert used == set(load_tactics())
    assert len({tactic.id for tactic in load_tactics().values()}) == 15
    assert all(tag == tactic.name.lower().replace(" ", "-") for tag, tactic in load_tactics().items())


def test_techniques_are_not_paired_by_position() -> None:
    """Gap 14: the stock converter makes Discovery: T1021.002 of these tags, and drops T1046."""
    found = pairs(threat(tagged("lateral-movement", "discovery", "t1021.001", "t1021.002", "t1046")))
    assert found == {"Discovery": ["T1046"], "Lateral Movement": ["T1021", "T1021.001", "T1021.002"]}


def test_a_technique_stands_under_each_tagged_tactic_that_has_it() -> None:
    attack = load_attack()
    two = next(t for t in attack.values() if len(t.tactics) > 1 and t.status == "active" and "." not in t.id)
    assert len(threat(tagged(*two.tactics, two.id.lower()))) == len(two.tactics)
    assert list(pairs(threat(tagged(two.tactics[0], two.id.lower()))).values()) == [[two.id]]


@pytest.mark.parametrize(("tags", "expected"), [
    (("t1046",), {"Discovery": ["T1046"]}),
    (("lateral-movement", "t1046"), {"Discovery": ["T1046"], "Lateral Movement": []}),
    (("lateral-movement",), {"Lateral Movement": []}),
    (("lateral_movement", "t1570"), {"Lateral Movement": ["T1570"]}),
    (("s0002", "g0016"), {}),
    ((), {}),
])
def test_threat_of_tags(tags: tuple[str, ...], expected: Mapping[str, Any]) -> None:
    assert pairs(threat(tagged(*tags))) == expected


def test_an_unknown_technique_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        kibana(tagged("t9999"), "lucene")
    assert codes(caught) == ["rule/unknown-technique"]


# ---------------------------------------------------------------- what Kibana cannot hold

def test_suppression() -> None:
    made = kibana(rule({"destination.port": 22}, ewdetect={"suppress": {"by": ["source.ip"], "for": "90m"}}), "lucene")
    assert made["alert_suppression"] == {"group_by": ["source.ip"], "duration": {"value": 90, "unit": "m"},
                                         "missing_fields_strategy": "doNotSuppress"}
    assert [f["query"] for f in made["filters"]] == [{"exists": {"field": "source.ip"}}]
    assert "90m after its alert" in made["setup"]


@pytest.mark.parametrize("keys", [
    ["source.ip", "destination.ip", "destination.port", "network.transport"], ["source.zone"]])
def test_suppression_that_kibana_has_not(keys: list[str]) -> None:
    asked = rule({"destination.port": 22}, ewdetect={"suppress": {"by": keys, "for": "1h"}})
    with pytest.raises(Rejected) as caught:
        kibana(asked, "lucene")
    assert codes(caught) == ["convert/unsupported"]


def test_suppression_by_context_that_the_siem_fills() -> None:
    asked = rule({"destination.port": 22}, ewdetect={"suppress": {"by": ["source.zone"], "for": "1h"}})
    assert kibana(asked, "lucene", context="enriched")["alert_suppression"]["group_by"] == ["ew.source.zone"]


def test_a_rule_that_only_feeds_others_is_refused() -> None:
    base = pack().rules["smb_fanout_session"]
    with pytest.raises(Rejected) as caught:
        kibana(base, "lucene")
    assert codes(caught) == ["convert/unsupported"]


def test_what_the_schema_refuses_is_no_rule() -> None:
    asked = rule({"destination.port": 22})
    with pytest.raises(Rejected) as caught:
        kibana(replace(asked, body={**asked.body, "references": [""]}), "lucene")
    assert codes(caught) == ["kibana_rule/bad-value"]


def test_an_informational_rule_and_a_licence_of_its_own() -> None:
    asked = rule({"destination.port": 22})
    made = kibana(replace(asked, level="informational", body={
        **asked.body, "license": "MIT", "author": "A. Rule, B. Writer"}), "lucene")
    assert (made["severity"], made["license"], made["author"]) == ("low", "MIT", ["A. Rule", "B. Writer"])


def test_an_index_must_be_named() -> None:
    read = reading(elastic(rule({"destination.port": 22}), "lucene")[0], "inline")
    named = replace(read.vocabulary, transformations=({"type": "set_state", "key": "index", "val": "logs-a-*, b-*"},))
    assert index_of(named) == ["logs-a-*", "b-*"]
    with pytest.raises(Rejected) as caught:
        index_of(replace(read.vocabulary, transformations=()))
    assert codes(caught) == ["mapping/no-index"]


# ---------------------------------------------------------------- threshold

def threshold(condition: Mapping[str, Any] | None = None, source: str = "zeek_conn", context: str = "inline",
              **changes: Any) -> dict[str, Any]:
    asked, world = window_rule(condition, **changes)
    made: dict[str, Any] = kibana(asked, "threshold", source, context, world=world)
    return made


@pytest.mark.parametrize(("condition", "changes", "expected"), [
    ({"field": "destination.ip", "gte": 20}, {},
     {"field": ["source.ip"], "value": 1, "cardinality": [{"field": "destination.ip", "value": 20}]}),
    ({"field": "destination.ip", "gt": 20}, {},
     {"field": ["source.ip"], "value": 1, "cardinality": [{"field": "destination.ip", "value": 21}]}),
    ({"gte": 2.5}, {"type": "event_count"}, {"field": ["source.ip"], "value": 3}),
    ({"gt": 2.5}, {"type": "event_count"}, {"field": ["source.ip"], "value": 3}),
    ({"gte": 0}, {"type": "event_count"}, {"field": ["source.ip"], "value": 1}),
    ({"gte": 9}, {"type": "event_count", "group_by": []}, {"field": [], "value": 9}),
    ({"gte": 9}, {"type": "event_count", "group_by": ["source.ip", "destination.ip", "destination.port",
                                                      "network.transport", "network.protocol"]},
     {"field": ["source.ip", "destination.ip", "destination.port", "network.transport", "network.protocol"],
      "value": 9}),
])
def test_a_count_as_a_threshold(condition: Mapping[str, Any], changes: Any, expected: Mapping[str, Any]) -> None:
    made = threshold(condition, **changes)
    assert made["threshold"] == expected
    assert (made["from"], made["to"]) == ("now-1200s", "now-600s")


def test_flows_of_two_rules_are_counted_together() -> None:
    made = threshold({"gte": 9}, type="event_count", rules=["ssh", "rdp"])
    assert made["query"] == ('(data_stream.dataset:"zeek.connection" AND destination.port:22) OR '
                             '(data_stream.dataset:"zeek.connection" AND destination.port:3389)')


@pytest.mark.parametrize(("condition", "changes", "why"), [
    ({"field": "source.bytes", "gte": 5}, {"type": "value_sum"}, "anything but a count"),
    ({"gte": 2}, {"type": "temporal", "rules": ["ssh", "rdp"]}, "anything but a count"),
    (None, {"type": "temporal_ordered", "rules": ["ssh", "rdp"]}, "anything but a count"),
    ({"field": "destination.ip", "lt": 5}, {}, "bound"),
    ({"field": "destination.ip", "eq": 5}, {}, "bound"),
    ({"field": "destination.ip", "gte": 5, "lte": 9}, {}, "bound"),
    ({"field": ["destination.ip", "destination.port"], "gte": 5}, {}, "several fields"),
    ({"gte": 5}, {"type": "event_count", "rules": ["ssh", "rdp"], "group_by": ["peer"],
                  "aliases": {"peer": {"ssh": "source.ip", "rdp": "destination.ip"}}}, "aliases"),
    ({"gte": 5}, {"type": "event_count", "group_by": [
        "source.ip", "destination.ip", "destination.port", "network.transport", "network.protocol", "source.port"]},
     "many keys"),
    ({"field": "destination.ip", "gte": 5}, {"group_by": ["source.zone"]}, "unmapped key"),
    ({"field": "destination.role", "gte": 5}, {}, "unmapped key"),
])
def test_what_a_threshold_rule_cannot_say(condition: Any, changes: Any, why: str) -> None:
    asked, world = window_rule(condition, **changes)
    with pytest.raises(Rejected) as caught:
        elastic(asked, "threshold", world=world)
    assert [(p.code, f": {why}: " in p.message) for p in caught.value.problems] == [("convert/unsupported", True)]
    assert f"threshold: {why}" in backend("elastic").cannot


def test_a_single_flow_and_alerts_of_other_rules_are_no_threshold() -> None:
    for name, why in (("decoy_touch", "anything but a count"), ("pivot_chain", "anything but a count")):
        with pytest.raises(Rejected, match=why):
            elastic(pack().rules[name], "threshold")
    alerts, world = window_rule({"gte": 2}, type="event_count", rules=["fan_out_inner"])
    inner, _ = window_rule()
    inner = replace(inner, name="fan_out_inner", id="0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b29")
    with pytest.raises(Rejected, match="correlation of alerts"):
        elastic(alerts, "threshold", world=replace(world, rules={**world.rules, inner.name: inner}))


def test_context_groups_where_the_siem_fills_it() -> None:
    made = threshold(context="enriched", group_by=["source.zone"])
    assert made["threshold"]["field"] == ["ew.source.zone"]
    assert buttons(made["note"]) == [], "such an alert has no address"


def test_the_text_is_the_query_and_the_threshold() -> None:
    asked, world = window_rule()
    text = elastic(asked, "threshold", world=world)[1].text
    query, part = text.split("\n")
    assert query == 'data_stream.dataset:"zeek.connection" AND destination.port:22'
    assert json.loads(part) == {"threshold": {"field": ["source.ip"], "value": 1, "cardinality": [
        {"field": "destination.ip", "value": 20}]}}


def test_caveats_say_how_a_threshold_differs() -> None:
    asked, world = window_rule({"field": "destination.ip", "gte": 4000}, group_by=["source.ip", "network.state"],
                               timespan="1h")
    caveats = " ".join(elastic(asked, "threshold", "flow", world=world)[1].caveats)
    for words in ("windows of 3600 s that end with each run, every 900 s", "more than 2700 s", "begin again at nothing",
                  "at most 5", "estimates distinct values", "Values of network.state differ by the letters"):
        assert words in caveats


# ---------------------------------------------------------------- new terms

def first_seen(fields: Sequence[str], **changes: Any) -> tuple[Rule, Pack]:
    """A first-seen rule over SSH sessions, and the pack that holds both."""
    base = replace(rule({"destination.port": 22}), name="ssh", level="informational")
    says = {"type": "first_seen", "rule": "ssh", "fields": list(fields), "history": "14d", **changes}
    body = {"title": "New Pair", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b24", "name": "new_pair", "level": "medium",
            "ewdetect": says}
    document = parse_documents(dump(body), "new_pair.yml")[0]
    made = Rule("new_pair", str(body["id"]), Kind.FIRST_SEEN, "New Pair", "medium", "test", document.data, document,
                ("ssh",))
    return made, Pack({"ssh": base, "new_pair": made})


@pytest.mark.parametrize("name", SOURCES)
def test_a_first_seen_rule(name: str) -> None:
    asked, world = first_seen(["source.ip", "destination.ip", "source.zone"])
    made = kibana(asked, "new_terms", name, "enriched", world=world)
    _, query = elastic(asked, "new_terms", name, "enriched", world=world)
    ssh, parts = query.text.split("\n")
    assert made["type"] == "new_terms" and made["query"] == ssh and "destination.port:22" in ssh.replace(" ", "")
    assert made["new_terms_fields"] == ["source.ip", "destination.ip", "ew.source.zone"]
    assert made["history_window_start"] == "now-1209600s"
    assert json.loads(parts) == {key: made[key] for key in ("new_terms_fields", "history_window_start")}
    assert "threshold" not in made and "alert_suppression" not in made
    assert "a combination of `source.ip`, `destination.ip`, `ew.source.zone`" in made["note"]


def test_caveats_say_how_new_terms_differ() -> None:
    asked, world = first_seen(["source.ip", "network.state"], **{"warm-up": "7d"})
    caveats = " ".join(elastic(asked, "new_terms", "flow", world=world)[1].caveats)
    for words in ("looks back 1209600 s from each run", "Before the indices hold 604800 s of flows",
                  "Values of network.state differ by the letters"):
        assert words in caveats


@pytest.mark.parametrize(("fields", "changes", "why"), [
    (["source.ip", "destination.ip", "destination.port", "network.transport"], {}, "many fields"),
    (["source.ip", "source.zone"], {}, "unmapped field"),
    (["source.ip", "destination.ip"], {"aged": {"fields": ["source.ip"], "for": "7d"}}, "aged"),
])
def test_a_first_seen_rule_that_kibana_has_not(fields: list[str], changes: Any, why: str) -> None:
    asked, world = first_seen(fields, **changes)
    with pytest.raises(Rejected, match=why):
        elastic(asked, "new_terms", world=world)
    assert f"new_terms: {why}" in backend("elastic").cannot


def test_a_history_that_each_run_reads_whole_is_refused() -> None:
    asked, world = first_seen(["source.ip"], history="20m")
    with pytest.raises(Rejected, match="longer than the 1200 s"):
        kibana(asked, "new_terms", world=world)


def test_only_first_seen_becomes_new_terms_and_only_if_asked() -> None:
    for name in ("smb_fanout", "decoy_touch"):
        with pytest.raises(Rejected, match="anything but first_seen"):
            elastic(pack().rules[name], "new_terms")
    with pytest.raises(Rejected, match="--dialect new_terms"):
        elastic(pack().rules["new_admin_pair"], None)

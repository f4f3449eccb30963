"""The saved searches that Splunk is given: keys that are documented, values on one line, a schedule that tiles."""

from __future__ import annotations

import configparser
import csv
import io
import json
import re
from functools import cache
from ipaddress import ip_address, ip_network

import pytest

from ewdetect.backends.context import internal_cidrs
from ewdetect.backends.splunk.conf import Stanza, compact, written
from ewdetect.backends.splunk.content import LONGEST_NAME, cron
from ewdetect.backends.splunk.lookup import lookup_csv
from ewdetect.cli import verbs
from ewdetect.convert import backend, convert_rule
from ewdetect.model import Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.convert_world import ROOT, addresses, context_of, office, pack, rule, source

# savedsearches.conf.spec 9.2, and what splunk/contentctl-ng 1.1.1 writes for Enterprise Security.
DOCUMENTED = frozenset((
    "description", "search", "cron_schedule", "dispatch.earliest_time", "dispatch.latest_time",
    "dispatch.allow_partial_results", "disabled", "enableSched", "is_visible", "realtime_schedule", "schedule_window",
    "allow_skew", "counttype", "relation", "quantity", "alert.digest_mode", "alert.track", "alert.severity",
    "alert.suppress", "alert.suppress.fields", "alert.suppress.period", "action.risk", "action.risk.param._risk",
    "action.notable", "action.notable.param.rule_title", "action.notable.param.rule_description",
    "action.notable.param.security_domain", "action.notable.param.severity", "action.notable.param._entities",
    "action.notable.param.drilldown_searches", "action.correlationsearch.enabled",
    "action.correlationsearch.detection_type", "action.correlationsearch.label",
    "action.correlationsearch.annotations", "action.correlationsearch.metadata"))
MARKERS = {"action.ewdetect.rule_id", "action.ewdetect.rule", "action.ewdetect.fingerprint"}
BOOLEANS = re.compile(r"disabled|enableSched|is_visible|realtime_schedule|alert\.(suppress|track|digest_mode)|"
                      r"action\.\w+|.*\.enabled|dispatch\.allow_partial_results")
JSON = re.compile(r".*(_risk|_entities|annotations|metadata|drilldown_searches)")


def resolved(asked: Rule) -> ResolvedRule:
    return resolve_rule(asked, pack(), source("suricata_eve"), office())


def _converts(asked: Rule) -> bool:
    """Whether there is a saved search: Suricata does not tell every outcome. A title too long fails the tests."""
    splunk = backend("splunk")
    try:
        splunk.content(resolved(asked), convert_rule(resolved(asked), splunk, "enriched"))
    except Rejected as rejected:
        return any(problem.code == "convert/title-too-long" for problem in rejected.problems)
    return True


RULES = [asked for asked in pack().alerting() if _converts(asked)]


@cache
def stanzas(name: str) -> dict[str, dict[str, str]]:
    """The .conf text of a rule, read by an independent reader."""
    asked, splunk = resolved(pack().rules[name]), backend("splunk")
    text = splunk.content(asked, convert_rule(asked, splunk, "enriched"))
    assert "\r" not in text and not re.search(r"\\\s*$", text, re.M) and "[default]" not in text
    reader = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",), interpolation=None, strict=True)
    reader.optionxform = str        # type: ignore[assignment,method-assign]
    reader.read_string(text)
    return {section: dict(reader[section]) for section in reader.sections()}


def keys(name: str) -> dict[str, str]:
    return next(found for section, found in stanzas(name).items() if section.startswith("EW - "))


@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_every_key_is_documented(name: str) -> None:
    found = keys(name)
    assert found.keys() - MARKERS <= DOCUMENTED
    assert found.keys() >= MARKERS | {"cron_schedule", "search", "action.correlationsearch.metadata"}
    assert all(value in ("0", "1") for key, value in found.items() if BOOLEANS.fullmatch(key))
    for value in (value for key, value in found.items() if JSON.fullmatch(key)):
        assert compact(json.loads(value)) == value


@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_one_entity_and_no_score_twice(name: str) -> None:
    found = keys(name)
    risks = json.loads(found.get("action.risk.param._risk", "[]"))
    findings = json.loads(found.get("action.notable.param._entities", "[]"))
    entities = [entry["risk_object_field"] for entry in [*findings, *risks]]
    assert len(findings) <= 1 and entities and len(set(entities)) == len(entities)
    columns = set(re.findall(r'AS "([^"]+)"', found["search"]))
    assert set(entities) <= columns
    assert not {"risk_object", "risk_object_type", "risk_score"} & columns
    assert set(found["alert.suppress.fields"].split(",")) <= columns | {"window_end"}
    tokens = re.findall(r"\$([^$]+)\$", found.get("action.notable.param.rule_title", ""))
    assert set(tokens) <= columns


def test_levels() -> None:
    low, high = keys("scan_icmp_sweep"), keys("decoy_touch")
    assert "action.notable" not in low and json.loads(low["action.risk.param._risk"])[0]["risk_score"] == 30
    assert json.loads(low["action.correlationsearch.annotations"])["type"] == "Anomaly"
    assert high["action.notable.param.severity"] == "high" and "action.risk" not in high
    assert json.loads(high["action.correlationsearch.annotations"])["mitre_attack"] == ["T1018", "T1046"]


@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_the_filter_macro_is_there(name: str) -> None:
    assert stanzas(name)[f"ewdetect_{name}_filter"]["definition"] == "search *"
    assert keys(name)["search"].endswith(f"`ewdetect_{name}_filter`")


@pytest.mark.parametrize("period", [300, 360, 600, 720, 900, 1200, 1800, 3600])
def test_runs_follow_each_other_in_one_period(period: int) -> None:
    """Also over the end of an hour, never at minute 0 for all, and at most twelve times an hour."""
    for number in range(40):
        minutes = cron(str(number), period).split()[0]
        first, _, step = minutes.replace("-59", "").partition("/")
        times = list(range(int(first), 60, int(step or 60)))
        gaps = {later - sooner for sooner, later in zip(times, [*times[1:], times[0] + 60], strict=True)}
        assert gaps == {period // 60} and times[0] > 0 and len(times) <= 12


def test_searches_are_spread() -> None:
    assert {int(re.split(r"[-/ ]", keys(r.name)["cron_schedule"])[0]) for r in RULES} >= {1, 2, 3, 4}


def test_a_long_title_is_refused() -> None:
    asked = rule({"destination.port": 445})
    long = ResolvedRule(Rule(asked.name, asked.id, asked.kind, "x" * 90, "low", "test", asked.body, asked.document),
                        (asked,), {}, source("flow"), office())
    splunk = backend("splunk")
    with pytest.raises(Rejected) as caught:
        splunk.content(long, convert_rule(long, splunk, "inline"))
    [problem] = caught.value.problems
    assert problem.code == "convert/title-too-long" and str(LONGEST_NAME) in problem.message


def test_values_cannot_leave_their_line() -> None:
    text = written("x.conf", [Stanza("a[b]", {"one": "x\ny \\ ", "two": True, "three": 'say "\\" \\\\'})])
    assert text == '# x.conf\n[a(b)]\none = x y\ntwo = 1\nthree = say "\\"\n'


def test_single_flows_keep_their_columns_and_are_not_suppressed() -> None:
    asked = rule({"destination.port": 445})
    alone = ResolvedRule(asked, (asked,), {}, source("flow"), office())
    splunk = backend("splunk")
    text = splunk.content(alone, convert_rule(alone, splunk, "inline"))
    assert "alert.suppress = 0" in text and '"risk_object_field":"source.ip"' in text
    assert "dispatch.earliest_time = -300s@m\ndispatch.latest_time = @m" in text


# ---------------------------------------------------------------- the lookup

def _cell(value: object) -> str:
    return "" if value is None else str(value).lower()


def test_the_lookup_says_what_the_network_says() -> None:
    rows = list(csv.DictReader(io.StringIO(lookup_csv(office(), "cidr", "inside"))))
    networks = [ip_network(row["cidr"]) for row in rows]
    inside = internal_cidrs(office())
    for text in addresses(office()):
        address = ip_address(text)
        found = [row for row, net in zip(rows, networks, strict=True) if address in net]
        assert len(found) <= 1, "networks overlap, and the first in the file would win"
        said = found[0] if found else {}
        for name, value in context_of(office(), text).items():
            assert said.get(name, _cell(office().defaults[name])) == _cell(value), (text, name)
        assert (said.get("inside") == "true") == any(address in net for net in inside)
    assert len(networks) == len(set(networks))


def test_the_command_line_writes_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verbs.main(["lookup", "--network", str(ROOT / "fixtures" / "networks" / "office.yml")])
    assert capsys.readouterr().out == lookup_csv(office(), "cidr", "inside")

"""Tuning without editing rules: ewdetect.toml, and filters with an owner and an end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewdetect.check import check_paths
from ewdetect.load import Tuning, load_pack, load_tuning, read_pack
from ewdetect.model import Pack
from ewdetect.problems import Problem, Rejected, WorldFailed
from ewdetect.resolve import resolve_rule
from ewdetect.tomlfile import parse_toml, read_toml
from tests.test_cli import BACKTEST, a_folder, ew
from tests.world import ROOT, fields

OWN = """\
title: Beacon
id: 44444444-4444-4444-8444-444444444444
name: own
level: medium
ewdetect:
    type: beacon
    rule: own_flow
    group-by: [source.ip, destination.ip]
    timespan: 24h
    size: source.bytes
    minimum: 20
    lasting: 6h
    score: 0.8
---
title: Fewer Than Before
id: 55555555-5555-4555-8555-555555555555
name: less
level: medium
ewdetect:
    {type: deviation, rule: own_flow, group-by: [source.ip], metric: count, bucket: 1h, history: 1d, minimum: 5,
     below: {factor: 0.1, floor: 10}}
---
title: More Than Before
id: 66666666-6666-4666-8666-666666666666
name: more
level: medium
ewdetect:
    {type: deviation, rule: own_flow, group-by: [source.ip], metric: count, bucket: 1h, history: 1d, minimum: 5,
     above: {factor: 6, floor: 10}}
---
title: New
id: 77777777-7777-4777-8777-777777777777
name: new
level: medium
ewdetect: {type: first_seen, rule: own_flow, fields: [source.ip], history: 7d}
---
title: Both
id: 88888888-8888-4888-8888-888888888888
name: both
level: medium
correlation: {type: temporal, rules: [own_flow, fanout_session], timespan: 10m}
---
title: Between
id: 99999999-9999-4999-8999-999999999999
name: between
level: medium
correlation: {type: event_count, rules: [own_flow], timespan: 10m, condition: {gte: 5, lt: 9}}
---
title: A Flow
id: aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa
name: own_flow
logsource: {category: network, service: connection}
detection: {selection: {destination.port: 443}, condition: selection}
level: informational
"""
FILTER = """\
title: The new jump host
id: f0000000-0000-4000-8000-000000000001
logsource: {category: network, service: connection}
filter:
    rules: [fanout_session]
    selection: {destination.ip: 10.30.0.14}
    condition: not selection
ewdetect: {owner: network team, reason: It is not in the network file yet, expires: 2027-06-30}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with a_folder() as made:
        (made / "rules" / "own.yml").write_text(OWN, encoding="utf-8")
        yield made


def tuning(text: str) -> Tuning:
    Path("ewdetect.toml").write_text(text, encoding="utf-8")
    return load_tuning(Path("ewdetect.toml"))


def tuned(text: str) -> Pack:
    return load_pack(["rules"], fields(), tuning(text))


def refused(text: str) -> list[Problem]:
    """What is wrong, whether it shows in the file alone or against the rules."""
    try:
        return read_pack(["rules"], fields(), tuning(text))[1]
    except Rejected as rejected:
        return list(rejected.problems)


def shown(found: list[Problem]) -> list[str]:
    return [f"{each.location} {each.code}" for each in found]


# ── TOML ────────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = st.text("abc_", min_size=1, max_size=6)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(), min_size=1), min_size=1))
def test_every_key_has_its_place(tables: Mapping[str, Mapping[str, int]]) -> None:
    lines: list[str] = []
    places: dict[tuple[str, ...], tuple[int, int]] = {("rules",): (2, 2)}
    for name, keys in tables.items():
        lines += ["# a comment", f"[rules.{name}]"]
        places[("rules", name)] = (len(lines), 2)
        for key, value in keys.items():
            lines.append(f"  {key} = {value}")
            places[("rules", name, key)] = (len(lines), 3)
    document = parse_toml("\n".join(lines), "a.toml")
    assert document.data == {"rules": tables}
    assert {path: (at.line, at.column) for path, at in document.keys.items()} == places


@pytest.mark.parametrize(("text", "path", "place"), [
    ('[rules."a"]\nb = 1', ("rules", "a", "b"), "2:1"),
    ("rules.a.b = 1", ("rules", "a", "b"), "1:1"),
    ("[rules]\na = {b = 1}", ("rules", "a", "b"), "2:1"),          # inside a value: the key before it
    ("x = [\n  1,\n]\n[y]\nz = 2", ("y", "z"), "5:1"),
    ("x = 1", ("rules", "a"), "1:1"),                               # not there at all: the head of the file
])
def test_keys_are_found_however_they_are_written(text: str, path: tuple[str, ...], place: str) -> None:
    assert str(parse_toml(text, "a.toml").at(*path)) == f"a.toml:{place}"


@pytest.mark.parametrize(("text", "place"), [
    ("a = 1\nb = \nc = 2", "a.toml:2:5"), ("a = 1\na = 2\nb = 3", "a.toml:2:6"), ('a = 1\nb = "', "a.toml:2:1")])
def test_what_is_no_toml_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_toml(text, "a.toml")
    problem = caught.value.problems[0]
    assert (problem.code, str(problem.location)) == ("toml/syntax", place) and "(at" not in problem.message


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    Path("a.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(Rejected) as caught:
        read_toml("a.toml")
    assert [problem.code for problem in caught.value.problems] == ["toml/not-utf8"]
    with pytest.raises(WorldFailed):
        read_toml("rules")


# ── The rules ───────────────────────────────────────────────────────────────────────────────────────────────

KNOBS: Mapping[str, tuple[str, str, tuple[str, ...], Any]] = {
    "bound of a correlation": ("fanout", "threshold = 5", ("correlation", "condition", "gte"), 5),
    "window of a correlation": ("fanout", 'timespan = "20m"', ("correlation", "timespan"), "20m"),
    "window of a temporal": ("both", 'timespan = "20m"', ("correlation", "timespan"), "20m"),
    "score of a beacon": ("own", "threshold = 0.9", ("ewdetect", "score"), 0.9),
    "window of a beacon": ("own", 'timespan = "12h"', ("ewdetect", "timespan"), "12h"),
    "factor above": ("more", "threshold = 8", ("ewdetect", "above", "factor"), 8),
    "factor below": ("less", "threshold = 0.2", ("ewdetect", "below", "factor"), 0.2),
    "level": ("decoy", 'level = "critical"', ("level",), "critical"),
}


@pytest.mark.parametrize(("name", "knob", "path", "value"), KNOBS.values(), ids=KNOBS.keys())
def test_a_knob_changes_one_value_of_one_rule(name: str, knob: str, path: tuple[str, ...], value: Any,
                                              folder: Path) -> None:
    before, after = load_pack(["rules"], fields()), tuned(f"[rules.{name}]\n{knob}\n")
    differing = {each for each in before.rules if before.rules[each] != after.rules[each]}
    assert differing == {name} and after.rules[name].level == after.rules[name].body["level"]
    changed: Any = after.rules[name].body
    document: Any = after.rules[name].document.data
    for step in path:
        changed, document = changed[step], document[step]
    assert changed == value and document != value           # what was read stays as it was read


def test_a_rule_that_is_off_does_not_alert_and_still_feeds_others(folder: Path) -> None:
    pack = tuned("[rules.fanout]\nenabled = false\nlevel = 'high'\n[rules.decoy]\nenabled = true\n")
    assert "fanout" not in {rule.name for rule in pack.alerting()} and "fanout" in pack.rules
    assert "decoy" in {rule.name for rule in pack.alerting()}
    assert {name: str(place) for name, place in pack.off.items()} == {"fanout": "ewdetect.toml:2:1"}


REFUSED: Mapping[str, tuple[str, list[str], str]] = {
    "no such rule": ("[rules.fanuot]\nlevel = 'low'", ["1:2 config/unknown-rule"], "did you mean `fanout`?"),
    "no such knob": ("[rules.fanout]\ntreshold = 4", ["2:1 config/unknown-key"], "did you mean `threshold`?"),
    "no such table": ("[rule.fanout]\nlevel = 'low'", ["1:2 config/unknown-key"], "did you mean `rules`?"),
    "nothing said": ("[rules.fanout]", ["1:2 config/bad-value"], "at least 1"),
    "text as number": ("[rules.fanout]\nthreshold = '4'", ["2:1 config/wrong-type"], "without quotes"),
    "no number": ("[rules.fanout]\nthreshold = nan", ["2:1 config/wrong-type"], "a number"),
    "date as number": ("[rules.fanout]\nthreshold = 2027-01-01", ["2:1 config/wrong-type"], "not `2027-01-01`"),
    "flag as number": ("[rules.fanout]\nthreshold = true", ["2:1 config/wrong-type"], "not `true`"),
    "file for files": ("filters = 'mine'", ["1:1 config/wrong-type"], "as a list"),
    "less than nothing": ("[rules.fanout]\nthreshold = -1", ["2:1 config/bad-value"], "less than 0"),
    "no duration": ("[rules.fanout]\ntimespan = '10 minutes'", ["2:1 config/bad-value"], "such as 10m"),
    "no level": ("[rules.fanout]\nlevel = 'hihg'", ["2:1 config/bad-value"], "did you mean `high`?"),
    "never alerts": ("[rules.fanout]\nlevel = 'informational'", ["2:1 config/bad-value"], "low"),
    "threshold of an event rule": ("[rules.decoy]\nthreshold = 4", ["2:1 config/no-such-knob"], "single flows"),
    "timespan of an event rule": ("[rules.decoy]\ntimespan = '1h'", ["2:1 config/no-such-knob"], "single flows"),
    "threshold of a first_seen": ("[rules.new]\nthreshold = 4", ["2:1 config/no-such-knob"], "what is new"),
    "timespan of a deviation": ("[rules.more]\ntimespan = '1h'", ["2:1 config/no-such-knob"], "no window"),
    "threshold of a temporal": ("[rules.both]\nthreshold = 4", ["2:1 config/no-such-knob"], "no bound"),
    "threshold of a range": ("[rules.between]\nthreshold = 4", ["2:1 config/no-such-knob"], "2 bounds"),
    "level of a base": ("[rules.own_flow]\nlevel = 'low'", ["2:1 config/no-such-knob"], "never alerts by itself"),
    "switch of a base": ("[rules.own_flow]\nenabled = true", ["2:1 config/no-such-knob"], "stands on it"),
    "score beyond one": ("[rules.own]\nthreshold = 3", ["1:2 rule/bad-value"], "more than 1"),
    "window too short": ("[rules.own]\ntimespan = '1h'", ["1:2 rule/spans-disagree"], "less than 1h"),
    "all at once": ("[rules.decoy]\nthreshold = 4\n[rules.x]\nlevel = 'low'\n[rules.own]\nthreshold = 3",
                    ["2:1 config/no-such-knob", "3:2 config/unknown-rule", "5:2 rule/bad-value"], ""),
}


@pytest.mark.parametrize(("text", "places", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_tuned_is_refused_where_it_stands(text: str, places: list[str], said: str,
                                                         folder: Path) -> None:
    found = refused(text)
    assert shown(found) == [f"ewdetect.toml:{place}" for place in places]
    assert said in f"{found[0].message} {found[0].fix}"


def test_what_is_wrong_with_a_rule_itself_is_told_once(folder: Path) -> None:
    Path("rules/own.yml").write_text(OWN.replace("lasting: 6h", "lasting: 48h"), encoding="utf-8")
    assert shown(refused("[rules.own]\nlevel = 'low'")) == ["rules/own.yml:12:5 rule/spans-disagree"]


def test_rules_that_ship_may_be_tuned_in_a_file_that_is_used_for_others_too(folder: Path) -> None:
    text = "filters = ['mine']\n[rules.scan_ports]\nthreshold = 80\n[rules.fanout]\nthreshold = 5\n"
    Path("mine").mkdir()
    Path("mine/a.yml").write_text(FILTER.replace("[fanout_session]", "[scan_ports_flow]"), encoding="utf-8")
    assert refused(text) == []
    assert shown(refused(text.replace("scan_ports]", "scan_portss]"))) == ["ewdetect.toml:2:2 config/unknown-rule"]
    Path("mine/a.yml").write_text(FILTER.replace("[fanout_session]", "[scan_portss]"), encoding="utf-8")
    assert shown(refused(text)) == ["mine/a.yml:5:13 filter/hits-nothing"]


# ── The verbs ───────────────────────────────────────────────────────────────────────────────────────────────

def alerts(*words: str) -> dict[str, str]:
    """Rule → level of the alerts of a backtest."""
    found = json.loads(ew(*BACKTEST, *words, "--format", "json").stdout)["alerts"]
    return {alert["rule"]["name"]: alert["rule"]["level"] for alert in found}


def test_a_backtest_runs_the_rules_as_tuned(folder: Path) -> None:
    assert alerts() == {"fanout": "medium", "decoy": "high"}
    tuning("[rules.fanout]\nthreshold = 4\n[rules.decoy]\nlevel = 'low'\n")
    assert alerts() == {"decoy": "low"}
    Path("ewdetect.toml").rename("quiet.toml")
    assert alerts() == {"fanout": "medium", "decoy": "high"}
    assert alerts("--config", "quiet.toml") == {"decoy": "low"}
    tuning("[rules.fanout]\ntimespan = '2m'\n[rules.decoy]\nenabled = false\n")
    assert alerts() == {}
    assert "rules are tuned by ewdetect.toml" in ew(*BACKTEST).stderr


def test_filters_of_ones_own_folder_are_applied(folder: Path) -> None:
    (folder / "elsewhere" / "filters").mkdir(parents=True)
    (folder / "elsewhere" / "filters" / "jump.yml").write_text(FILTER, encoding="utf-8")
    (folder / "elsewhere" / "site.toml").write_text('filters = ["filters"]', encoding="utf-8")
    assert alerts("--config", "elsewhere/site.toml") == {"decoy": "high"}
    pack = load_pack(["rules"], fields(), load_tuning(folder / "elsewhere" / "site.toml"))
    assert [each.title for each in resolve_rule(pack.rules["fanout"], pack).filters["fanout_session"]] == [
        "The new jump host"]


def test_a_rule_that_is_off_is_not_taken_for_another(folder: Path) -> None:
    tuning("[rules.decoy]\nenabled = false\n")
    asked = ew(*BACKTEST, "--rule", "decoy")
    assert asked.exit_code == 2 and "ewdetect.toml:2:1: error[config/switched-off]" in asked.stderr
    assert "decoy" not in ew("list", "rules", "--rules", "rules").stdout
    assert ew("convert", "rules/decoy.yml", "--to", "duckdb").stdout.strip() == ""


def test_a_query_and_its_rule_are_as_tuned(folder: Path) -> None:
    words = ("convert", "scan_ports", "--to", "elastic", "--source", "zeek_conn", "--context", "enriched")
    plain = ew(*words).stdout
    tuning("[rules.scan_ports]\nthreshold = 80\ntimespan = '20m'\nlevel = 'critical'\n")
    query = ew(*words).stdout
    assert plain.count("ew_all >= 50") == query.count("ew_all >= 80") == 1 and "ew_t / 1200000" in query
    rule = json.loads(ew(*words, "--format", "rule").stdout)
    assert rule["severity"] == "critical"


def test_cases_prove_the_rule_as_it_ships(folder: Path) -> None:
    ew("new", "rule", "family/my_rule", "--into", "mine")
    tuning("[rules.my_rule]\nenabled = false\n")
    assert ew("test", "mine").exit_code == 0
    assert "my_rule" not in ew("list", "rules", "--rules", "mine").stdout


def test_what_ships_is_counted_whatever_is_tuned(folder: Path) -> None:
    tuning("[rules.fanout]\nenabled = false\n")
    rows = json.loads(ew("list", "counts", "--rules", "rules", "--format", "json").stdout)["counts"]
    assert {row["what"]: row["count"] for row in rows}["alerting rules"] == "8"
    assert len(json.loads(ew("list", "rules", "--rules", "rules", "--format", "json").stdout)["rules"]) == 7


@pytest.mark.parametrize(("words", "code"), [
    (("check", "--config", "nowhere.toml"), 2), (("list", "rules", "--config", "nowhere.toml"), 2),
    (("list", "fields", "--config", "ewdetect.toml"), 2), (("check", "--config", "flows.jsonl"), 1)])
def test_a_config_that_is_none(words: tuple[str, ...], code: int, folder: Path) -> None:
    assert ew(*words).exit_code == code


# ── Filters and their end ───────────────────────────────────────────────────────────────────────────────────

def checked(filter_text: str, today: date) -> list[Problem]:
    Path("filters").mkdir(exist_ok=True)
    Path("filters/jump.yml").write_text(filter_text, encoding="utf-8")
    found = check_paths(["rules"], None, tuning('filters = ["filters"]'), today)
    return [each for each in found if each.location and each.location.path.startswith("filters")]


@pytest.mark.parametrize(("today", "said"), [
    (date(2027, 6, 29), []), (date(2027, 6, 30), []), (date(2027, 7, 1), ["expired 1 day ago"]),
    (date(2028, 6, 30), ["expired 366 days ago"])])
def test_a_filter_ends(today: date, said: list[str], folder: Path) -> None:
    found = checked(FILTER, today)
    assert [f"{each.location} {each.code}" for each in found] == ["filters/jump.yml:8:76 filter/expired"] * len(said)
    assert all(words in each.message for words, each in zip(said, found, strict=True))
    assert all("network team" in each.fix for each in found)


FILTER_FAULTS: Mapping[str, tuple[str, str, list[str], str]] = {
    "nobody": ("ewdetect:", "# ewdetect:", ["4:1 filter/no-owner"], "owner"),
    "no owner": ("owner: network team, ", "", ["8:1 rule/missing-key"], "`owner`"),
    "no end": (", expires: 2027-06-30", "", ["8:1 rule/missing-key"], "`expires`"),
    "unknown key": ("owner:", "ownr:", ["8:1 rule/missing-key", "8:12 rule/unknown-key"], "`owner`"),
    "key of a rule": ("owner:", "tuning: x, owner:", ["8:12 rule/unknown-key"], "use one of"),
    "no date": ("2027-06-30", "next summer", ["8:76 rule/bad-value"], "year-month-day"),
    "no such day": ("2027-06-30", "2027-02-30", ["8:76 filter/bad-date"], "2027-02-30"),
    "no such rule": ("[fanout_session]", "[fanout_sesion]", ["5:13 filter/hits-nothing"], "`fanout_session`"),
}


@pytest.mark.parametrize(("old", "new", "places", "said"), FILTER_FAULTS.values(), ids=FILTER_FAULTS.keys())
def test_a_filter_that_nobody_answers_for(old: str, new: str, places: list[str], said: str, folder: Path) -> None:
    found = checked(FILTER.replace(old, new), date(2027, 1, 1))
    assert shown(found) == [f"filters/jump.yml:{place}" for place in places]
    assert said in " ".join(f"{each.message} {each.fix}" for each in found)


def test_the_examples_of_the_page_are_sound(folder: Path) -> None:
    page = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    config, example = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("toml", "yaml"))
    Path("filters").mkdir()
    Path("filters/backup.yml").write_text(example[0], encoding="utf-8")
    assert len(config) == len(example) == 1
    assert check_paths([ROOT / "rules"], None, tuning(config[0]), date(2027, 6, 30)) == []


def test_a_misspelt_key_of_a_filter_gets_a_suggestion(folder: Path) -> None:
    found = checked(FILTER.replace("expires:", "expire:"), date(2027, 1, 1))
    assert "did you mean `expires`?" in [each.fix for each in found]


def test_a_rule_among_the_filters_is_told(folder: Path) -> None:
    rule = OWN.partition("---\n")[0].replace("name: own", "name: jump").replace("44444444-", "44444440-")
    assert "filters/jump.yml:1:1 config/not-a-filter" in shown(checked(rule, date(2027, 1, 1)))


def test_check_tells_what_is_wrong_with_tuning_and_filters(folder: Path) -> None:
    Path("filters").mkdir()
    Path("filters/jump.yml").write_text(FILTER.replace("2027-06-30", "2001-01-01"), encoding="utf-8")
    Path("ewdetect.toml").write_text("filters = ['filters']\n[rules.fanuot]\nlevel = 'low'\n", encoding="utf-8")
    found = json.loads(ew("check", "rules/fanout.yml", "--format", "json").stdout)["problems"]
    assert {"config/unknown-rule", "filter/expired"} <= {each["code"] for each in found}

"""Judging alerts by what really happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ewdetect.model import Alert
from ewdetect.problems import Rejected, WorldFailed
from ewdetect.truth import SLACK, Judgement, Truth, judge, load_truth, truth_from
from ewdetect.yamlfile import parse_documents
from tests.world import event_rule, pack

SECOND = 1_000_000
TEN = 1_768_471_200_000_000        # 2026-01-15 10:00 UTC
TRUTH = """\
recording: flows.jsonl
sensor: made up
start: "2026-01-15T09:00:00Z"
end: "2026-01-15T11:00:00Z"
steps:
  - id: sweep
    kind: attack
    story: false
    start: "2026-01-15T10:00:00.000Z"
    end: "2026-01-15T10:01:00.000Z"
    source: 10.0.0.5
    destinations: [10.1.0.0/24]
    technique: T1046
    tool: nmap
    rules: [scan, decoy]
  - id: quiet_login
    kind: attack
    start: "2026-01-15T10:01:06Z"
    end: "2026-01-15T10:02:00+00:00"
    source: 10.0.0.5
    destinations: [10.1.0.9]
    technique: null
    rules: []
    note: no rule yet
  - id: pivot
    kind: attack
    start: "2026-01-15T10:03:00Z"
    end: "2026-01-15T10:03:10Z"
    source: 10.0.0.5
    destinations: [10.1.0.9]
    rules: [scan]
  - id: backup
    kind: benign
    start: "2026-01-15T09:00:00Z"
    end: "2026-01-15T11:00:00Z"
    source: fd00::/8
"""


def read(text: str = TRUTH) -> Truth:
    return truth_from(parse_documents(text, "truth.yml")[0])


def alert(rule: str, seconds: float, group: dict[str, Any], **flow: Any) -> Alert:
    """An alert that crosses `seconds` after ten o'clock."""
    time = TEN + round(seconds * SECOND)
    made = pack(event_rule(rule, {"destination.port": 22})).rules[rule]
    return Alert(made, group, time, time, time, 1, ("1",), (flow,) if flow else ())


def words(judgement: Judgement) -> list[str]:
    return [verdict.word for verdict in judgement.verdicts]


def test_times_and_addresses_are_read() -> None:
    sweep, login, *_, backup = read().steps
    assert (sweep.start, sweep.end) == (TEN, TEN + 60 * SECOND)
    assert login.end == TEN + 120 * SECOND and login.technique == ""
    assert str(sweep.source) == "10.0.0.5/32" and str(backup.source) == "fd00::/8"
    assert not backup.attack


def test_a_step_is_caught_when_every_rule_that_it_names_alerts() -> None:
    found = [alert("scan", 30, {"source.ip": "10.0.0.5"}), alert("decoy", 59, {"source.ip": "10.0.0.5"})]
    judgement = judge(found, read())
    assert words(judgement) == ["caught", "no rule", "missed scan", "everyday"]
    assert [v.step.id for v in judgement.caught] == ["sweep"]
    assert [v.step.id for v in judgement.missed] == ["pivot"]
    assert [v.step.id for v in judgement.without_rule] == ["quiet_login"]
    assert not judgement.false and not judgement.passed


def test_one_of_two_rules_is_not_enough() -> None:
    judgement = judge([alert("scan", 30, {"source.ip": "10.0.0.5"})], read())
    assert judgement.verdicts[0].missed == ("decoy",) and judgement.verdicts[0].alerts.keys() == {"scan"}


def test_all_caught_and_nothing_false_passes() -> None:
    group = {"source.ip": "10.0.0.5"}
    assert judge([alert("scan", 1, group), alert("decoy", 1, group), alert("scan", 181, group)], read()).passed


@pytest.mark.parametrize("late", [60 + SLACK / SECOND, -SLACK / SECOND])
def test_the_crossing_may_be_off_by_the_slack(late: float) -> None:
    assert not judge([alert("scan", late, {"source.ip": "10.0.0.5"})], read()).false
    further = late + 0.001 if late > 0 else late - 0.001
    assert judge([alert("scan", further, {"source.ip": "10.0.0.5"})], read()).false


def test_between_two_steps_the_nearer_has_the_alert() -> None:
    near = TRUTH.replace("10:03:00Z", "10:01:06Z").replace("10:03:10Z", "10:01:20Z")
    judgement = judge([alert("scan", 64, {"source.ip": "10.0.0.5"})], read(near))
    assert [v.alerts.keys() for v in judgement.verdicts if v.alerts] == [{"scan"}]
    assert judgement.verdicts[2].word == "caught"


@pytest.mark.parametrize(("group", "flow", "belongs"), [
    ({"source.ip": "10.0.0.5"}, {}, True),
    ({"pivot": "10.1.0.7"}, {}, True),                      # a destination, in the middle of a chain
    ({"destination.port": 22}, {"source.ip": "10.0.0.5"}, True),
    ({"source.ip": "10.0.0.6"}, {"destination.ip": "10.1.0.7"}, False),     # somebody else at the same destination
    ({"source.ip": "10.0.0.6"}, {}, False),
    ({"source.ip": "::ffff:10.0.0.5"}, {}, False),
    ({}, {}, False),
])
def test_who_must_be_in_the_alert(group: dict[str, Any], flow: dict[str, Any], belongs: bool) -> None:
    assert bool(judge([alert("scan", 30, group, **flow)], read()).false) is not belongs


def test_an_alert_of_a_rule_that_the_step_does_not_name_is_false() -> None:
    assert judge([alert("other", 30, {"source.ip": "10.0.0.5"})], read()).false


def test_an_alert_on_everyday_traffic_is_false() -> None:
    assert judge([alert("scan", 900, {"source.ip": "fd00::1"})], read()).false


@pytest.mark.parametrize(("old", "new", "code"), [
    ('"2026-01-15T10:00:00.000Z"', '"2026-02-30T10:00:00Z"', "truth/bad-time"),
    ('"2026-01-15T10:01:00.000Z"', '"2026-01-15T09:59:00Z"', "truth/ends-before-start"),
    ("source: 10.0.0.5\n", "source: 10.0.0.555\n", "truth/bad-address"),
    ("id: pivot", "id: sweep", "truth/duplicate-id"),
])
def test_what_cannot_be_true_is_a_problem(old: str, new: str, code: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(TRUTH.replace(old, new))
    assert {problem.code for problem in caught.value.problems} == {code}
    assert all(problem.location and problem.location.line for problem in caught.value.problems)


@pytest.mark.parametrize(("old", "new", "code"), [
    ('"2026-01-15T09:00:00Z"\nend', '"15 January"\nend', "truth/bad-value"),
    ("tool: nmap", "tol: nmap", "truth/unknown-key"),
    ("kind: benign", "kind: bening", "truth/bad-value"),
    ("    source: fd00::/8\n", "", "truth/missing-key"),
])
def test_the_schema_is_checked(tmp_path: Path, old: str, new: str, code: str) -> None:
    path = tmp_path / "truth.yml"
    path.write_text(TRUTH.replace(old, new), encoding="utf-8")
    with pytest.raises(Rejected) as caught:
        load_truth(path)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="path/missing"):
        load_truth(tmp_path / "truth.yml")
    with pytest.raises(WorldFailed):
        load_truth(tmp_path)

"""The fifteen faults of the official converters: each is still there, and ours does not have it.

A test that says a fault is mended means a new release: read its output, take the entry out of faults.yml or change
it, and make docs/stock_converters.md again with `make golden`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sigma.data import mitre_attack

from ewdetect.load import load_attack, load_pack
from ewdetect.plan import seconds
from ewdetect.problems import Rejected
from tests.faults import stock
from tests.faults.catalogue import Close, Fault, Ours, Run, Stock, close_behind, faults, tactics
from tests.faults.executed import ours_on, reference, stock_on
from tests.world import fields

ENGINES = ("spl", "lucene", "esql")


def cases(part: str) -> list[Any]:
    """One parameter for each item of a part, named by its fault."""
    named = [*((str(fault.number), fault) for fault in faults()), *((entry.title, entry) for entry in close_behind())]
    return [pytest.param(fault, item, id=f"{name}-{item.name if isinstance(item, Run) else item.to}-{number}")
            for name, fault in named for number, item in enumerate(getattr(fault, part))]


def test_there_are_fifteen() -> None:
    assert [fault.number for fault in faults()] == list(range(1, 16))
    assert all(fault.stock and fault.ours for fault in faults())


def test_every_fault_is_executed() -> None:
    """All but the two that are about deployed rules, which no engine here executes."""
    assert [fault.number for fault in faults() if not fault.runs] == [2, 14]


@pytest.mark.parametrize(("fault", "item"), cases("stock"))
def test_the_fault_is_still_there(fault: Fault | Close, item: Stock) -> None:
    assert item.shows
    assert item.mended() == [], f"a release has mended `{fault.title}`: {item.outputs()}"


@pytest.mark.parametrize(("fault", "item"), cases("ours"))
def test_ours_does_not_have_it(fault: Fault | Close, item: Ours) -> None:
    result, allowed = item.result(), item.refused or item.may_refuse
    assert item.has or item.never or item.scheduled or allowed
    if result.refusal:
        assert allowed and re.search(allowed, result.refusal), result.refusal
        return
    assert not item.refused, f"`{fault.title}`: it converts by now"
    assert [pattern for pattern in item.has if not re.search(pattern, result.text)] == [], result.text
    assert [pattern for pattern in item.never if re.search(pattern, result.text)] == [], result.text
    if item.to == "esql" and item.form == "query":
        assert re.search(r"\| KEEP _id, _index,", result.text)
        assert not re.search(r"(?i)date_trunc|bucket\(|count_distinct\([^(),]+, *[a-z]", result.text)
    if item.threat:
        assert tactics(json.loads(result.text)["threat"]) == item.threat
    if item.scheduled:
        assert result.schedule
        at, window = result.schedule, 0 if item.window == "0s" else seconds(item.window)
        assert at.window == window and at.period >= 300 and at.delay == (600 if item.of == "zeek_conn" else 0)
        if item.form == "rule":
            look_back = re.fullmatch(r"now-([0-9]+)s", json.loads(result.text)["from"])
            assert look_back and int(look_back[1]) >= window + at.period + at.delay


@pytest.mark.parametrize(("fault", "run"), cases("runs"))
def test_executed(fault: Fault | Close, run: Run) -> None:
    assert len(reference(run)) == run.alerts
    found = {to: ours_on(run, to) for to in ENGINES}
    assert found["spl"] is not None
    assert {count for count in found.values() if count is not None} == {run.alerts}, found
    assert {to: stock_on(run, fault.stock, to) for to in run.stock} == run.stock


def test_executed_faults_differ() -> None:
    """Where a stock output is executed, some run shows the fault and, but for errors, some run agrees."""
    for fault in faults():
        told = [(run.alerts, result) for run in fault.runs for result in run.stock.values()]
        assert not told or any(alerts != result for alerts, result in told), fault.number


@pytest.mark.parametrize("entry", [entry for entry in close_behind() if entry.file], ids=lambda entry: entry.title)
def test_a_file_is_rejected(entry: Close, tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_text(entry.file, encoding="utf-8")
    with pytest.raises(Rejected) as caught:
        load_pack([path], fields())
    [problem] = caught.value.problems
    assert problem.code == entry.code and problem.location


def test_every_lesser_fault_has_an_answer() -> None:
    assert all(entry.stock and (entry.ours or entry.file) for entry in close_behind())


def test_kibana_rules_need_a_download() -> None:
    """Part of fault 14: ATT&CK is fetched before a rule is looked at, tags or not."""
    place = stock.attack_from_a_file()
    mitre_attack.set_url(place + ".gone")
    try:
        with pytest.raises(RuntimeError, match="Failed to load MITRE ATT&CK data"):
            stock.converted("esql", ["denied_flow"], "ecs", "siem_rule_ndjson")
    finally:
        mitre_attack.set_url(place)
    assert load_attack()["T1021.002"].tactics == ("lateral-movement",)

"""The fifteen faults of the official converters: each is still there, and ours does not have it.

A test that says a fault is mended means a new release: read its output, take the entry out of faults.yml or change
it, and make docs/stock_converters.md again with `make golden`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from ewdetect.plan import seconds
from tests.faults.catalogue import Fault, Ours, Run, Stock, faults
from tests.faults.executed import ours_on, reference, stock_on

ENGINES = ("spl", "lucene", "esql")


def cases(part: str) -> list[Any]:
    """One parameter for each item of a part, named by its fault."""
    return [pytest.param(fault, item, id=f"{fault.number}-{item.name if isinstance(item, Run) else item.to}-{number}")
            for fault in faults() for number, item in enumerate(getattr(fault, part))]


def test_there_are_fifteen() -> None:
    assert [fault.number for fault in faults()] == list(range(1, 16))
    assert all(fault.stock and fault.ours for fault in faults())


def test_every_fault_is_executed() -> None:
    """All but the two that are about deployed rules, which no engine here executes."""
    assert [fault.number for fault in faults() if not fault.runs] == [2, 14]


@pytest.mark.parametrize(("fault", "item"), cases("stock"))
def test_the_fault_is_still_there(fault: Fault, item: Stock) -> None:
    assert item.shows
    assert item.mended() == [], f"a release has mended fault {fault.number}: {item.outputs()}"


@pytest.mark.parametrize(("fault", "item"), cases("ours"))
def test_ours_does_not_have_it(fault: Fault, item: Ours) -> None:
    result, allowed = item.result(), item.refused or item.may_refuse
    assert item.has or item.never or item.scheduled or allowed
    if result.refusal:
        assert allowed and re.search(allowed, result.refusal), result.refusal
        return
    assert not item.refused, f"fault {fault.number}: it converts by now"
    assert [pattern for pattern in item.has if not re.search(pattern, result.text)] == [], result.text
    assert [pattern for pattern in item.never if re.search(pattern, result.text)] == [], result.text
    if item.scheduled:
        assert result.schedule and result.schedule.window == (0 if item.window == "0s" else seconds(item.window))
        assert result.schedule.period >= 300 and result.schedule.delay == (600 if item.of == "zeek_conn" else 0)


@pytest.mark.parametrize(("fault", "run"), cases("runs"))
def test_executed(fault: Fault, run: Run) -> None:
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

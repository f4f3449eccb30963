"""What a scheduled search knows of its own run, and how it reads times: `addinfo`, `strptime`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.engines.spl import SplError, SplSyntaxError, Undocumented, UnknownSpl, run
from tests.engines.spl.times import SEARCHER

HEARTBEATS = [{"_time": 1000, "HOST": "a"}, {"_time": 1055, "HOST": "b"}, {"_time": 1010, "HOST": "b"}]


def test_which_heartbeats_are_late() -> None:
    """Page "addinfo", example 2: the age of the latest event of each host, seen from the end of the time range."""
    spl = ("search * | stats latest(_time) AS latest_time BY HOST | addinfo | eval latest_age=info_max_time-latest_time"
           " | fields - info_* | where latest_age > 42")
    assert run(spl, HEARTBEATS, now=1065, earliest=0, latest=1060) == [
        {"HOST": "a", "latest_time": 1000, "latest_age": 60}]


def test_addinfo_over_all_time_gives_no_number() -> None:
    """The same page: the example does not work over all time, because info_max_time is +infinity there."""
    spl = "search * | addinfo | eval age=info_max_time-_time | where age >= 0"
    assert run(spl, HEARTBEATS, now=1065) == []
    [row, *_] = run("search * | addinfo", HEARTBEATS, now=1065)
    assert row["info_max_time"] == "+Infinity" and row["info_min_time"] == 0 and row["info_search_time"] == 1065


def test_addinfo_takes_nothing_and_needs_a_run() -> None:
    with pytest.raises(SplSyntaxError):
        run("search * | addinfo 5", HEARTBEATS, now=1)
    with pytest.raises(SplError):
        run("search * | addinfo", HEARTBEATS)


@pytest.mark.parametrize(("text", "form", "seconds"), [
    ("1970-01-01T00:01:40+0000", "%Y-%m-%dT%H:%M:%S%z", 100),
    ("1970-01-01T01:01:40.250000+0100", "%Y-%m-%dT%H:%M:%S.%6N%z", Decimal("100.25")),
    ("2026-11-24T00:19:31.853881+0000", "%Y-%m-%dT%H:%M:%S.%6N%z", Decimal("1795479571.853881")),
    ("1970-01-01 00:00:00 Z", "%F %T %z", 0), ("100", "%s", 100)])
def test_strptime(text: str, form: str, seconds: Any) -> None:
    """Pages "Date and Time functions" and "Date and time format variables"."""
    [row] = run(f'search * | eval t=strptime(s,"{form}")', [{"s": text}])
    assert row["t"] == seconds


@pytest.mark.parametrize("text", ["yesterday", "1970-13-01T00:00:00.000000+0000", "1970-01-01T00:00:00+0000"])
def test_strptime_of_another_form_is_null(text: str) -> None:
    assert run('search * | eval t=strptime(s,"%Y-%m-%dT%H:%M:%S.%6N%z")', [{"s": text}]) == [{"s": text}]


def test_strptime_without_a_zone_depends_on_who_searches() -> None:
    token = SEARCHER.set("+0100")
    try:
        [row] = run('search * | eval t=strptime(s,"%Y/%m/%d %H:%M:%S")', [{"s": "1970/01/01 01:01:40"}])
    finally:
        SEARCHER.reset(token)
    assert row["t"] == 100


def test_what_strptime_leaves_open() -> None:
    with pytest.raises(Undocumented):
        run('search * | eval t=strptime(s,"%Y-%m-%d")', [{"s": "1970-01-01"}])
    with pytest.raises(UnknownSpl):
        run('search * | eval t=strptime(s,"%c %z")', [{"s": "x"}])

"""`stats`, `eventstats` and `streamstats`, pages of the same names; examples with tables in our own words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.engines.spl import SplError, Undocumented, run
from tests.engines.spl.tables_of import column, table

HOSTS = table("""
host action   bytes
x    logon    100
y    start    200
x    download 400
x    reboot   50
y    logon    150
x    logon    100
""")


def stats(aggregates: str, events: list[dict[str, Any]] = HOSTS) -> Any:
    return run(f"* | stats {aggregates} AS v", events)[0].get("v")


@pytest.mark.parametrize(("aggregate", "wanted"), [
    ("count", 6), ("count(bytes)", 6), ("dc(host)", 2), ("sum(bytes)", 1000), ("min(bytes)", "50"),
    ("max(bytes)", "400"), ("range(bytes)", 350), ("perc50(bytes)", 100),
    ("p95(bytes)", 400), ("exactperc25(bytes)", 100), ("values(action)", ["download", "logon", "reboot", "start"]),
    ("list(host)", ["x", "y", "x", "x", "y", "x"]), ("first(action)", "logon"), ("last(bytes)", "100"),
    ('count(eval(action="logon"))', 3), ("sum(eval(bytes*2))", 2000),
])
def test_functions(aggregate: str, wanted: Any) -> None:
    """Page "Statistical and charting functions"; percentiles are of the nearest rank (limits.conf: perc_method)."""
    assert stats(aggregate) == wanted


def test_median() -> None:
    """Page "Aggregate functions": the middle value; which one between two middle values is left open here."""
    assert stats("median(bytes)", HOSTS[:3]) == 200
    with pytest.raises(Undocumented, match="even"):
        stats("median(bytes)")


def test_deviation() -> None:
    """Page "Aggregate functions": stdev of the sample, stdevp of all."""
    events = table("n\n2\n4\n4\n4\n5\n5\n7\n9")
    assert stats("stdevp(n)", events) == 2
    assert stats("var(n)", events) == Decimal(32) / 7
    assert stats("avg(n)", events) == 5


def test_distinct_values_are_texts() -> None:
    """Page "Statistical and charting functions": 1, 1.0 and 01 are three for dc, one for max."""
    events = table("n\n1\n1.0\n01")
    assert stats("dc(n)", events) == 3
    assert stats("values(n)", events) == ["01", "1", "1.0"]


def test_numbers_skip_texts() -> None:
    assert stats("sum(n)", table("n\n1\nx\n2")) == 3


def test_null_by_field_drops_the_row() -> None:
    """Page "stats": rows that lack a BY field are in no group; a multivalue BY field is in several."""
    events = table("g n\na 1\n. 2\na|b 3")
    assert run("* | stats sum(n) AS s count BY g", events) == [
        {"g": "a", "s": 4, "count": 2}, {"g": "b", "s": 3, "count": 1}]


def test_time_functions() -> None:
    """Page "Time functions": by _time, not by the order of rows."""
    events = [{"_time": t, "v": v} for t, v in ((200, "b"), (300, "c"), (100, "a"))]
    assert stats("earliest(v)", events) == "a" and stats("latest(v)", events) == "c"
    assert stats("first(v)", events) == "c"     # `search` gives the newest first


def test_nothing_to_count() -> None:
    assert run("* | stats count dc(x) AS d", []) == [{"count": 0, "d": 0}]
    assert run("* | stats count BY x", []) == []


def test_eventstats_keeps_rows() -> None:
    """Page "eventstats": the group's result stands in each of its rows."""
    rows = run("* | eventstats avg(bytes) AS mean BY host", [*HOSTS, {"bytes": "7"}])
    assert column(rows, "mean") == [Decimal("162.5"), 175, Decimal("162.5"), Decimal("162.5"), 175,
                                    Decimal("162.5"), None]


def streams(options: str, events: list[dict[str, Any]] = HOSTS) -> list[Any]:
    return column(run(f"* | streamstats {options}", events), "v")


def test_streamstats_window() -> None:
    """Page "streamstats command: Overview" (SPL2), a window of 3 that includes the current event."""
    assert [round(Decimal(v), 2) for v in streams("window=3 avg(bytes) AS v")] == [
        100, 150, Decimal("233.33"), Decimal("216.67"), 200, 100]


def test_streamstats_running() -> None:
    """Pages "streamstats" and "streamstats command: Examples": running counts, by group, without the current."""
    assert streams("count AS v") == [1, 2, 3, 4, 5, 6]
    assert streams("count AS v BY host") == [1, 1, 2, 3, 2, 4]
    assert streams("current=f sum(bytes) AS v") == [None, 100, 300, 700, 750, 900]
    assert streams("current=f last(action) AS v BY host") == [None, None, "logon", "download", "start", "reboot"]
    assert streams("first(action) AS v BY host") == ["logon", "start", "logon", "logon", "start", "logon"]


def test_streamstats_global() -> None:
    """Page "streamstats": with BY, one window for all events, or with global=f one for each group."""
    assert streams("window=2 sum(bytes) AS v BY host") == [100, 200, 400, 450, 150, 100]
    assert streams("window=2 global=f sum(bytes) AS v BY host") == [100, 200, 500, 450, 350, 150]
    assert streams("current=f window=1 global=f last(bytes) AS v BY host") == [None, None, "100", "400", "200", "50"]


def test_streamstats_resets() -> None:
    """Page "streamstats": before an event, after one, and when the group changes."""
    assert streams('reset_before=(action="logon") count AS v') == [1, 2, 3, 4, 1, 1]
    assert streams('reset_after=("action=\\"download\\"") count AS v') == [1, 2, 3, 1, 2, 3]
    assert streams("reset_on_change=true count AS v BY host") == [1, 1, 1, 2, 1, 1]


def test_streamstats_time_window() -> None:
    """Page "streamstats": events sorted by _time; ascending looks back, descending looks ahead."""
    events = [{"_time": t} for t in (0, 3, 5, 10, 14)]
    assert column(run("* | sort 0 _time | streamstats time_window=6s count AS v", events), "v") == [1, 2, 3, 2, 2]
    assert column(run("* | sort 0 - _time | streamstats time_window=6s count AS v", events), "v") == [1, 2, 2, 2, 3]
    with pytest.raises(SplError, match="not sorted"):
        run("* | sort 0 - x | streamstats time_window=6s count", [{"_time": t, "x": x} for t, x in (
            (1, 2), (2, 9), (3, 1))])
    with pytest.raises(Undocumented, match="edge"):
        run("* | streamstats time_window=5s count", [{"_time": 0}, {"_time": 5}])


def test_streamstats_without_by_field() -> None:
    assert streams("count AS v BY g", [{"g": "a"}, {"h": "b"}, {"g": "a"}]) == [1, None, 2]

"""The window templates of the knowledge base (splunk.md §4.2), executed and held against a brute-force definition.

A window is (t-T, t] and slides over every event's time; `ordered` means strictly earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.engines.spl import Macro, network_traffic, parse, run

Flow = tuple[int, str, str]         # second, source, destination (or step)
T = 10
PERIOD = 4
MODEL = network_traffic({"src": "src", "dest": "dest", "bytes": "bytes"})
MACROS = {"ew_tstats": Macro("summariesonly=false allow_old_summaries=true fillnull_value=null")}
HEAD = ("| tstats `ew_tstats` {what} from datamodel=Network_Traffic.All_Traffic by _time span=1s {by}"
        " | rename All_Traffic.* AS *")

DISTINCT = HEAD.format(what="count", by="All_Traffic.src All_Traffic.dest") + (
    ' | where src!="unknown" AND dest!="unknown"'
    " | sort 0 src dest _time"
    " | streamstats current=f window=1 global=f last(_time) AS prev BY src dest"
    " | sort 0 src dest -_time"
    " | streamstats current=f window=1 global=f last(_time) AS next BY src dest"
    f" | eval open=if(isnull(prev) OR _time-prev>={T},1,0), close=if(isnull(next) OR next-_time>={T},1,0)"
    " | where open=1 OR close=1"
    f' | eval d=mvappend(if(open=1,_time.":1",null()), if(close=1,(_time+{T}).":-1",null())) | mvexpand d'
    ' | eval _time=tonumber(mvindex(split(d,":"),0)), delta=tonumber(mvindex(split(d,":"),1))'
    " | stats sum(delta) AS delta BY src _time"
    " | sort 0 src _time | streamstats sum(delta) AS value_count BY src"
    " | where value_count>=1 | stats max(value_count) AS value_count min(_time) AS first_hit BY src")
SWEEP = HEAD + (
    ' | eval edge=mvappend("in","out") | mvexpand edge'
    f' | eval delta=if(edge="in",{{amount}},-{{amount}}), _time=if(edge="in",_time,_time+{T})'
    " | stats sum(delta) AS delta BY src _time"
    " | sort 0 src _time | streamstats sum(delta) AS value BY src"
    " | stats max(value) AS value BY src")
COUNT = SWEEP.format(what="count", by="All_Traffic.src", amount="count")
SUM = SWEEP.format(what="sum(All_Traffic.bytes) AS total", by="All_Traffic.src", amount="total")
# As §4.2 words it: a running maximum of the first step's time, and `<=`.
ORDERED = HEAD.format(what="count", by="All_Traffic.src All_Traffic.dest") + (
    " | sort 0 src _time"
    ' | streamstats current=f max(eval(if(dest=="one",_time,null()))) AS s1 BY src'
    f' | where dest="two" AND _time-s1<={T} | stats count BY src')
# The same for windows open at one end, with one row per instant.
ORDERED_STRICT = HEAD.format(what="count", by="All_Traffic.src All_Traffic.dest") + (
    ' | stats max(eval(if(dest=="one",1,0))) AS one max(eval(if(dest=="two",1,0))) AS two BY src _time'
    " | sort 0 src _time"
    " | streamstats current=f max(eval(if(one==1,_time,null()))) AS s1 BY src"
    f" | where two=1 AND _time-s1<{T} | stats count BY src")
FLOWS = st.lists(st.tuples(st.integers(0, 45), st.sampled_from("ab"), st.sampled_from("vwxyz")), max_size=25)
STEPS = st.lists(st.tuples(st.integers(0, 45), st.sampled_from("ab"), st.sampled_from(("one", "two"))), max_size=15)
# Five destinations in nine seconds, across a bucket's edge at 10, 20, 30 and 60.
BURST: list[Flow] = [(56 + 2 * n, "a", "vwxyz"[n]) for n in range(5)]


def results(spl: str, flows: Sequence[Flow], field: str, seed: int = 0) -> dict[str, Any]:
    events = [{"_time": t, "src": s, "dest": d, "bytes": t + 1} for t, s, d in flows]
    return {row["src"]: row[field] for row in run(spl, events, macros=MACROS, datamodels=MODEL, shuffle=seed)}


def best(flows: Sequence[Flow], value: Callable[[list[Flow]], int]) -> dict[str, int]:
    """The greatest value over all windows (t-T, t], by source."""
    return {source: max(value([f for f in flows if f[1] == source and t - T < f[0] <= t])
                        for t in {f[0] for f in flows if f[1] == source})
            for source in {f[1] for f in flows}}


def ordered(flows: Sequence[Flow]) -> set[str]:
    return {b[1] for a in flows for b in flows if a[1] == b[1] and a[2] == "one" and b[2] == "two"
            and 0 < b[0] - a[0] < T}


@given(FLOWS, st.integers(0, 9))
@example(BURST, 0)
@example([(0, "a", "v"), (T, "a", "v"), (T, "a", "w"), (2 * T - 1, "a", "x")], 0)
@settings(max_examples=150, deadline=None)
def test_distinct_count_is_exact(flows: list[Flow], seed: int) -> None:
    assert results(DISTINCT, flows, "value_count", seed) == best(flows, lambda w: len({f[2] for f in w}))


@given(FLOWS)
@settings(max_examples=50, deadline=None)
def test_first_hit_is_the_first_crossing(flows: list[Flow]) -> None:
    found = results(DISTINCT.replace("value_count>=1", "value_count>=3"), flows, "first_hit")
    for source in "ab":
        times = sorted(t for t, s, _ in flows if s == source
                       and len({f[2] for f in flows if f[1] == source and t - T < f[0] <= t}) >= 3)
        assert found.get(source) == (times[0] if times else None)


@given(FLOWS, st.integers(0, 9))
@example(BURST, 0)
@settings(max_examples=100, deadline=None)
def test_event_count_and_sum_are_exact(flows: list[Flow], seed: int) -> None:
    assert results(COUNT, flows, "value", seed) == best(flows, len)
    assert results(SUM, flows, "value", seed) == best(flows, lambda w: sum(f[0] + 1 for f in w))


@given(STEPS, st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_ordered_steps_are_exact_with_one_row_per_instant(flows: list[Flow], seed: int) -> None:
    assert set(results(ORDERED_STRICT, flows, "count", seed)) == ordered(flows)


def hits(flows: Sequence[Flow], keep: str = "", now: int | None = None) -> list[tuple[str, int]]:
    """Instants at which a source has three destinations, as one run of a schedule sees them, or one over all time."""
    spl = DISTINCT.partition(" | where value_count>=1")[0] + f" | where value_count>=3 {keep}"
    events = [{"_time": t, "src": s, "dest": d} for t, s, d in flows]
    rows = run(spl, events, macros=MACROS, datamodels=MODEL, now=now, latest=now,
               earliest=None if now is None else now - T - PERIOD)
    return [(row["src"], row["_time"]) for row in rows]


@given(FLOWS)
@settings(max_examples=60, deadline=None)
def test_a_schedule_sees_each_hit_once(flows: list[Flow]) -> None:
    """§4.3 with window ends in [now-P, now), the side on which `latest` is open."""
    seen = [hit for now in range(0, 80, PERIOD)
            for hit in hits(flows, f"AND _time>={now - PERIOD} AND _time<{now}", now)]
    assert sorted(seen) == sorted(hits(flows))


def test_a_schedule_open_on_the_other_side_loses_a_hit() -> None:
    """§4.3 says (now-lag-P, now-lag]: the event at `latest` is not read, and the next run does not report it."""
    flows: list[Flow] = [(2 * PERIOD, "a", d) for d in "vwx"]
    assert hits(flows)
    assert not [hit for now in range(0, 80, PERIOD)
                for hit in hits(flows, f"AND _time>{now - PERIOD} AND _time<={now}", now) if hit[1] == 2 * PERIOD]


def test_ordered_steps_as_worded_are_not_exact() -> None:
    """Steps exactly T apart fire though (t-T, t] excludes them, and so do steps of one instant, by chance."""
    apart = [(0, "a", "one"), (T, "a", "two")]
    assert results(ORDERED, apart, "count") and not ordered(apart)
    together = [(5, "a", "one"), (5, "a", "two")]
    assert len({bool(results(ORDERED, together, "count", seed)) for seed in range(20)}) == 2


def test_a_tumbling_bucket_misses_the_burst() -> None:
    tumbling = (HEAD.format(what="count", by="All_Traffic.src All_Traffic.dest")
                + f" | bin _time span={T}s | stats dc(dest) AS value_count BY src _time"
                " | stats max(value_count) AS value_count BY src")
    assert results(DISTINCT, BURST, "value_count") == {"a": 5}
    assert results(tumbling, BURST, "value_count") == {"a": 3}


def test_whole_seconds_lose_what_is_between() -> None:
    """`span=1s` moves times down: 0.9 and T+0.1 lie T-0.8 apart, and fall in one window no more."""
    flows: Any = [(0.9, "a", "v"), (T + 0.1, "a", "w")]
    assert results(DISTINCT, flows, "value_count") == {"a": 1}
    assert best(flows, lambda w: len({f[2] for f in w})) == {"a": 2}


@pytest.mark.parametrize("spl", [DISTINCT, COUNT, SUM, ORDERED, ORDERED_STRICT])
def test_templates_are_one_line_and_use_no_forbidden_command(spl: str) -> None:
    names = parse(spl, MACROS).names
    assert "\n" not in spl and names[0] == "tstats" and not {"join", "transaction", "append"} & set(names)

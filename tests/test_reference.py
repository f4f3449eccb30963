"""The engine against docs/semantics.md written down naively, over random flows that sit on every edge."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ewdetect.plan import OPERATORS
from tests.world import DAY, alerts, correlation, event_rule, flow

T = 10                                  # seconds of every window here
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Flow = Mapping[str, Any]
Episode = tuple[tuple[Any, ...], int, frozenset[str]]       # group, crossing, evidence

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b,
    "eq": lambda a, b: a == b, "neq": lambda a, b: a != b}


def test_every_operator_is_compared() -> None:
    assert COMPARE.keys() == OPERATORS.keys()


# Times on a coarse grid, so that ties, exact edges and gaps of exactly T are common; one microsecond off as well.
TIMES = st.builds(lambda second, off: second + off / 1_000_000, st.integers(0, 45), st.sampled_from([0, 0, 0, -1, 1]))
FLOWS = st.lists(st.fixed_dictionaries({
    "at": TIMES.map(lambda t: abs(t)), "source": st.sampled_from(["10.10.0.1", "10.10.0.2", "fd00:10::1"]),
    "destination": st.sampled_from(["10.30.0.1", "10.30.0.2", "10.30.0.3", "fd00:30::4"]),
    "port": st.sampled_from([22, 445, None]), "bytes": st.sampled_from([0, 1, 5, 50, None])}), max_size=25)


def made(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [flow(i, r["at"], source_ip=r["source"], destination_ip=r["destination"], destination_port=r["port"],
                 source_bytes=r["bytes"]) for i, r in enumerate(rows)]


def episodes(flows: Sequence[Flow], group: Callable[[Flow], tuple[Any, ...]], holds: Callable[[list[Flow]], bool],
             ) -> Iterator[Episode]:
    """The definition. A window is (t - T, t]; just before t it is [t - T, t)."""
    for key in dict.fromkeys(group(f) for f in flows if None not in group(f)):
        mine = [f for f in flows if group(f) == key]
        before = False
        for t in sorted({f["event.start"] for f in mine}):
            inside = [f for f in mine if t - T * 1_000_000 < f["event.start"] <= t]
            just_before = [f for f in mine if t - T * 1_000_000 <= f["event.start"] < t]
            now = holds(inside)
            if now and not (before and holds(just_before)):
                yield key, t, frozenset(f["event.id"] for f in inside)
            before = now


def found(flows: Sequence[Flow], documents: Sequence[Mapping[str, Any]], rule: str) -> list[Episode]:
    return sorted((tuple(a.group.values()), a.crossing, frozenset(a.evidence)) for a in alerts(flows, documents, rule))


def by_source(f: Flow) -> tuple[Any, ...]:
    return (f["source.ip"],)


MEASURES: Mapping[str, Callable[[list[Flow]], float | None]] = {
    "event_count": len,
    "value_count": lambda w: len({f["destination.port"] for f in w}),
    "value_sum": lambda w: sum(f["source.bytes"] for f in w),
    "value_avg": lambda w: statistics.fmean(f["source.bytes"] for f in w) if w else None,
    "value_median": lambda w: statistics.median(f["source.bytes"] for f in w) if w else None,
}
MEASURED = {"event_count": None, "value_count": "destination.port"}


@pytest.mark.parametrize("kind", MEASURES)
@SETTINGS
@given(rows=FLOWS, operator=st.sampled_from(sorted(OPERATORS)), threshold=st.integers(1, 6))
def test_a_measure_in_a_sliding_window(kind: str, rows: list[dict[str, Any]], operator: str, threshold: int) -> None:
    field = MEASURED.get(kind, "source.bytes")
    flows = made(rows)
    counted = [f for f in flows if field is None or f[field] is not None]

    def holds(window: list[Flow]) -> bool:
        value = MEASURES[kind](window)
        return value is not None and COMPARE[operator](value, threshold)

    condition = {operator: threshold} | ({"field": field} if field else {})
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("windowed", kind, ["base"], f"{T}s", group_by=["source.ip"], condition=condition)]
    assert found(flows, documents, "windowed") == sorted(episodes(counted, by_source, holds))


@SETTINGS
@given(rows=FLOWS, needed=st.integers(1, 2))
def test_temporal_counts_the_rules_that_hit(rows: list[dict[str, Any]], needed: int) -> None:
    flows = made(rows)
    wanted = [f for f in flows if f["destination.port"] == 22 or (f["source.bytes"] or 0) >= 5]

    def holds(window: list[Flow]) -> bool:
        return (
            any(f["destination.port"] == 22 for f in window) + any((f["source.bytes"] or 0) >= 5 for f in window)
            >= needed
        )

    documents = [
        event_rule("ssh", {"destination.port": 22}),
        event_rule("big", {"source.bytes|gte": 5}),
        correlation("both", "temporal", ["ssh", "big"], f"{T}s", group_by=["source.ip"], condition={"gte": needed}),
    ]
    assert found(flows, documents, "both") == sorted(episodes(wanted, by_source, holds))


@SETTINGS
@given(rows=FLOWS, steps=st.permutations(["ssh", "big", "smb"]))
def test_ordered_steps_are_strictly_later_than_each_other(rows: list[dict[str, Any]], steps: list[str]) -> None:
    tests: Mapping[str, Callable[[Flow], bool]] = {
        "ssh": lambda f: f["destination.port"] == 22, "smb": lambda f: f["destination.port"] == 445,
        "big": lambda f: (f["source.bytes"] or 0) >= 5}
    flows = made(rows)
    wanted = [f for f in flows if any(test(f) for test in tests.values())]

    def holds(window: list[Flow]) -> bool:
        reached = -1
        for step in steps:
            later = [f["event.start"] for f in window if tests[step](f) and f["event.start"] > reached]
            if not later:
                return False
            reached = min(later)
        return True

    documents = [event_rule("ssh", {"destination.port": 22}), event_rule("smb", {"destination.port": 445}),
                 event_rule("big", {"source.bytes|gte": 5}),
                 correlation("chain", "temporal_ordered", steps, f"{T}s", group_by=["source.ip"])]
    assert found(flows, documents, "chain") == sorted(episodes(wanted, by_source, holds))


HOPS = st.lists(st.tuples(TIMES.map(abs), st.sampled_from("ABC"), st.sampled_from("ABC")), max_size=14)
HOSTS = {"A": "10.30.0.1", "B": "10.30.0.2", "C": "fd00:30::3"}


@SETTINGS
@given(hops=HOPS)
def test_a_pivot_goes_on_to_another_host(hops: list[tuple[float, str, str]]) -> None:
    flows = [flow(i, t, source_ip=HOSTS[a], destination_ip=HOSTS[b]) for i, (t, a, b) in enumerate(hops)]

    def expected() -> Iterator[Episode]:
        for pivot in HOSTS.values():
            first = [f for f in flows if f["destination.ip"] == pivot]
            second = [f for f in flows if f["source.ip"] == pivot]

            def chained(
                low: int, high: int, first: list[dict[str, Any]] = first, second: list[dict[str, Any]] = second
            ) -> bool:
                return any(low <= a["event.start"] < b["event.start"] <= high and a["source.ip"] != b["destination.ip"]
                           for a in first for b in second)

            before = False
            for t in sorted({f["event.start"] for f in first + second}):
                now = chained(t - T * 1_000_000 + 1, t)
                if now and not (before and chained(t - T * 1_000_000, t - 1)):
                    inside = frozenset(
                        f["event.id"] for f in first + second if t - T * 1_000_000 < f["event.start"] <= t
                    )
                    yield (pivot,), t, inside
                before = now

    documents = [event_rule("one", {"destination.port": 445}), event_rule("two", {"destination.port": 445}),
                 correlation("pivot", "temporal_ordered", ["one", "two"], f"{T}s", group_by=["through"],
                             aliases={"through": {"one": "destination.ip", "two": "source.ip"},
                                      "peer": {"one": "source.ip", "two": "destination.ip"}})
                 | {"ewdetect": {"distinct": ["peer"]}}]
    assert found(flows, documents, "pivot") == sorted(expected())


@SETTINGS
@given(rows=FLOWS)
def test_a_correlation_of_a_correlation_starts_at_the_crossing(rows: list[dict[str, Any]]) -> None:
    flows = made(rows)
    inner = list(episodes(flows, by_source, lambda w: len(w) >= 2))
    outer = []
    for key in dict.fromkeys(k for k, _, _ in inner):
        mine = [(t, ids) for k, t, ids in inner if k == key]
        before = False
        for t, _ in sorted(mine, key=lambda x: x[0]):
            inside = [ids for s, ids in mine if t - 30_000_000 < s <= t]
            now = len(inside) >= 2
            if now and not (before and len([s for s, _ in mine if t - 30_000_000 <= s < t]) >= 2):
                outer.append((key, t, frozenset().union(*inside)))
            before = now
    documents = [event_rule("base", {"network.scope": "internal"}),
                 correlation("burst", "event_count", ["base"], f"{T}s", group_by=["source.ip"], condition={"gte": 2}),
                 correlation("bursts", "event_count", ["burst"], "30s", group_by=["source.ip"], condition={"gte": 2})]
    assert found(flows, documents, "bursts") == sorted(outer)


def test_suppression_is_a_count_of_one() -> None:
    rule = event_rule("touch", {"destination.port": 22}) | {
        "ewdetect": {"suppress": {"by": ["source.ip"], "for": f"{T}s"}}
    }
    flows = [flow(i, t, destination_port=22) for i, t in enumerate([0, 5, 14.999999, 25, 60])]
    assert [a.crossing - DAY for a in alerts(flows, [rule], "touch")] == [0, 25_000_000, 60_000_000]
    assert [a.end - DAY for a in alerts(flows, [rule], "touch")] == [14_999_999, 25_000_000, 60_000_000]

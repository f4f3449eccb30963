"""Converted windows and steps as scheduled searches against the reference engine, over flows that sit on every edge.

Times on a grid of minutes, so that ties, duplicates, exact edges, gaps of exactly T and bursts across the boundaries
of runs are common, one microsecond off as well; keys and measured fields are missing now and then; rows come in
another order wherever Splunk promises none. Suricata's flows come late, and out of order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR

from ewdetect.backends.splunk import period, search
from ewdetect.backends.splunk.spl import SplPrinter
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.engines import window_rules
from tests.engines.spl import run
from tests.engines.spl_documents import SECOND, events_of, models
from tests.engines.spl_parity import Hit, floored, lookup, replay, saved, told
from tests.engines.window_rules import ANY, BIG, HOSTS, MEASURES, SMB, SSH, Document, flows_at, pivot
from tests.world import DAY, correlation, event_rule, flow, office, open_office, pack, source

MINUTE = 60
T = 10 * MINUTE
NOW = DAY // SECOND + 2 * T
SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TIMES = st.builds(lambda second, off: abs(second * MINUTE + off / 1_000_000), st.integers(0, 45),
                  st.sampled_from([0, 0, 0, -1, 1]))
FLOWS = flows_at(TIMES)


def made(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [flow(i, r["at"], source_ip=r["source"], destination_ip=r["destination"], destination_port=r["port"],
                 source_bytes=r["bytes"]) for i, r in enumerate(rows)]


def resolved(asked: Document, *documents: Document, source_name: str = "flow") -> ResolvedRule:
    world = pack(*documents, asked)
    return replace(resolve_rule(world.rules[asked["name"]], world), source=source(source_name), network=office())


def both(flows: Sequence[Mapping[str, Any]], seed: int, asked: Document, *others: Document, source_name: str = "flow",
         dialect: str = "spl") -> tuple[list[Hit], ...]:
    """The alerts of Splunk over all runs of the schedule, and of the reference engine."""
    rule = resolved(asked, *others, source_name=source_name)
    found_search, query = saved(rule, dialect, "inline")
    events = events_of(source_name, flows)
    assert events is not None and query.schedule is not None
    starts = [Decimal(f["event.start"]) / SECOND for f in flows]
    _, found = replay(found_search, events, starts, query.schedule.delay, source_name, {}, seed)
    with open_office([floored(f) for f in flows] if dialect == "tstats" else flows) as engine:
        return found, told(engine.alerts(resolved(asked, *others)))


def agree(flows: Sequence[Mapping[str, Any]], seed: int, asked: Document, *others: Document, **how: str) -> None:
    found, wanted = both(flows, seed, asked, *others, **how)
    assert found == wanted


LATE = [("flow", "spl"), ("suricata_eve", "spl"), ("zeek_conn", "spl"), ("flow", "tstats")]
EDGES = [{"at": t, "source": "10.10.0.1", "destination": "10.30.0.1", "port": p, "bytes": 1}
         for t, p in ((0, 22), (T, 22), (T, 445), (2 * T - 0.000001, 22), (2 * T, 445))]


@pytest.mark.parametrize(("source_name", "dialect"), LATE)
@pytest.mark.parametrize("kind", MEASURES)
@settings(SETTINGS, max_examples=5)
@given(rows=FLOWS, operator=st.sampled_from(["gt", "gte", "eq"]), threshold=st.integers(1, 6), seed=st.integers(0, 9))
@example(rows=EDGES, operator="gte", threshold=2, seed=0)
def test_measures(kind: str, source_name: str, dialect: str, rows: list[dict[str, Any]], operator: str, threshold: int,
                  seed: int) -> None:
    name, field, keys = MEASURES[kind]
    condition = {operator: threshold} | ({"field": field} if field else {})
    grouped = {"group_by": keys} if keys else {}
    agree(made(rows), seed, correlation("windowed", name, ["any"], f"{T}s", condition=condition, **grouped), ANY,
          source_name=source_name, dialect=dialect)


@pytest.mark.parametrize("condition", [{"lt": 5}, {"lte": 5}, {"neq": 5}, {"gte": 0}])
def test_what_silence_fulfils_is_refused(condition: dict[str, int]) -> None:
    """A run cannot know whether such a condition held since long ago."""
    with pytest.raises(Rejected) as caught:
        both([], 0, correlation("few", "event_count", ["any"], f"{T}s", condition=condition), ANY)
    assert "silence fulfils" in caught.value.problems[0].message


@SETTINGS
@given(rows=FLOWS, low=st.integers(1, 3), seed=st.integers(0, 9))
def test_a_range(rows: list[dict[str, Any]], low: int, seed: int) -> None:
    agree(made(rows), seed, correlation("few", "event_count", ["any"], f"{T}s", group_by=["source.ip"],
                                        condition={"gte": low, "lt": low + 2}), ANY)


@pytest.mark.parametrize("kind", ["event_count", "value_count", "value_sum", "temporal"])
@SETTINGS
@given(rows=FLOWS, threshold=st.integers(1, 4), seed=st.integers(0, 9))
def test_an_event_that_matches_two_rules(kind: str, rows: list[dict[str, Any]], threshold: int, seed: int) -> None:
    field = {"value_count": "destination.ip", "value_sum": "source.bytes"}.get(kind)
    condition = {"gte": threshold} | ({"field": field} if field else {})
    agree(made(rows), seed, correlation("two", kind, ["ssh", "big"], f"{T}s", group_by=["source.ip"],
                                        condition=condition), SSH, BIG)


@pytest.mark.parametrize("kind", ["event_count", "temporal"])
@SETTINGS
@given(rows=FLOWS, threshold=st.integers(1, 3), seed=st.integers(0, 9))
def test_aliases_that_differ(kind: str, rows: list[dict[str, Any]], threshold: int, seed: int) -> None:
    """A host as the target of one rule and the source of another; a flow of both rules is in two groups, or in one."""
    for row in rows:
        row["destination"] = "10.10.0.1" if row["destination"] == "10.30.0.1" else row["destination"]
    agree(made(rows), seed, correlation(
        "ends", kind, ["ssh", "big"], f"{T}s", group_by=["host"], condition={"gte": threshold},
        aliases={"host": {"ssh": "destination.ip", "big": "source.ip"}}), SSH, BIG)


@SETTINGS
@given(rows=FLOWS, steps=st.permutations(["ssh", "big", "smb"]), count=st.integers(2, 3), seed=st.integers(0, 9))
def test_ordered_steps(rows: list[dict[str, Any]], steps: list[str], count: int, seed: int) -> None:
    agree(made(rows), seed, correlation("chain", "temporal_ordered", steps[:count], f"{T}s", group_by=["source.ip"]),
          SSH, BIG, SMB)


HOPS = st.lists(st.tuples(TIMES, st.sampled_from("ABCD"), st.sampled_from("ABCD")), max_size=18)


@settings(SETTINGS, max_examples=30)
@given(hops=HOPS, seed=st.integers(0, 9))
@example(hops=[(0, "B", "A"), (1, "C", "A"), (2, "C", "A"), (3, "A", "C")], seed=0)
@example(hops=[(0, "B", "A"), (0, "C", "A"), (1, "A", "C"), (T, "A", "D")], seed=0)
def test_a_pivot_goes_on_to_another_host(hops: list[tuple[float, str, str]], seed: int) -> None:
    flows = [flow(i, t, source_ip=HOSTS[a], destination_ip=HOSTS[b]) for i, (t, a, b) in enumerate(hops)]
    agree(flows, seed, *pivot(f"{T}s"))


@SETTINGS
@given(rows=FLOWS, seed=st.integers(0, 9))
def test_correlations_of_correlations(rows: list[dict[str, Any]], seed: int) -> None:
    burst = correlation("burst", "event_count", ["any"], f"{T}s", group_by=["source.ip"], condition={"gte": 2})
    sweep = correlation("sweep", "value_count", ["any"], "5m", group_by=["source.ip", "destination.port"],
                        condition={"field": "destination.ip", "gte": 2})
    either = correlation("either", "event_count", ["burst", "sweep"], "1s", group_by=["source.ip"],
                         condition={"gte": 1})
    agree(made(rows), seed, correlation("bursts", "event_count", ["burst"], "30m", group_by=["source.ip"],
                                        condition={"gte": 2}), ANY, burst)
    agree(made(rows), seed, correlation("then", "temporal_ordered", ["either", "ssh"], "30m", group_by=["source.ip"]),
          ANY, SSH, burst, sweep, either)


@SETTINGS
@given(rows=FLOWS, seed=st.integers(0, 9))
def test_suppression(rows: list[dict[str, Any]], seed: int) -> None:
    agree(made(rows), seed, event_rule("quiet", {"network.scope": "internal"}) | {
        "ewdetect": {"suppress": {"by": ["source.ip", "destination.port"], "for": f"{T}s"}}})


def test_microseconds_count() -> None:
    """T less a microsecond apart is one window, T is not."""
    for gap, alerts in ((T - 0.000001, 1), (T, 0)):
        flows = [flow(n, 0.123456 + n * gap) for n in range(2)]
        found, wanted = both(flows, 0, correlation("pair", "event_count", ["any"], f"{T}s", condition={"gte": 2}), ANY)
        assert found == wanted and len(found) == alerts


def test_an_episode_that_began_before_the_range_does_not_alert_anew() -> None:
    """Two hours of a flow a minute are one alert, though the condition holds at the left edge of each later run."""
    flows = [flow(n, n * MINUTE) for n in range(120)]
    for kind, field, threshold in (("event_count", {}, 3), ("value_count", {"field": "destination.ip"}, 1)):
        found, wanted = both(flows, 0, correlation("steady", kind, ["any"], f"{T}s", group_by=["source.ip"],
                                                   condition={"gte": threshold} | field), ANY)
        assert found == wanted and len(found) == 1
    quiet = event_rule("quiet", {"network.scope": "internal"}) | {
        "ewdetect": {"suppress": {"by": ["source.ip"], "for": f"{T}s"}}}
    assert len(both(flows, 0, quiet)[0]) == 1


# ---------------------------------------------------------------- faults that only small flows show

def unsafe(convert: Callable[..., str]) -> Callable[..., str]:
    """`!=`, which an event without the field does not fulfil."""
    def faulty(self: Any, cond: Any, state: Any) -> str:
        inner = cond.args[0]
        if isinstance(inner, ConditionOR | ConditionAND):
            word = " AND " if isinstance(inner, ConditionOR) else " OR "
            return "(" + word.join(faulty(self, ConditionNOT([arg]), state) for arg in inner.args) + ")"
        text = self._operand(inner, state)
        return text.replace("=", "!=", 1) if "=" in text and " IN " not in text else f"NOT {text}"
    return faulty



def test_a_null_unsafe_not_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows without a port are not on port 445."""
    asked = correlation("others", "event_count", ["but"], f"{T}s", group_by=["source.ip"], condition={"gte": 2})
    but = event_rule("but", {"network.scope": "internal"}, "selection and not smb", smb={"destination.port": 445})
    flows = [flow(n, n, destination_port=None) for n in range(3)]
    found, wanted = both(flows, 0, asked, but)
    assert found == wanted and wanted
    monkeypatch.setattr(SplPrinter, "convert_condition_not", unsafe(SplPrinter.convert_condition_not))
    assert both(flows, 0, asked, but)[0] != wanted


@pytest.mark.parametrize("longer", [-1, 1])
def test_a_period_that_is_one_second_off_is_seen(longer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow in each second: some period begins with it."""
    asked = correlation("each", "event_count", ["any"], "1s", group_by=["destination.port"], condition={"gte": 1})
    flows = [flow(n, n, destination_port=n + 1) for n in range(300)]
    found, wanted = both(flows, 0, asked, ANY)
    assert found == wanted and len(wanted) == 300
    guard = period.guard
    monkeypatch.setattr(search, "guard", lambda run: guard(replace(run, period=run.period + longer)))
    assert len(both(flows, 0, asked, ANY)[0]) == 300 + longer


# ---------------------------------------------------------------- refusals

REFUSED: Mapping[str, tuple[str, list[Document]]] = {
    **window_rules.REFUSED,
    "an alias that is no name": ("name of a key", [SSH, correlation(
        "rule", "event_count", ["ssh"], "1m", group_by=['a"b'], condition={"gte": 1},
        aliases={'a"b': {"ssh": "source.ip"}})])}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_exact_form_is_refused_by_name(case: str) -> None:
    word, found = REFUSED[case]
    with pytest.raises(Rejected) as caught:
        saved(resolved(found[-1], *found[:-1]), "spl", "inline")
    [problem] = caught.value.problems
    assert problem.code in ("convert/unsupported", "convert/unmapped-field") and word in problem.message
    assert problem.location and problem.fix


def test_groups_by_context_where_splunk_fills_it() -> None:
    """The enrichment may leave a default out: it is a group all the same."""
    asked = resolved(correlation("zones", "event_count", ["any"], "1m", group_by=["source.zone"],
                                 condition={"gte": 1}), ANY)
    flows = [flow(n, n, source_ip=ip) for n, ip in enumerate(("10.10.0.1", "10.99.0.1", "10.99.0.1", "10.10.0.1"))]
    search, _ = saved(asked, "spl", "enriched")
    with open_office(flows) as engine:
        wanted = told(engine.alerts(asked))
    events = events_of("flow", flows)
    assert events is not None and wanted
    starts = [Decimal(f["event.start"]) / SECOND for f in flows]
    assert replay(search, events, starts, 0, "flow", lookup(office()))[1] == wanted


def test_a_sensor_that_keeps_other_things_in_a_field() -> None:
    """Zeek holds ICMP types in its port columns, and calls both ICMP versions icmp."""
    parts = replace(resolved(correlation("parts", "event_count", ["all"], "1m", condition={"gte": 1}, group_by=[
        "network.transport"]), event_rule("all", {"network.scope": "internal"})), source=source("zeek_conn"))
    ports = replace(resolved(correlation("ports", "value_count", ["all"], "1m", group_by=["source.ip"], condition={
        "field": "destination.port", "gte": 1}), event_rule("all", {"network.scope": "internal"})),
        source=source("zeek_conn"))
    record = {"index": "zeek", "sourcetype": "bro:conn:json", "id.resp_p": 8}
    events = [{**record, "_time": NOW - 1500 + n, "proto": proto, "id.orig_h": src, "id.resp_h": dst} for n, (
        proto, src, dst) in enumerate((("icmp", "10.10.0.1", "10.30.0.1"), ("icmp", "fd00:10::1", "fd00:30::1"),
                                       ("tcp", "10.10.0.2", "10.30.0.1")))]

    def columns(asked: ResolvedRule, name: str, dialect: str) -> list[Any]:
        search, _ = saved(asked, dialect, "inline")
        return [row[name] for row in run(search.search, events, macros=search.macros, datamodels=models("zeek_conn"),
                                         now=NOW, earliest=NOW - 3000, latest=NOW - 1400)]

    for dialect in ("spl", "tstats"):
        assert columns(parts, "transport", dialect) == ["icmp", "ipv6-icmp", "tcp"]
        assert columns(ports, "src", dialect) == ["10.10.0.2"]

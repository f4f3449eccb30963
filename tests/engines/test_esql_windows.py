"""Converted windows and steps on a real Elasticsearch against the reference engine, over random flows on every edge.

Times on a coarse grid, so that ties, duplicates, exact edges and gaps of exactly T are common, one millisecond off as
well; keys and measured fields are missing now and then; flows arrive late. Runs are seven seconds apart, so that bursts
straddle every boundary of them. One request executes eight random histories, run after run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ewdetect import schedule
from ewdetect.convert import backend, convert_rule
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.engines import window_rules
from tests.engines.elasticsearch.client import Client
from tests.engines.esql_parity import executed, reference
from tests.engines.sensors import told_by
from tests.engines.window_rules import ANY, BASE, BIG, HOSTS, SMB, SSH, Document, flows_at, pivot
from tests.world import correlation, event_rule, flow, office, pack, source

T, PERIOD, DELAY = 10, 7, "5s"
SETTINGS = settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=list(HealthCheck))
TIMES = st.builds(lambda second, off: abs(second + off / 1000), st.integers(0, 45), st.sampled_from([0, 0, 0, -1, 1]))
FLOWS = flows_at(TIMES, 5)
HISTORIES = st.lists(FLOWS, min_size=8, max_size=8)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "SHORTEST", PERIOD)
    monkeypatch.setattr(schedule, "_PERIODS", (PERIOD,))
    monkeypatch.setattr(schedule, "LASTING", 0)     # an hour more, and no run would cut these bursts


def made(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [told_by("flow", flow(i, r["at"], source_ip=r["source"], destination_ip=r["destination"],
                                 destination_port=r["port"], source_bytes=r["bytes"], destination_bytes=1))
            for i, r in enumerate(rows)]


def resolved(asked: Document, *documents: Document) -> ResolvedRule:
    world = pack(*documents, asked)
    late = replace(source("flow"), traits=replace(source("flow").traits, delay=DELAY))
    return replace(resolve_rule(world.rules[asked["name"]], world), source=late, network=office())


def both(node: Client, histories: Sequence[Sequence[Mapping[str, Any]]], asked: Document,
         *others: Document) -> tuple[list[Any], list[Any]]:
    """The alerts of Elastic and of the reference engine."""
    rule = resolved(asked, *others)
    [found], _ = executed(node, histories, rule, convert_rule(rule, backend("elastic"), "inline", "esql"))
    return found, reference(histories, rule)


def agree(node: Client, histories: Sequence[Sequence[Mapping[str, Any]]], asked: Document, *others: Document) -> None:
    found, wanted = both(node, [made(rows) for rows in histories], asked, *others)
    assert found == wanted


MEASURES = {**window_rules.MEASURES, "sum of both sides": ("value_sum", "network.bytes", ["source.ip"])}


@pytest.mark.parametrize("kind", MEASURES)
@SETTINGS
@given(histories=HISTORIES, operator=st.sampled_from(["gt", "gte"]), threshold=st.integers(1, 6))
def test_measures(node: Client, kind: str, histories: list[Any], operator: str, threshold: int) -> None:
    name, field, keys = MEASURES[kind]
    condition = {operator: threshold} | ({"field": field} if field else {})
    grouped = {"group_by": keys} if keys else {}
    agree(node, histories, correlation("windowed", name, ["any"], f"{T}s", condition=condition, **grouped), ANY)


@pytest.mark.parametrize("kind", ["event_count", "value_count", "value_sum", "temporal"])
@SETTINGS
@given(histories=HISTORIES, threshold=st.integers(1, 4))
def test_an_event_that_matches_two_rules(node: Client, kind: str, histories: list[Any], threshold: int) -> None:
    field = {"value_count": "destination.ip", "value_sum": "source.bytes"}.get(kind)
    condition = {"gte": threshold} | ({"field": field} if field else {})
    agree(node, histories, correlation("two", kind, ["ssh", "big"], f"{T}s", group_by=["source.ip"],
                                       condition=condition), SSH, BIG)


@pytest.mark.parametrize("kind", ["event_count", "temporal"])
@SETTINGS
@given(histories=HISTORIES, threshold=st.integers(1, 3))
def test_aliases_that_differ(node: Client, kind: str, histories: list[Any], threshold: int) -> None:
    """A host as the target of one rule and the source of another; a flow of both rules is in two groups, or in one."""
    for row in (row for rows in histories for row in rows):
        row["destination"] = "10.10.0.1" if row["destination"] == "10.30.0.1" else row["destination"]
    agree(node, histories, correlation(
        "ends", kind, ["ssh", "big"], f"{T}s", group_by=["host"], condition={"gte": threshold},
        aliases={"host": {"ssh": "destination.ip", "big": "source.ip"}}), SSH, BIG)


@SETTINGS
@given(histories=HISTORIES, steps=st.permutations(["ssh", "big", "smb"]), count=st.integers(2, 3))
def test_ordered_steps(node: Client, histories: list[Any], steps: list[str], count: int) -> None:
    agree(node, histories, correlation("chain", "temporal_ordered", steps[:count], f"{T}s", group_by=["source.ip"]),
          SSH, BIG, SMB)


HOPS = st.lists(st.lists(st.tuples(TIMES, st.sampled_from("ABCD"), st.sampled_from("ABCD")), max_size=18),
                min_size=8, max_size=8)


@settings(SETTINGS, max_examples=4)
@given(hops=HOPS)
def test_a_pivot_goes_on_to_another_host(node: Client, hops: list[list[tuple[float, str, str]]]) -> None:
    rows = [[{"at": t, "source": HOSTS[a], "destination": HOSTS[b], "port": 445, "bytes": 1} for t, a, b in path]
            for path in hops]
    agree(node, rows, *pivot(f"{T}s"))


def test_a_history_without_flows_keeps_its_number() -> None:
    rows = [{"at": at, "source": HOSTS[a], "destination": HOSTS[b], "port": 445, "bytes": 1}
            for at, a, b in [(1.0, "A", "B"), (2.0, "B", "C")]]
    found = reference([[], made(rows), [], made(rows)], resolved(*pivot(f"{T}s")))
    assert [number for number, *_ in found] == [1, 3]


@SETTINGS
@given(histories=HISTORIES)
def test_correlations_of_correlations(node: Client, histories: list[Any]) -> None:
    burst = correlation("burst", "event_count", ["any"], f"{T}s", group_by=["source.ip"], condition={"gte": 2})
    sweep = correlation("sweep", "value_count", ["any"], "5s", group_by=["source.ip", "destination.port"],
                        condition={"field": "destination.ip", "gte": 2})
    either = correlation("either", "event_count", ["burst", "sweep"], "1s", group_by=["source.ip"],
                         condition={"gte": 1})
    agree(node, histories, correlation("bursts", "event_count", ["burst"], "30s", group_by=["source.ip"],
                                       condition={"gte": 2}), ANY, burst)
    agree(node, histories, correlation("then", "temporal_ordered", ["either", "ssh"], "30s", group_by=["source.ip"]),
          ANY, SSH, burst, sweep, either)


@SETTINGS
@given(histories=HISTORIES)
def test_suppression(node: Client, histories: list[Any]) -> None:
    agree(node, histories, event_rule("quiet", {"network.scope": "internal"}) | {
        "ewdetect": {"suppress": {"by": ["source.ip", "destination.port"], "for": f"{T}s"}}})


# ---------------------------------------------------------------- what a run sees

STEADY = [{"at": float(second), "source": "10.10.0.1", "destination": f"10.30.0.{second % 40 + 1}", "port": 445,
           "bytes": 1} for second in range(120)]
SWEEP = correlation("sweep", "value_count", ["any"], f"{T}s", group_by=["source.ip"],
                    condition={"field": "destination.ip", "gte": 5})


def test_a_scan_that_goes_on_alerts_once(node: Client) -> None:
    """Every run's look-back cuts into it, and with every new run an older part of it is out of sight."""
    found, wanted = both(node, [made(STEADY)], SWEEP, ANY)
    assert found == wanted and len(found) == 1


def test_it_would_alert_in_every_run_without_the_guard(node: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ewdetect.backends.elastic.correlation._guard", lambda when: "true")
    found, wanted = both(node, [made(STEADY)], SWEEP, ANY)
    assert len(found) > len(wanted)


MIXED = event_rule("mixed", {"network.scope": "internal"}, "selection and (web or big)", web={"destination.port": 22},
                   big={"source.bytes|gte": 50})


def test_a_dropped_parenthesis_is_seen(node: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """AND binds tighter than OR, so that a flow from outside with many bytes would count."""
    outside = [{**STEADY[0], "at": float(n), "source": "8.8.8.8", "bytes": 50} for n in range(3)]
    counted = correlation("counted", "event_count", ["mixed"], f"{T}s", group_by=["source.ip"], condition={"gte": 2})
    assert both(node, [made(outside)], counted, MIXED) == ([], [])
    monkeypatch.setattr("ewdetect.backends.printing.ExplicitPrinter._operand",
                        lambda self, arg, state: str(self.convert_condition(arg, state)))
    found, wanted = both(node, [made(outside)], counted, MIXED)
    assert found and not wanted


# ---------------------------------------------------------------- refusals

REFUSED = {**window_rules.REFUSED} | {
    f"a threshold that asks for {operator}": ("less than a threshold", [ANY, correlation(
        "rule", "event_count", ["any"], "1m", **BASE, condition={operator: 5})])
    for operator in ("lt", "lte", "eq", "neq")} | {
    "a range": ("less than a threshold", [ANY, correlation(
        "rule", "event_count", ["any"], "1m", **BASE, condition={"gte": 5, "lt": 9})]),
    "no threshold": ("no threshold above zero", [ANY, correlation(
        "rule", "event_count", ["any"], "1m", **BASE, condition={"gte": 0})]),
    "very many values": ("a threshold over 10000", [ANY, correlation(
        "rule", "value_count", ["any"], "1m", **BASE, condition={"field": "destination.ip", "gte": 20000})]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_exact_form_is_refused_by_name(case: str) -> None:
    word, found = REFUSED[case]
    with pytest.raises(Rejected) as caught:
        convert_rule(resolved(found[-1], *found[:-1]), backend("elastic"), "inline", "esql")
    [problem] = caught.value.problems
    assert problem.code in ("convert/unsupported", "convert/unmapped-field") and word in problem.message
    assert problem.location and problem.fix

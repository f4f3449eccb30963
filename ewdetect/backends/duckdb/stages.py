"""Stages → SQL statements.

Every stage leaves two relations: its hits (`t`, `ref`, and the columns that later stages read) and, where a hit is not
one flow, the flows behind each hit. Names are the stages' own, so that two rules that share a stage share its work.

The measure of a window is taken twice at each instant: with it (t - T, t] and just before it [t - T, t). An episode
begins where the condition holds at an instant but did not hold at the one before, or had stopped to hold since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ewdetect.backends.duckdb.beacon import beacon
from ewdetect.backends.duckdb.deviation import deviation
from ewdetect.backends.duckdb.first_seen import first_seen
from ewdetect.backends.duckdb.measures import measured
from ewdetect.backends.duckdb.parts import (
    all_inputs,
    by,
    comma,
    episodes,
    evidence,
    evidence_of,
    groups_where,
    hits,
    keys_of,
    more,
    once,
    scratch,
)
from ewdetect.flows.sql import text
from ewdetect.plan import (
    OPERATORS,
    Beacon,
    Deviation,
    FirstSeen,
    Selection,
    Stage,
    Steps,
    Threshold,
    Window,
)

__all__ = ["Block", "blocks", "evidence", "hits"]


@dataclass(frozen=True, slots=True)
class Block:
    """The statements of one stage, and the stages they read."""

    stage: str
    statements: tuple[str, ...]
    inputs: tuple[str, ...] = ()


def blocks(stages: Sequence[Stage], predicates: Mapping[str, str]) -> tuple[Block, ...]:
    """SQL for all stages, in order. `predicates` has the condition of each selection."""
    windows = frozenset(s.name for s in stages if not isinstance(s, Selection | FirstSeen))
    return tuple(_block(stage, predicates, windows) for stage in stages)


def _block(stage: Stage, predicates: Mapping[str, str], windows: frozenset[str]) -> Block:
    match stage:
        case Selection():
            return Block(stage.name, (_selection(stage, predicates[stage.name]),))
        case Window():
            return Block(stage.name, _window(stage, windows), stage.inputs)
        case Steps():
            return Block(stage.name, _steps(stage, windows), stage.inputs)
        case FirstSeen():
            return Block(stage.name, first_seen(stage), stage.inputs)
        case Deviation():
            return Block(stage.name, deviation(stage), stage.inputs)
        case Beacon():
            return Block(stage.name, beacon(stage, windows), stage.inputs)


def _selection(stage: Selection, condition: str) -> str:
    return (f'CREATE OR REPLACE TEMP VIEW {hits(stage.name)} AS SELECT *, "event.start" AS "#t", "#row" AS "#ref" '
            f"FROM flow WHERE {condition}")


# ---------------------------------------------------------------- counts, sums and the like

def _window(stage: Window, windows: frozenset[str]) -> tuple[str, ...]:
    keys = keys_of(stage.keys)
    measure = stage.measure
    rows = all_inputs(stage, stage.keys, measure.fields)
    if measure.function == "count" and len(stage.inputs) > 1:
        # One flow that matches two of the rules is one event, so all rules on flows are one step.
        flows = [i for i, s in enumerate(stage.inputs) if s not in windows]
        step = f"CASE WHEN step IN ({', '.join(map(str, flows))}) THEN {flows[0]} ELSE step END" if flows else "step"
        rows = f"SELECT DISTINCT t, ref, {step} AS step{more(keys)} FROM ({rows})"
    inside = f"({by(keys)}ORDER BY t RANGE BETWEEN {stage.timespan - 1} PRECEDING AND CURRENT ROW)"
    before = f"({by(keys)}ORDER BY t RANGE BETWEEN {stage.timespan} PRECEDING AND 1 PRECEDING)"
    values = f"{measured(measure, inside)} AS value, {measured(measure, before)} AS earlier"
    instants = f"SELECT DISTINCT {comma(keys)}t, {values} FROM {scratch(stage)}"
    holds, held = (f"coalesce({_holds(v, stage.thresholds)}, false)" for v in ("value", "earlier"))
    return (
        f"CREATE OR REPLACE TEMP TABLE {scratch(stage)} AS {_pruned(rows, stage, keys)}",
        episodes(stage, keys, instants, holds, held),
        evidence_of(stage, keys, windows),
        f"DROP TABLE {scratch(stage)}",
    )


def _holds(value: str, thresholds: Iterable[Threshold]) -> str:
    return " AND ".join(f"{value} {OPERATORS[t.operator]} {text(t.value)}" for t in thresholds)


# What a group holds over all time is an upper bound of what any window of it holds.
_BOUNDS = {"count": "count(*)", "distinct": "count(*)", "temporal": "count(*)", "sum": "sum(greatest(v0, 0))"}
_ONE = Threshold("gte", 1)      # every group has a row


def _pruned(rows: str, stage: Window, keys: Sequence[str]) -> str:
    """Leave out groups that cannot reach the threshold even over all time; almost every group of real traffic."""
    function = stage.measure.function
    floors = [t for t in stage.thresholds if t.operator in ("gt", "gte") and t.value > 0
              and not (function == "count" and t == _ONE)]
    if not keys or not floors or function not in _BOUNDS:
        return rows
    pruned = _reaching("chosen", keys, _BOUNDS[function], floors)
    if function in ("distinct", "temporal"):
        # The cheap bound first: counting distinct values of every group would cost more than all the rest.
        pruned = f"WITH busy AS MATERIALIZED ({pruned}) {_reaching('busy', keys, measured(stage.measure), floors)}"
    return once(rows, pruned)


def _reaching(rows: str, keys: Sequence[str], bound: str, floors: Sequence[Threshold]) -> str:
    return groups_where(rows, keys, _holds(bound, floors))


# ---------------------------------------------------------------- ordered steps

def _steps(stage: Steps, windows: frozenset[str]) -> tuple[str, ...]:
    """`since` of a hit of step n is the latest time at which a chain of earlier hits that leads to it can begin."""
    keys = keys_of(stage.keys)
    peer = [f"v{i}" for i in range(len(stage.distinct))]
    values = {s: [k.fields[s] for k in stage.distinct] for s in stage.inputs}
    rows = all_inputs(stage, stage.keys, values)
    chain = _two_different(keys, peer) if peer else _chain(len(stage.inputs), keys)
    done = (f"SELECT {comma(keys)}t, max(since) AS since FROM ({chain.format(rows=scratch(stage))}) "
            f"WHERE since > t - {stage.timespan} GROUP BY ALL")
    earlier = f"max(since) OVER ({by(keys)}ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    instants = f"SELECT {comma(keys)}t, {len(stage.inputs)} AS value, {earlier} AS earlier FROM ({done})"
    return (
        f"CREATE OR REPLACE TEMP TABLE {scratch(stage)} AS {_complete(rows, len(stage.inputs), keys)}",
        episodes(stage, keys, instants, "true", f"coalesce(earlier >= t - {stage.timespan}, false)"),
        evidence_of(stage, keys, windows),
        f"DROP TABLE {scratch(stage)}",
    )


def _complete(rows: str, steps: int, keys: Sequence[str]) -> str:
    """Leave out groups that lack a step over all time."""
    if not keys:
        return rows
    return once(rows, groups_where("chosen", keys, f"bit_or(1 << step) = {(1 << steps) - 1}"))


def _chain(steps: int, keys: Sequence[str]) -> str:
    """Hits of the last step with `since`, for any number of steps."""
    relation = "SELECT *, CASE WHEN step = 0 THEN t END AS since FROM {rows}"
    for step in range(1, steps):
        before = (f"max(CASE WHEN step = {step - 1} THEN since END) OVER ({by(keys)}ORDER BY t "
                  "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)")
        relation = f"SELECT * REPLACE (CASE WHEN step = {step} THEN {before} ELSE since END AS since) FROM ({relation})"
    return f"SELECT * FROM ({relation}) WHERE step = {steps - 1}"


def _two_different(keys: Sequence[str], peer: Sequence[str]) -> str:
    """Two steps whose peers differ.

    Of the first step's hits only two matter at any time: the latest, and the latest with another peer than that.
    """
    order = f"({by(keys)}ORDER BY t, {', '.join(peer)}, ref)"
    who = f"({', '.join(peer)})" if len(peer) > 1 else peer[0]
    part = ", ".join([*keys, "run"])
    firsts = (
        f"SELECT *, max(last_other) OVER (PARTITION BY {part}) AS other FROM ("
        f"SELECT *, sum(changed) OVER {order} AS run, CASE WHEN changed = 1 THEN lag(t) OVER {order} END AS last_other "
        f"FROM (SELECT *, CASE WHEN lag({who}) OVER {order} IS DISTINCT FROM {who} THEN 1 ELSE 0 END AS changed "
        "FROM {rows} WHERE step = 0))"
    )
    match = " AND ".join(f"s.{k} = f.{k}" for k in keys) or "true"
    last = f"(PARTITION BY {', '.join([*keys, 't'])} ORDER BY {', '.join(f'{p} DESC' for p in peer)}, ref DESC)"
    newest = f"QUALIFY row_number() OVER {last} = 1"
    mine, theirs = (", ".join(f"{side}.{p}" for p in peer) for side in "sf")
    return (f"SELECT s.*, CASE WHEN ({theirs}) IS DISTINCT FROM ({mine}) THEN f.t ELSE f.other END AS since "
            f"FROM (SELECT * FROM {{rows}} WHERE step = 1) s ASOF JOIN (SELECT * FROM ({firsts}) {newest}) f "
            f"ON {match} AND s.t > f.t")

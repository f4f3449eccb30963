"""Stages → SQL statements.

Every stage leaves two relations: its hits (`t`, `ref`, and the columns that later stages read) and, for windows,
the flows behind each hit. Names are the stages' own, so that two rules that share a stage share its work.

The measure of a window is taken twice at each instant: with it (t - T, t] and just before it [t - T, t). An episode
begins where the condition holds at an instant but did not hold at the one before, or had stopped to hold since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ewdetect.flows.sql import name, text
from ewdetect.plan import OPERATORS, Key, Measure, Selection, Stage, Steps, Threshold, Window


@dataclass(frozen=True, slots=True)
class Block:
    """The statements of one stage, and the stages they read."""

    stage: str
    statements: tuple[str, ...]
    inputs: tuple[str, ...] = ()


def blocks(stages: Sequence[Stage], predicates: Mapping[str, str]) -> tuple[Block, ...]:
    """SQL for all stages, in order. `predicates` has the condition of each selection."""
    windows = frozenset(s.name for s in stages if not isinstance(s, Selection))
    return tuple(_block(stage, predicates, windows) for stage in stages)


def _block(stage: Stage, predicates: Mapping[str, str], windows: frozenset[str]) -> Block:
    match stage:
        case Selection():
            return Block(stage.name, (_selection(stage, predicates[stage.name]),))
        case Window():
            return Block(stage.name, _window(stage, windows), stage.inputs)
        case Steps():
            return Block(stage.name, _steps(stage, windows), stage.inputs)


def hits(stage: str) -> str:
    """The relation of a stage's hits: `#t`, `#ref`, for windows `#end` and `#value`, and the fields or keys.

    No field and no alias can begin with `#`, which is a comment in YAML.
    """
    return name(f"{stage} hits")


def evidence(stage: str) -> str:
    """The relation of a window's evidence: `ref` of the hit and `seq` of the flow."""
    return name(f"{stage} evidence")


def _selection(stage: Selection, condition: str) -> str:
    return (f'CREATE OR REPLACE TEMP VIEW {hits(stage.name)} AS SELECT *, "event.start" AS "#t", "#row" AS "#ref" '
            f"FROM flow WHERE {condition}")


def _rows(stage: Window | Steps) -> str:
    """The scratch table with the rows that a window looks at."""
    return name(f"{stage.name} rows")


# ---------------------------------------------------------------- inputs

def _keys(keys: Sequence[Key]) -> list[str]:
    return [f"k{i}" for i in range(len(keys))]


def _input(number: int, stage: str, keys: Sequence[Key], values: Sequence[str]) -> str:
    """One input as (t, ref, step, k0 …, v0 …), without the hits that lack a key or a value."""
    fields = [key.fields[stage] for key in keys]
    columns = [f"{name(f)} AS k{i}" for i, f in enumerate(fields)] + [
        f"{name(v)} AS v{i}" for i, v in enumerate(values)
    ]
    present = " AND ".join(f"{name(f)} IS NOT NULL" for f in [*fields, *values]) or "true"
    return f"SELECT \"#t\" AS t, \"#ref\" AS ref, {number} AS step{_more(columns)} FROM {hits(stage)} WHERE {present}"


def _inputs(stage: Window | Steps, keys: Sequence[Key], values: Mapping[str, Sequence[str]]) -> str:
    return " UNION ALL ".join(_input(i, s, keys, values[s]) for i, s in enumerate(stage.inputs))


def _by(keys: Sequence[str]) -> str:
    return f"PARTITION BY {', '.join(keys)} " if keys else ""


def _comma(columns: Iterable[str]) -> str:
    """Columns before others."""
    return "".join(f"{c}, " for c in columns)


def _more(columns: Iterable[str]) -> str:
    """Columns after others."""
    return "".join(f", {c}" for c in columns)


# ---------------------------------------------------------------- counts, sums and the like

def _window(stage: Window, windows: frozenset[str]) -> tuple[str, ...]:
    keys = _keys(stage.keys)
    measure = stage.measure
    rows = _inputs(stage, stage.keys, measure.fields)
    if measure.function == "count" and len(stage.inputs) > 1:
        # One flow that matches two of the rules is one event, so all rules on flows are one step.
        flows = [i for i, s in enumerate(stage.inputs) if s not in windows]
        step = f"CASE WHEN step IN ({', '.join(map(str, flows))}) THEN {flows[0]} ELSE step END" if flows else "step"
        rows = f"SELECT DISTINCT t, ref, {step} AS step{_more(keys)} FROM ({rows})"
    inside = f"({_by(keys)}ORDER BY t RANGE BETWEEN {stage.timespan - 1} PRECEDING AND CURRENT ROW)"
    before = f"({_by(keys)}ORDER BY t RANGE BETWEEN {stage.timespan} PRECEDING AND 1 PRECEDING)"
    values = f"{_measure(measure, inside)} AS value, {_measure(measure, before)} AS earlier"
    instants = f"SELECT DISTINCT {_comma(keys)}t, {values} FROM {_rows(stage)}"
    holds, held = (f"coalesce({_holds(v, stage.thresholds)}, false)" for v in ("value", "earlier"))
    return (
        f"CREATE OR REPLACE TEMP TABLE {_rows(stage)} AS {_pruned(rows, stage, keys)}",
        _episodes(stage, keys, instants, holds, held),
        _evidence(stage, keys, windows),
        f"DROP TABLE {_rows(stage)}",
    )


def _measure(measure: Measure, over: str = "") -> str:
    """The measure of a group, or with `over` that of a window. An empty window counts and sums to 0."""
    over = f" OVER {over}" if over else ""
    match measure.function:
        case "count":
            return f"count(*){over}"
        case "temporal":
            return f"count(DISTINCT step){over}"
        case "distinct":
            width = len(next(iter(measure.fields.values())))
            value = "v0" if width == 1 else f"({', '.join(f'v{i}' for i in range(width))})"
            return f"count(DISTINCT {value}){over}"
        case "sum":
            return f"coalesce(sum(v0){over}, 0)"
        case "avg":
            return f"avg(v0){over}"
        case "median":
            return f"median(v0){over}"
    return f"quantile_cont(v0, {text((measure.percentile or 0) / 100)}){over}"


def _holds(value: str, thresholds: Iterable[Threshold]) -> str:
    return " AND ".join(f"{value} {OPERATORS[t.operator]} {text(t.value)}" for t in thresholds)


# What a group holds over all time is an upper bound of what any window of it holds.
_BOUNDS = {"count": "count(*)", "distinct": "count(*)", "temporal": "count(*)", "sum": "sum(greatest(v0, 0))"}


def _pruned(rows: str, stage: Window, keys: Sequence[str]) -> str:
    """Leave out groups that cannot reach the threshold even over all time; almost every group of real traffic."""
    floors = [t for t in stage.thresholds if t.operator in ("gt", "gte") and t.value > 0]
    if not keys or not floors or stage.measure.function not in _BOUNDS:
        return rows
    pruned = _reaching(f"({rows})", keys, _BOUNDS[stage.measure.function], floors)
    if stage.measure.function in ("distinct", "temporal"):
        # The cheap bound first: counting distinct values of every group would cost more than all the rest.
        return f"WITH busy AS MATERIALIZED ({pruned}) {_reaching('busy', keys, _measure(stage.measure), floors)}"
    return pruned


def _reaching(rows: str, keys: Sequence[str], bound: str, floors: Sequence[Threshold]) -> str:
    group = ", ".join(keys)
    return (f"SELECT * FROM {rows} SEMI JOIN (SELECT {group} FROM {rows} GROUP BY {group} "
            f"HAVING {_holds(bound, floors)}) USING ({group})")


# ---------------------------------------------------------------- ordered steps

def _steps(stage: Steps, windows: frozenset[str]) -> tuple[str, ...]:
    """`since` of a hit of step n is the latest time at which a chain of earlier hits that leads to it can begin."""
    keys = _keys(stage.keys)
    peer = [f"v{i}" for i in range(len(stage.distinct))]
    values = {s: [k.fields[s] for k in stage.distinct] for s in stage.inputs}
    rows = _inputs(stage, stage.keys, values)
    chain = _two_different(keys, peer) if peer else _chain(len(stage.inputs), keys)
    done = (f"SELECT {_comma(keys)}t, max(since) AS since FROM ({chain.format(rows=_rows(stage))}) "
            f"WHERE since > t - {stage.timespan} GROUP BY ALL")
    earlier = f"max(since) OVER ({_by(keys)}ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    instants = f"SELECT {_comma(keys)}t, {len(stage.inputs)} AS value, {earlier} AS earlier FROM ({done})"
    return (
        f"CREATE OR REPLACE TEMP TABLE {_rows(stage)} AS {_complete(rows, len(stage.inputs), keys)}",
        _episodes(stage, keys, instants, "true", f"coalesce(earlier >= t - {stage.timespan}, false)"),
        _evidence(stage, keys, windows),
        f"DROP TABLE {_rows(stage)}",
    )


def _complete(rows: str, steps: int, keys: Sequence[str]) -> str:
    """Leave out groups that lack a step over all time."""
    if not keys:
        return rows
    group = ", ".join(keys)
    return (f"SELECT * FROM ({rows}) SEMI JOIN (SELECT {group} FROM ({rows}) GROUP BY {group} "
            f"HAVING bit_or(1 << step) = {(1 << steps) - 1}) USING ({group})")


def _chain(steps: int, keys: Sequence[str]) -> str:
    """Hits of the last step with `since`, for any number of steps."""
    relation = "SELECT *, CASE WHEN step = 0 THEN t END AS since FROM {rows}"
    for step in range(1, steps):
        before = (f"max(CASE WHEN step = {step - 1} THEN since END) OVER ({_by(keys)}ORDER BY t "
                  "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)")
        relation = f"SELECT * REPLACE (CASE WHEN step = {step} THEN {before} ELSE since END AS since) FROM ({relation})"
    return f"SELECT * FROM ({relation}) WHERE step = {steps - 1}"


def _two_different(keys: Sequence[str], peer: Sequence[str]) -> str:
    """Two steps whose peers differ.

    Of the first step's hits only two matter at any time: the latest, and the latest with another peer than that.
    """
    order = f"({_by(keys)}ORDER BY t, {', '.join(peer)}, ref)"
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


# ---------------------------------------------------------------- episodes and their evidence

def _episodes(stage: Window | Steps, keys: Sequence[str], instants: str, holds: str, held: str) -> str:
    """One row for each episode; `#t` is the crossing."""
    order = f"({_by(keys)}ORDER BY t)"
    named = _comma(f"{k} AS {name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    grouped = ", ".join([*keys, "episode"])
    judged = f"SELECT *, {holds} AS holds, {held} AS held FROM ({instants})"
    begun = f"SELECT *, holds AND NOT (held AND coalesce(lag(holds) OVER {order}, false)) AS begins FROM ({judged})"
    numbered = f"SELECT *, sum(CAST(begins AS INTEGER)) OVER {order} AS episode FROM ({begun})"
    return (f"CREATE OR REPLACE TEMP TABLE {hits(stage.name)} AS "
            f"SELECT row_number() OVER (ORDER BY min(t), {grouped}) AS \"#ref\", {named}min(t) AS \"#t\", "
            f"max(t) AS \"#end\", arg_min(value, t) AS \"#value\" FROM ({numbered}) WHERE holds GROUP BY {grouped}")


def _evidence(stage: Window | Steps, keys: Sequence[str], windows: frozenset[str]) -> str:
    """The flows in the window at the crossing; for hits of an earlier window, the flows behind those."""
    match = "".join(f" AND r.{k} = h.{name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    joined = (f"FROM {hits(stage.name)} h JOIN {_rows(stage)} r "
              f"ON r.t > h.\"#t\" - {stage.timespan} AND r.t <= h.\"#t\"{match}")
    parts = []
    for step, source in enumerate(stage.inputs):
        behind = f" JOIN {evidence(source)} e ON e.ref = r.ref" if source in windows else ""
        seq = "e.seq" if source in windows else "r.ref AS seq"
        parts.append(f"SELECT h.\"#ref\" AS ref, {seq} {joined}{behind} WHERE r.step = {step}")
    return (
        f"CREATE OR REPLACE TEMP TABLE {evidence(stage.name)} AS SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)})"
    )

"""What every stage is made of: the names of its relations, its inputs, its episodes and their evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ewdetect.flows.sql import name
from ewdetect.plan import Beacon, Deviation, FirstSeen, Key, Steps, Window

Grouped = Window | Steps | Deviation | Beacon


def hits(stage: str) -> str:
    """The relation of a stage's hits: `#t`, `#ref`, for windows `#end` and `#value`, and the fields or keys.

    No field and no alias can begin with `#`, which is a comment in YAML.
    """
    return name(f"{stage} hits")


def evidence(stage: str) -> str:
    """The relation of a window's evidence: `ref` of the hit and `seq` of the flow."""
    return name(f"{stage} evidence")


def scratch(stage: Grouped | FirstSeen) -> str:
    """The scratch table with the rows that a stage looks at."""
    return name(f"{stage.name} rows")


def keys_of(keys: Sequence[Key]) -> list[str]:
    """The columns that hold the keys in scratch tables."""
    return [f"k{i}" for i in range(len(keys))]


def one_input(number: int, stage: str, keys: Sequence[Key], values: Sequence[str]) -> str:
    """One input as (t, ref, step, k0 …, v0 …), without the hits that lack a key or a value."""
    fields = [key.fields[stage] for key in keys]
    columns = [f"{name(f)} AS k{i}" for i, f in enumerate(fields)] + [
        f"{name(v)} AS v{i}" for i, v in enumerate(values)
    ]
    present = " AND ".join(f"{name(f)} IS NOT NULL" for f in [*fields, *values]) or "true"
    return f"SELECT \"#t\" AS t, \"#ref\" AS ref, {number} AS step{more(columns)} FROM {hits(stage)} WHERE {present}"


def all_inputs(stage: Grouped, keys: Sequence[Key], values: Mapping[str, Sequence[str]]) -> str:
    """All inputs, one below the other."""
    return " UNION ALL ".join(one_input(i, s, keys, values[s]) for i, s in enumerate(stage.inputs))


def once(rows: str, query: str) -> str:
    """A query on `chosen`, the rows of all inputs: their conditions are judged once however often it reads them."""
    return f"WITH chosen AS MATERIALIZED ({rows}) SELECT * FROM ({query})"


def groups_where(rows: str, keys: Sequence[str], holds: str) -> str:
    """The rows of the groups for which an aggregate condition holds."""
    group = ", ".join(keys)
    kept = f"SELECT {group} FROM {rows} GROUP BY {group} HAVING {holds}"
    return f"SELECT * FROM {rows} SEMI JOIN ({kept}) USING ({group})"


def by(keys: Sequence[str]) -> str:
    """The partition of a window function, if there is a key."""
    return f"PARTITION BY {', '.join(keys)} " if keys else ""


def comma(columns: Iterable[str]) -> str:
    """Columns before others."""
    return "".join(f"{c}, " for c in columns)


def more(columns: Iterable[str]) -> str:
    """Columns after others."""
    return "".join(f", {c}" for c in columns)


# ---------------------------------------------------------------- episodes and their evidence

def episodes(stage: Grouped, keys: Sequence[str], instants: str, holds: str, held: str) -> str:
    """One row for each episode; `#t` is the crossing."""
    order = f"({by(keys)}ORDER BY t)"
    named = comma(f"{k} AS {name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    grouped = ", ".join([*keys, "episode"])
    judged = f"SELECT *, {holds} AS holds, {held} AS held FROM ({instants})"
    begun = f"SELECT *, holds AND NOT (held AND coalesce(lag(holds) OVER {order}, false)) AS begins FROM ({judged})"
    numbered = f"SELECT *, sum(CAST(begins AS INTEGER)) OVER {order} AS episode FROM ({begun})"
    return (f"CREATE OR REPLACE TEMP TABLE {hits(stage.name)} AS "
            f"SELECT row_number() OVER (ORDER BY min(t), {grouped}) AS \"#ref\", {named}min(t) AS \"#t\", "
            f"max(t) AS \"#end\", arg_min(value, t) AS \"#value\" FROM ({numbered}) WHERE holds GROUP BY {grouped}")


def evidence_of(stage: Grouped, keys: Sequence[str], windows: frozenset[str]) -> str:
    """The flows in the window at the crossing; for hits of an earlier window, the flows behind those."""
    match = "".join(f" AND r.{k} = h.{name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    joined = (f"FROM {hits(stage.name)} h JOIN {scratch(stage)} r "
              f"ON r.t > h.\"#t\" - {stage.timespan} AND r.t <= h.\"#t\"{match}")
    parts = []
    for step, source in enumerate(stage.inputs):
        behind = f" JOIN {evidence(source)} e ON e.ref = r.ref" if source in windows else ""
        seq = "e.seq" if source in windows else "r.ref AS seq"
        parts.append(f"SELECT h.\"#ref\" AS ref, {seq} {joined}{behind} WHERE r.step = {step}")
    return (
        f"CREATE OR REPLACE TEMP TABLE {evidence(stage.name)} AS SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)})"
    )

"""A measure of each bucket against the group's own past.

Buckets are numbered from 1970. A bucket's past is a list: the values of earlier buckets of its season, with a zero
for each in which nothing happened. Flows are looked at twice: to sum up buckets, and, in the few that stand out, to
find the instant at which they do.
"""

from __future__ import annotations

from collections.abc import Sequence

from ewdetect.backends.duckdb.measures import measured
from ewdetect.backends.duckdb.parts import all_inputs, comma, evidence, hits, keys_of, scratch
from ewdetect.flows.sql import name, text
from ewdetect.plan import Deviation


def deviation(stage: Deviation) -> tuple[str, ...]:
    """One hit for each run of adjacent buckets that deviate."""
    keys = keys_of(stage.keys)
    totals = name(f"{stage.name} totals")
    runs = name(f"{stage.name} runs")
    return (
        f"CREATE OR REPLACE TEMP TABLE {scratch(stage)} AS SELECT *, t // {stage.bucket} AS n "
        f"FROM ({all_inputs(stage, stage.keys, stage.measure.fields)})",
        f"CREATE OR REPLACE TEMP TABLE {totals} AS {_totals(stage, keys)}",
        f"CREATE OR REPLACE TEMP TABLE {runs} AS {_runs(stage, keys, totals)}",
        f"CREATE OR REPLACE TEMP TABLE {hits(stage.name)} AS {_hits(stage, keys, runs)}",
        f"CREATE OR REPLACE TEMP TABLE {evidence(stage.name)} AS {_evidence(stage, keys)}",
        *(f"DROP TABLE {table}" for table in (runs, totals, scratch(stage))),
    )


def _totals(stage: Deviation, keys: Sequence[str]) -> str:
    """The measure of each bucket as `value`; `born` is the first bucket that begins no earlier than the group did."""
    group = ", ".join(keys)
    busy = f"SELECT {group}, n, CAST({measured(stage.measure)} AS DOUBLE) AS value FROM {scratch(stage)} GROUP BY ALL"
    born = (f"SELECT {group}, (min(t) + {stage.bucket - 1}) // {stage.bucket} AS born FROM {scratch(stage)} "
            "GROUP BY ALL")
    if stage.above:
        return f"SELECT * FROM ({busy}) JOIN ({born}) USING ({group})"
    # Silence is judged where the data goes on: some flow starts at the end of the bucket or later.
    last = f'(SELECT max("event.start") // {stage.bucket} FROM flow)'
    every = f"SELECT *, unnest(range(born, {last})) AS n FROM ({born})"
    return (f"SELECT {group}, n, coalesce(value, 0) AS value, born FROM ({every}) LEFT JOIN ({busy}) "
            f"USING ({group}, n)")


def _runs(stage: Deviation, keys: Sequence[str], totals: str) -> str:
    """The deviating buckets; `run` is the same in adjacent ones."""
    group = ", ".join(keys)
    season = stage.season // stage.bucket
    back = stage.history // stage.bucket
    past = (f"coalesce(list(value) FILTER (WHERE n >= born) OVER (PARTITION BY {group}, n % {season} ORDER BY n "
            f"RANGE BETWEEN {back} PRECEDING AND 1 PRECEDING), [])")
    number = f"greatest(least({back}, n - born) // {season}, 0)"
    judged = (f"SELECT {comma(keys)}n, value, list_aggregate(past, 'median') AS middle, "
              f"list_aggregate(past, 'mad') AS mad FROM (SELECT {comma(keys)}n, value, "
              f"list_resize({past}, {number}, 0.0::DOUBLE) AS past FROM {totals}) WHERE len(past) >= {stage.minimum}")
    if stage.others:
        sums = "sum({0}) OVER (PARTITION BY n) - {0}"
        judged = (f"SELECT *, {sums.format('value')} >= {text(stage.others)} * ({sums.format('middle')}) AS alive "
                  f"FROM ({judged})")
    run = f"n - row_number() OVER (PARTITION BY {group} ORDER BY n)"
    return (f"SELECT {comma(keys)}n, value, {run} AS run, middle, mad FROM ({judged}) "
            f"WHERE {_deviates(stage)}")


def _deviates(stage: Deviation) -> str:
    factor, floor = text(stage.factor), text(stage.floor)
    if stage.above:
        return f"value >= {floor} AND value > middle + {factor} * mad"
    alive = " AND alive" if stage.others else ""
    return f"middle >= {floor} AND value <= {factor} * middle{alive}"


def _hits(stage: Deviation, keys: Sequence[str], runs: str) -> str:
    """One row for each run: above at the instant at which its first bucket deviates, below at that bucket's end."""
    named = comma(f"{k} AS {name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    found = _risen(stage, keys, runs) if stage.above else (
        f"SELECT {comma(keys)}(min(n) + 1) * {stage.bucket} AS t, (max(n) + 1) * {stage.bucket} AS ended, "
        f"arg_min(value, n) AS value FROM {runs} GROUP BY {', '.join(keys)}, run")
    return (f"SELECT row_number() OVER (ORDER BY t, {', '.join(keys)}) AS \"#ref\", {named}t AS \"#t\", "
            f"ended AS \"#end\", value AS \"#value\" FROM ({found})")


def _risen(stage: Deviation, keys: Sequence[str], runs: str) -> str:
    """Where the flows of a run's first bucket reach the bound; the run ends with the last flow of its last bucket."""
    run = ", ".join([*keys, "run"])
    flows = (f"SELECT s.*, run, middle, mad, n = min(n) OVER (PARTITION BY {run}) AS is_first "
             f"FROM {scratch(stage)} s JOIN {runs} USING ({', '.join(keys)}, n)")
    over = f"(PARTITION BY {run} ORDER BY t)"
    so_far = f"SELECT {run}, t, middle, mad, {measured(stage.measure, over)} AS value FROM ({flows}) WHERE is_first"
    ended = f"SELECT {run}, max(t) AS ended FROM ({flows}) GROUP BY ALL"
    return (f"SELECT {comma(keys)}min(t) AS t, any_value(ended) AS ended, arg_min(value, t) AS value "
            f"FROM ({so_far}) JOIN ({ended}) USING ({run}) WHERE {_deviates(stage)} GROUP BY {run}")


def _evidence(stage: Deviation, keys: Sequence[str]) -> str:
    """Above, the bucket's flows up to the crossing; below, those of the bucket, or else the last before it."""
    match = " AND ".join(f"r.{k} = h.{name(key.name)}" for k, key in zip(keys, stage.keys, strict=True))
    joined = f"FROM {hits(stage.name)} h JOIN {scratch(stage)} r ON {match}"
    if stage.above:
        return (f"SELECT DISTINCT h.\"#ref\" AS ref, r.ref AS seq {joined} AND r.n = h.\"#t\" // {stage.bucket} "
                "AND r.t <= h.\"#t\"")
    return (f"SELECT DISTINCT ref, seq FROM (SELECT h.\"#ref\" AS ref, r.ref AS seq, r.t, max(r.t) OVER "
            f"(PARTITION BY h.\"#ref\") AS latest, h.\"#t\" - {stage.bucket} AS begun {joined} AND r.t < h.\"#t\") "
            "WHERE t >= begun OR t = latest")

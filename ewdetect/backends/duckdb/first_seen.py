"""Combinations that are new → their flows.

A grouped scan: what a combination's first and last instant are says whether it can ever be new a second time. Only
where they lie at least a history apart, which is rare, are its flows put in order.
"""

from __future__ import annotations

from ewdetect.backends.duckdb.parts import comma, hits, keys_of, one_input, scratch
from ewdetect.flows.sql import name
from ewdetect.plan import FirstSeen


def first_seen(stage: FirstSeen) -> tuple[str, ...]:
    """The hits are flows with all their fields, so that later stages can group by and count any of them."""
    base, = stage.inputs
    keys = keys_of(stage.keys)
    rows = f"({one_input(0, base, stage.keys, ())})"
    match = " AND ".join(f"f.{name(key.fields[base])} = n.{k}" for k, key in zip(keys, stage.keys, strict=True))
    return (
        f"CREATE OR REPLACE TEMP TABLE {scratch(stage)} AS {_new(stage, rows, keys)}",
        f"CREATE OR REPLACE TEMP TABLE {hits(stage.name)} AS SELECT f.* FROM {hits(base)} f JOIN {_known(stage)} n "
        f'ON {match} AND f."#t" >= n.t AND f."#t" < n.t + {max(stage.fresh, 1)}',
        f"DROP TABLE {scratch(stage)}",
    )


def _new(stage: FirstSeen, rows: str, keys: list[str]) -> str:
    """Each instant at which a combination is new, from the warm-up on."""
    group = ", ".join(keys)
    spans = f"SELECT {group}, min(t) AS first, max(t) AS last FROM {rows} GROUP BY {group}"
    # Of two rows of one instant the second has the instant itself before it, and is not new.
    again = (f"SELECT {comma(keys)}t, lag(t) OVER (PARTITION BY {group} ORDER BY t) AS earlier FROM {rows} "
             f"SEMI JOIN (SELECT * FROM spans WHERE last - first >= {stage.history}) USING ({group})")
    return (f"WITH spans AS MATERIALIZED ({spans}) SELECT {comma(keys)}t FROM (SELECT {comma(keys)}first AS t "
            f"FROM spans UNION ALL SELECT {comma(keys)}t FROM ({again}) WHERE earlier <= t - {stage.history}) "
            f'WHERE t >= (SELECT min("event.start") FROM flow) + {stage.warm_up}')


def _known(stage: FirstSeen) -> str:
    """The new instants, or those at which the aged part of the combination is old enough."""
    if stage.aged is None:
        return scratch(stage)
    base, = stage.inputs
    numbers = {key.name: f"k{i}" for i, key in enumerate(stage.keys)}
    parts = [(numbers[field], name(field)) for field in stage.aged.fields]
    present = " AND ".join(f"{field} IS NOT NULL" for _, field in parts)
    seen = (f'SELECT DISTINCT "#t" AS t, {", ".join(f"{field} AS {k}" for k, field in parts)} FROM {hits(base)} '
            f"WHERE {present}")
    match = " AND ".join(f"n.{k} = s.{k}" for k, _ in parts)
    return (f"(SELECT n.* FROM {scratch(stage)} n ASOF JOIN ({seen}) s ON {match} AND n.t - {stage.aged.age} >= s.t "
            f"WHERE s.t > n.t - {stage.history})")

"""Regular connections: the score of a group's window at each of its instants.

What a window holds is counted first. The medians and quartiles, which cost far more, are taken only where number and
duration allow a beacon, and then only where the intervals do: elsewhere the frame is narrowed to the row itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ewdetect.backends.duckdb.parts import (
    all_inputs,
    by,
    comma,
    episodes,
    evidence_of,
    groups_where,
    keys_of,
    once,
    scratch,
)
from ewdetect.flows.sql import text
from ewdetect.plan import Beacon

# Below this the quartiles lie too close together for a skewness to mean anything, as in RITA: 10 s and 10 bytes.
_SECONDS, _BYTES = 10_000_000, 10


def beacon(stage: Beacon, windows: frozenset[str]) -> tuple[str, ...]:
    """One hit for all instants at which the condition holds, as long as no timespan passes without one."""
    keys = keys_of(stage.keys)
    base, = stage.inputs
    rows = all_inputs(stage, stage.keys, {base: (stage.size,)})
    # A group that has too few instants over all time has too few in every window.
    enough = groups_where("chosen", keys, f"count(*) >= {stage.minimum} AND max(t) - min(t) >= {stage.lasting}")
    return (
        f"CREATE OR REPLACE TEMP TABLE {scratch(stage)} AS {once(rows, enough)}",
        episodes(stage, keys, _regular(stage, keys), "true", f"coalesce(t - earlier < {stage.timespan}, false)"),
        evidence_of(stage, keys, windows),
        f"DROP TABLE {scratch(stage)}",
    )


def _regular(stage: Beacon, keys: Sequence[str]) -> str:
    """The instants at which the condition holds, with the one before."""
    return (f"SELECT *, lag(t) OVER ({by(keys)}ORDER BY t) AS earlier FROM ({_scored(stage, keys)}) "
            f"WHERE able AND value >= {stage.score}")


def _scored(stage: Beacon, keys: Sequence[str]) -> str:
    """Every instant of every group: whether a beacon is possible there (`able`), and the score (`value`)."""
    on = ", ".join([*keys, "t"])
    gaps = (f"SELECT *, quantile_cont(gap, [0.25, 0.5, 0.75]) OVER w AS gaps "
            f"FROM {_likely('steady', 'steady', keys)} WINDOW w AS {_gap_frame(stage, keys)}")
    width = f"CASE WHEN able THEN {stage.timespan - 1} ELSE 0 END"
    sizes = (f"SELECT DISTINCT {on}, sizes, size_mad FROM (SELECT {on}, able, "
             f"quantile_cont(v0, [0.25, 0.5, 0.75]) OVER w AS sizes, mad(v0) OVER w AS size_mad "
             f"FROM (SELECT * FROM {_likely(scratch(stage), 'steady', keys)}) LEFT JOIN steady USING ({on}) "
             f"WINDOW w AS ({by(keys)}ORDER BY t RANGE BETWEEN {width} PRECEDING AND CURRENT ROW)) "
             "WHERE able")
    parts = [_symmetry("gaps", _SECONDS), _steadiness("gaps[2]", "gap_mad"),
             _symmetry("sizes", _BYTES), _steadiness("sizes[2]", "size_mad")]
    return (f"WITH instants AS MATERIALIZED ({_instants(stage, keys)}), "
            f"steady AS MATERIALIZED ({_steady(stage, keys)}) "
            f"SELECT {comma(keys)}t, able, round(({' + '.join(parts)}) / 4, 3) AS value "
            f"FROM ({gaps}) LEFT JOIN ({sizes}) USING ({on})")


def _steady(stage: Beacon, keys: Sequence[str]) -> str:
    """The instants again, able only where the intervals are so steady that the other parts can still make the score.

    Traffic without a rhythm ends here, before three more window functions are taken over it.
    """
    gaps = (f"SELECT *, CASE WHEN t - earlier < {stage.timespan} THEN t - earlier END AS gap "
            f"FROM {_likely('instants', 'instants', keys)} WHERE earlier IS NOT NULL")
    taken = (f"SELECT *, median(gap) OVER w AS gap_median, mad(gap) OVER w AS gap_mad FROM ({gaps}) "
             f"WINDOW w AS {_gap_frame(stage, keys)}")
    # The score is rounded to three decimals, so half of the last one may be missing.
    least = 4 * (stage.score - 0.0005) - 3
    return (f"SELECT * EXCLUDE gap_median REPLACE (able AND {_steadiness('gap_median', 'gap_mad')} >= {text(least)} "
            f"AS able) FROM ({taken})")


def _likely(rows: str, judged: str, keys: Sequence[str]) -> str:
    """The rows of the groups that have any instant that is able."""
    group = ", ".join(keys)
    return f"{rows} SEMI JOIN (SELECT {group} FROM {judged} WHERE able) USING ({group})"


def _gap_frame(stage: Beacon, keys: Sequence[str]) -> str:
    """An interval lies in the window with both its ends, so the frame goes by where it begins."""
    begin = f"CASE WHEN able THEN {stage.timespan - 1} - (t - earlier) ELSE 0 END"
    return f"({by(keys)}ORDER BY earlier RANGE BETWEEN {begin} PRECEDING AND CURRENT ROW)"


def _instants(stage: Beacon, keys: Sequence[str]) -> str:
    """One row for each instant of a group, with the instant before it."""
    each = ", ".join([*keys, "t"])
    counted = (f"SELECT *, count(*) OVER w AS n, min(t) OVER w AS first FROM (SELECT DISTINCT {each} "
               f"FROM {scratch(stage)}) WINDOW w AS ({by(keys)}ORDER BY t RANGE BETWEEN {stage.timespan - 1} PRECEDING "
               "AND CURRENT ROW)")
    most = "" if stage.maximum is None else f" AND n <= {stage.maximum}"
    return (f"SELECT {each}, lag(t) OVER ({by(keys)}ORDER BY t) AS earlier, "
            f"n >= {stage.minimum}{most} AND t - first >= {stage.lasting} AS able FROM ({counted})")


def _symmetry(name: str, least: int) -> str:
    """One minus Bowley's skewness without its sign; one where the quartiles tell nothing."""
    low, middle, high = (f"{name}[{n}]" for n in (1, 2, 3))
    return (f"CASE WHEN {high} - {low} >= {least} AND {middle} <> {low} AND {middle} <> {high} "
            f"THEN 1 - abs(({low} + {high} - 2 * {middle}) / ({high} - {low})) ELSE 1 END")


def _steadiness(median: str, mad: str) -> str:
    """How small the median absolute deviation is beside the median."""
    return f"CASE WHEN {median} >= 1 THEN greatest(({median} - {mad}) / {median}, 0) ELSE 0 END"

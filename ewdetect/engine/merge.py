"""Several records of one connection → one: both ways, both ends, installments. What source.yml calls `merge`.

Works on `record` once the table `address` is there. Damaged records stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from ewdetect.engine.read import BY, REPORTER
from ewdetect.flows import Orientation, Source
from ewdetect.flows.source import Merge
from ewdetect.flows.sql import name, sql_type
from ewdetect.model import Field
from ewdetect.plan import seconds

_COUNTED = ("bytes", "packets")
_NAT = ("nat.ip", "nat.port")


def merge(db: duckdb.DuckDBPyConnection, source: Source, kept: Mapping[str, Field], orientation: Orientation) -> int:
    """Put what belongs together into one row of `record`, and say how many rows went into others.

    A connection's two sides are called a and b, whichever way its records go: a has the smaller address.
    """
    assert source.merge is not None
    # A length that no record tells is not made up from the clocks of two reporters.
    record = {f.name: f for f in kept.values() if f.origin == "record" and source.tells(f.name)}
    before = _count(db)
    db.execute(f"CREATE OR REPLACE TEMP TABLE single AS {_single(source.merge, record)}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE record AS SELECT * FROM ({_merged(source.merge, record, orientation)}) "
               f"UNION ALL BY NAME SELECT * EXCLUDE ({BY}, {REPORTER}) FROM record WHERE damage IS NOT NULL "
               f"UNION ALL BY NAME SELECT r.* EXCLUDE ({BY}, {REPORTER}) FROM record r "
               f"WHERE damage IS NULL AND NOT ({_WHOLE})")
    db.execute("DROP TABLE single")
    return before - _count(db)


def _count(db: duckdb.DuckDBPyConnection) -> int:
    found = db.execute("SELECT count(*) FROM record").fetchone()
    return int(found[0]) if found else 0


_WHOLE = ('EXISTS (SELECT 1 FROM address a WHERE a.spelling = r."source.ip") '
          'AND EXISTS (SELECT 1 FROM address b WHERE b.spelling = r."destination.ip")')
_KEY = '"#a", "#pa", "#b", "#pb", "network.transport", ' + BY
_END = '"event.start" + CAST(coalesce("event.duration", 0) * 1000000 AS BIGINT)'


def _single(merge: Merge, record: Mapping[str, Field]) -> str:
    """Whole records with their connection's key, whether they go from a to b (`ahead`), and which session of the key.

    A session ends where nothing is heard for longer than the gap.
    """
    gap = seconds(merge.gap) * 1_000_000
    ports = [f'coalesce("{side}.port", -1)' for side in ("source", "destination")]
    ahead = f"a.id < b.id OR (a.id = b.id AND {ports[0]} <= {ports[1]})"
    keyed = f"""SELECT r.*, {_END} AS "#end", {ahead} AS ahead, least(a.id, b.id) AS "#a", greatest(a.id, b.id) AS "#b",
               CASE WHEN {ahead} THEN {ports[0]} ELSE {ports[1]} END AS "#pa",
               CASE WHEN {ahead} THEN {ports[1]} ELSE {ports[0]} END AS "#pb"
        FROM record r JOIN address a ON r."source.ip" = a.spelling JOIN address b ON r."destination.ip" = b.spelling
        WHERE damage IS NULL"""
    until = (f'max("#end") OVER (PARTITION BY {_KEY} ORDER BY "event.start", "#end" '
             "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)")
    fresh = f'SELECT *, CASE WHEN "event.start" > {until} + {gap} THEN 1 ELSE 0 END AS fresh FROM ({keyed})'
    return (f'SELECT * EXCLUDE (fresh), sum(fresh) OVER (PARTITION BY {_KEY} ORDER BY "event.start", "#end" '
            f'ROWS UNBOUNDED PRECEDING) AS "#session" FROM ({fresh})')


def _merged(merge: Merge, record: Mapping[str, Field], orientation: Orientation) -> str:
    """One row for each session, from its initiator to its responder."""
    group = f'{_KEY}, "#session"'
    voted = f"""SELECT *, {_a_began(orientation)} AS a_began FROM (
        SELECT *, arg_min(ahead = proved, ("event.start", NOT proved)) FILTER (proved OR reply) OVER w AS told,
               bool_and(ahead) OVER w OR NOT bool_or(ahead) OVER w AS one_way,
               min("event.start") FILTER (ahead) OVER w AS a_first,
               min("event.start") FILTER (NOT ahead) OVER w AS b_first
        FROM single WINDOW w AS (PARTITION BY {group}))"""
    forward = f"SELECT *, ahead = a_began AS onward FROM ({voted})"
    if merge.reporter:
        return _columns(record, f"{group}, one_way, told", _by_reporter(merge, record, forward, group), "max", merge)
    return _columns(record, f"{group}, one_way, told", forward, merge.counters, merge)


def _a_began(orientation: Orientation) -> str:
    """Evidence first, then a service port, then who was heard first, then the lower port. One direction is trusted."""
    ports = ", ".join(map(str, orientation.service_ports))
    def serves(this: str, other: str) -> str:
        return f'("{this}" IN ({ports}) AND "{other}" >= {orientation.ephemeral_from})'
    return (f"CASE WHEN one_way THEN ahead WHEN told IS NOT NULL THEN told WHEN {serves('#pb', '#pa')} THEN true "
            f"WHEN {serves('#pa', '#pb')} THEN false WHEN a_first <> b_first THEN a_first < b_first "
            'ELSE "#pa" >= "#pb" END')


def _sides(attribute: str) -> tuple[str, str]:
    return f"source.{attribute}", f"destination.{attribute}"


def _by_reporter(merge: Merge, record: Mapping[str, Field], forward: str, group: str) -> str:
    """Counters of each reporter and direction added up, so that the greatest of a direction counts afterwards.

    Every record keeps a row; the sum stands in the first of its reporter's, and in the others nothing.
    """
    counters = [c for attribute in _COUNTED for c in _sides(attribute) if c in record]
    window = f"PARTITION BY {group}, onward, {REPORTER}"
    sums = ", ".join(f"{merge.counters}({name(c)}) OVER ({window}) AS {name(c)}" for c in counters)
    return f"SELECT * {f'REPLACE ({sums})' if sums else ''} FROM ({forward})"


def _columns(record: Mapping[str, Field], group: str, rows: str, function: str, merge: Merge) -> str:
    made = ", ".join(f"CAST({_column(f, function, merge)} AS {sql_type(f)}) AS {name(f.name)}" for f in record.values())
    # `told` is whether a began. A reply alone stays as it is; the reader turns it, and says that it did.
    alone = "coalesce(one_way AND told <> bool_or(ahead), false)"
    return (f"SELECT {made}, told IS NOT NULL AND NOT {alone} AS proved, {alone} AS reply, "
            f"max(lost_numbers) AS lost_numbers, CAST(NULL AS VARCHAR) AS damage FROM ({rows}) GROUP BY {group}")


def _column(field: Field, function: str, merge: Merge) -> str:
    side, _, attribute = field.name.partition(".")
    here = name(field.name)
    first = _earliest(here)
    if field.name == "event.start":
        return f"min({here})"
    if field.name == "event.duration":
        return 'CASE WHEN count("event.duration") > 0 OR count(*) > 1 THEN (max("#end") - min("event.start")) / 1e6 END'
    if field.name == "flow.outcome":
        return _outcome("bool_or(onward) AND bool_or(NOT onward)" if merge.answers else "false")
    if field.name == "event.action":
        return f"CASE WHEN bool_or({here} = 'denied') THEN 'denied' ELSE CAST({first} AS VARCHAR) END"
    if field.name == "network.state":
        return f'arg_max({here}, ("#end", {here}))'
    if side in ("source", "destination"):
        other = {"source": "destination", "destination": "source"}[side] + "." + attribute
        turned = name(other)
        if attribute in _COUNTED:
            return f"{function}(CASE WHEN onward THEN {here} ELSE {turned} END)"
        return _earliest(f"CASE WHEN onward THEN {here} ELSE {turned} END")
    return first


def _earliest(value: str) -> str:
    """What the initiator's first record says; of two at one time the lesser, so that every run says the same."""
    return f"arg_min({value}, (NOT onward, {name('event.start')}, {value}))"


def _outcome(both_spoke: str) -> str:
    """A policy's word counts most; then that both sides spoke; then a refusal."""
    said = [f"WHEN bool_or(\"flow.outcome\" = '{word}') THEN '{word}'" for word in ("denied", "established", "failed")]
    return f"CASE {' '.join(said)} WHEN {both_spoke} THEN 'established' ELSE any_value(\"flow.outcome\") END"

"""Several records of one connection → one: both ways, both ends, installments. What source.yml calls `merge`.

Works on `record` once the table `address` is there. Damaged records stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from ewdetect.engine.flow import opposite
from ewdetect.engine.read import BY, REPORTER
from ewdetect.flows import Orientation, Source
from ewdetect.flows.source import Merge
from ewdetect.flows.sql import name, sql_type
from ewdetect.model import Field
from ewdetect.plan import seconds

_COUNTED = ("bytes", "packets")


def merge(db: duckdb.DuckDBPyConnection, source: Source, kept: Mapping[str, Field], orientation: Orientation) -> int:
    """Put what belongs together into one row of `record`, and say how many rows went into others.

    A connection's two sides are called a and b, whichever way its records go: a has the smaller address. Most
    connections have one record, which stays where it is.
    """
    assert source.merge is not None
    # A length that no record tells is not made up from the clocks of two reporters.
    record = {f.name: f for f in kept.values() if f.origin == "record" and source.tells(f.name)}
    db.execute(f"CREATE OR REPLACE TEMP VIEW keyed AS {_KEYED}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE connection AS {_connections(source.merge)}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE together AS {_together(source.merge)}")
    before = _count(db)
    db.execute('DELETE FROM record WHERE rowid IN (SELECT "#row" FROM together)')
    db.execute(f"INSERT INTO record BY NAME {_merged(source.merge, _filled(db, record), orientation)}")
    db.execute("DROP VIEW keyed; DROP TABLE connection; DROP TABLE together")
    return before - _count(db)


def _count(db: duckdb.DuckDBPyConnection) -> int:
    found = db.execute("SELECT count(*) FROM record").fetchone()
    return int(found[0]) if found else 0


_MADE = {"event.start", "event.duration", "flow.outcome"}


def _filled(db: duckdb.DuckDBPyConnection, record: Mapping[str, Field]) -> dict[str, Field]:
    """The fields that have a value in any record of `together`, and those that come of putting records together.

    Most sensors leave some out, such as what NAT did.
    """
    found = db.execute(f"SELECT {', '.join(f'count({name(f)})' for f in record)} FROM together").fetchone() or ()
    told = {f for f, count in zip(record, found, strict=True) if count} | _MADE
    return {f: field for f, field in record.items() if f in told or opposite(f) in told}


def _gap(merge: Merge) -> int:
    """In microseconds."""
    return seconds(merge.gap) * 1_000_000


_PORTS = [f'coalesce("{side}.port", -1)' for side in ("source", "destination")]
_AHEAD = f"(a.id < b.id OR (a.id = b.id AND {_PORTS[0]} <= {_PORTS[1]}))"
_BASE = 65_537          # ports, and none
_A_PORT, _B_PORT = (f"CASE WHEN {_AHEAD} THEN {here} ELSE {there} END" for here, there in (_PORTS, _PORTS[::-1]))

# Whole records, the key of their connection, and whether they go from a to b (`ahead`). Two hosts are one number, and
# two ports, since that is compared faster.
_KEYED = f"""SELECT r.*, r.rowid AS "#row", {_AHEAD} AS ahead,
           "event.start" + CAST(coalesce("event.duration", 0) * 1000000 AS BIGINT) AS "#end",
           CAST(least(a.id, b.id) AS BIGINT) << 32 | greatest(a.id, b.id) AS "#hosts",
           CAST({_A_PORT} + 1 AS BIGINT) * {_BASE} + {_B_PORT} + 1 AS "#ports",
           coalesce("network.transport", '') AS "#transport"
    FROM record r JOIN address a ON r."source.ip" = a.spelling JOIN address b ON r."destination.ip" = b.spelling
    WHERE damage IS NULL"""

# Evidence in the order of its weight: the earliest, proof before a reply, that a began before that b did.
_EVIDENCE = '"event.start" * 4 + CASE WHEN proved THEN 0 ELSE 2 END + CASE WHEN ahead = proved THEN 0 ELSE 1 END'
# What the records of a session say together: who began (`told`: that a did), and when each side was heard first.
_VOTES = {
    "told": f"min({_EVIDENCE}) FILTER (proved OR reply) % 2 = 0",
    "one_way": "bool_and(ahead) OR NOT bool_or(ahead)",
    "a_first": 'min("event.start") FILTER (ahead)',
    "b_first": 'min("event.start") FILTER (NOT ahead)',
}
_GROUP = '"#connection", "#session"'
_VOTED = ", ".join(f"{vote} AS {column}" for column, vote in _VOTES.items())


def _key(merge: Merge) -> list[str]:
    """The columns that records of one connection share."""
    return [*map(name, ("#hosts", "#ports", "#transport")), *([BY] if merge.by else [])]


def _connections(merge: Merge) -> str:
    """Keys of more than one record, their votes, and whether they last so long that they may be several sessions."""
    long = f'max("event.start") - min("event.start") > {_gap(merge)} AS long'
    return f'SELECT {", ".join(_key(merge))}, {long}, {_VOTED} FROM keyed GROUP BY ALL HAVING count(*) > 1'


def _together(merge: Merge) -> str:
    """The records of these connections, which session of the connection each belongs to, and the session's votes.

    A session ends where nothing is heard for longer than the gap.
    """
    same = " AND ".join(f"k.{key} = c.{key}" for key in _key(merge))
    here = f"FROM keyed k JOIN connection c ON {same} WHERE"
    short = f'SELECT k.*, c.rowid AS "#connection", 0 AS "#session", {", ".join(_VOTES)} {here} NOT long'
    long = f'SELECT k.*, c.rowid AS "#connection" {here} long'
    order = 'PARTITION BY "#connection" ORDER BY "event.start", "#end"'
    until = f'max("#end") OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'
    fresh = f'CASE WHEN "event.start" > {until} + {_gap(merge)} THEN 1 ELSE 0 END AS fresh'
    session = f'CAST(sum(fresh) OVER ({order} ROWS UNBOUNDED PRECEDING) AS INTEGER) AS "#session"'
    numbered = f'SELECT * EXCLUDE (fresh), {session} FROM (SELECT *, {fresh} FROM ({long}))'
    votes = f"SELECT {_GROUP}, {_VOTED} FROM numbered GROUP BY {_GROUP}"
    return (f"WITH numbered AS MATERIALIZED ({numbered}) {short} "
            f"UNION ALL BY NAME SELECT * FROM numbered JOIN ({votes}) USING ({_GROUP})")


def _merged(merge: Merge, record: Mapping[str, Field], orientation: Orientation) -> str:
    """One row for each session, from its initiator to its responder."""
    ports = f'"#ports" // {_BASE} - 1 AS "#pa", "#ports" % {_BASE} - 1 AS "#pb"'
    voted = f"SELECT *, {ports}, {_a_began(orientation)} AS a_began FROM together"
    forward = f"SELECT *, ahead = a_began AS onward FROM ({voted})"
    opening = 'onward AND "event.start" = CASE WHEN a_began THEN a_first ELSE b_first END AS opening'
    rows = f"SELECT *, {opening} FROM ({forward})"
    if not merge.reporter or not _counters(record):
        return _columns(record, rows, merge, {c: f"{merge.counters}({_onward(c)})" for c in _counters(record)})
    told = {c: f"any_value({name(f'#{c}')})" for c in _counters(record)}
    return (f"WITH spoken AS MATERIALIZED ({rows}), counted AS ({_counted(merge, record)}) "
            f"{_columns(record, f'SELECT * FROM spoken JOIN counted USING ({_GROUP})', merge, told)}")


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


def _counters(record: Mapping[str, Field]) -> list[str]:
    return [c for attribute in _COUNTED for c in _sides(attribute) if c in record]


def _onward(field: str) -> str:
    """A side's value in the direction from the initiator."""
    return f"CASE WHEN onward THEN {name(field)} ELSE {name(opposite(field))} END"


def _counted(merge: Merge, record: Mapping[str, Field]) -> str:
    """Counters of each session: added up for each reporter and direction, and of these sums the greatest."""
    counters = _counters(record)
    sums = ", ".join(f"{merge.counters}({_onward(c)}) AS {name(c)}" for c in counters)
    greatest = ", ".join(f"max({name(c)}) AS {name(f'#{c}')}" for c in counters)
    each = f"SELECT {', '.join([_GROUP, sums])} FROM spoken GROUP BY {_GROUP}, onward, {REPORTER}"
    return f"SELECT {', '.join([_GROUP, greatest])} FROM ({each}) GROUP BY {_GROUP}"


def _columns(record: Mapping[str, Field], rows: str, merge: Merge, counted: Mapping[str, str]) -> str:
    """`counted` is the SQL of each counter."""
    made = ", ".join(f"CAST({counted.get(f.name) or _column(f, merge)} AS {sql_type(f)}) AS {name(f.name)}"
                     for f in record.values())
    # `told` is whether a began. A reply alone stays as it is; the reader turns it, and says that it did.
    alone = "coalesce(one_way AND told <> bool_or(ahead), false)"
    return (f"SELECT {made}, told IS NOT NULL AND NOT {alone} AS proved, {alone} AS reply, "
            f"max(lost_numbers) AS lost_numbers, CAST(NULL AS VARCHAR) AS damage FROM ({rows}) "
            f"GROUP BY {_GROUP}, one_way, told")


def _column(field: Field, merge: Merge) -> str:
    side, _, attribute = field.name.partition(".")
    here = name(field.name)
    match field.name:
        case "event.start":
            return f"min({here})"
        case "event.duration":
            return (f"CASE WHEN count({here}) > 0 OR count(*) > 1 "
                    'THEN (max("#end") - min("event.start")) / 1e6 END')
        case "flow.outcome":
            return _outcome("bool_or(onward) AND bool_or(NOT onward)" if merge.answers else "false")
        case "event.action":
            return f"CASE WHEN bool_or({here} = 'denied') THEN 'denied' ELSE CAST({_earliest(here)} AS VARCHAR) END"
        case "network.state":
            return f'last({here} ORDER BY "#end", {here}) FILTER ({here} IS NOT NULL)'
        case "network.transport":
            return f"any_value({here})"
    if side not in ("source", "destination"):
        return _earliest(here)
    # All records of a connection agree in addresses and ports, but for how they spell them.
    return f"min({_onward(field.name)})" if attribute in ("ip", "port") else _earliest(_onward(field.name))


def _earliest(value: str) -> str:
    """What the initiator's first record says, or else its others, or else the answers.

    Of several the least, so that every run says the same.
    """
    return f"coalesce(min({value}) FILTER (opening), min({value}) FILTER (onward), min({value}))"


def _outcome(both_spoke: str) -> str:
    """A policy's word counts most; then that both sides spoke; then a refusal."""
    said = [f"WHEN bool_or(\"flow.outcome\" = '{word}') THEN '{word}'" for word in ("denied", "established", "failed")]
    return f"CASE {' '.join(said)} WHEN {both_spoke} THEN 'established' ELSE any_value(\"flow.outcome\") END"

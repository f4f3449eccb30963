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
    connections have one record, which stays where it is: `record` becomes a view of `alone` and `merged`.
    """
    assert source.merge is not None
    # A length that no record tells is not made up from the clocks of two reporters.
    record = {f.name: f for f in kept.values() if f.origin == "record" and source.tells(f.name)}
    db.execute(f"CREATE OR REPLACE TEMP TABLE keyed AS {_keyed(source.merge)}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE connection AS {_connections(source.merge)}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE together AS {_together(source.merge, orientation)}")
    db.execute("DROP TABLE keyed; DROP TABLE connection")
    db.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {_merged(source.merge, _filled(db, record))}")
    before = _count(db)
    db.execute('DELETE FROM record WHERE rowid IN (SELECT "#row" FROM together)')
    db.execute("DROP TABLE together; ALTER TABLE record RENAME TO alone")
    db.execute("CREATE TEMP VIEW record AS FROM alone UNION ALL BY NAME FROM merged")
    return before - _count(db)


def drop_merged(db: duckdb.DuckDBPyConnection) -> None:
    """Drop what `merge` made."""
    db.execute("DROP VIEW record; DROP TABLE alone; DROP TABLE merged")


def _count(db: duckdb.DuckDBPyConnection) -> int:
    found = db.execute("SELECT count(*) FROM record").fetchone()
    return int(found[0]) if found else 0


# The records of `together` with all they say.
_WHOLE = 'record JOIN together t ON record.rowid = t."#row"'
_MADE = {"event.start", "event.duration", "flow.outcome"}


def _filled(db: duckdb.DuckDBPyConnection, record: Mapping[str, Field]) -> dict[str, Field]:
    """The fields that have a value in any record of `together`, and those that come of putting records together.

    Most sensors leave some out, such as what NAT did.
    """
    found = db.execute(f"SELECT {', '.join(f'count({name(f)})' for f in record)} FROM {_WHOLE}").fetchone() or ()
    told = {f for f, count in zip(record, found, strict=True) if count} | _MADE
    return {f: field for f, field in record.items() if f in told or opposite(f) in told}


def _gap(merge: Merge) -> int:
    """In microseconds."""
    return seconds(merge.gap) * 1_000_000


_PORTS = [f'coalesce("{side}.port", -1)' for side in ("source", "destination")]
_AHEAD = f"(a.id < b.id OR (a.id = b.id AND {_PORTS[0]} <= {_PORTS[1]}))"
_BASE = 65_537          # ports, and none
_A_PORT, _B_PORT = (f"CASE WHEN {_AHEAD} THEN {here} ELSE {there} END" for here, there in (_PORTS, _PORTS[::-1]))


def _keyed(merge: Merge) -> str:
    """Of each record the key of its connection, whether it goes from a to b (`ahead`), and what votes are made of.

    Two hosts are one number, and two ports, since that is compared faster. The rest of a record is fetched when it is
    known which belong together, for it takes far longer to carry than these few columns.
    """
    by = f"{BY}, " if merge.by else ""
    return f"""SELECT r.rowid AS "#row", {_AHEAD} AS ahead, proved, reply, "event.start",
           "event.start" + CAST(coalesce("event.duration", 0) * 1000000 AS BIGINT) AS "#end",
           CAST(least(a.id, b.id) AS BIGINT) << 32 | greatest(a.id, b.id) AS "#hosts",
           CAST({_A_PORT} + 1 AS BIGINT) * {_BASE} + {_B_PORT} + 1 AS "#ports",
           {by}coalesce("network.transport", '') AS "#transport"
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
_SESSION = name("#session")
_VOTED = ", ".join(f"{vote} AS {column}" for column, vote in _VOTES.items())


def _key(merge: Merge) -> list[str]:
    """The columns that records of one connection share."""
    return [*map(name, ("#hosts", "#ports", "#transport")), *([BY] if merge.by else [])]


def _connections(merge: Merge) -> str:
    """Keys of more than one record, their votes, and whether they last so long that they may be several sessions."""
    long = f'max("event.start") - min("event.start") > {_gap(merge)} AS long'
    return f'SELECT {", ".join(_key(merge))}, {long}, {_VOTED} FROM keyed GROUP BY ALL HAVING count(*) > 1'


def _sessions(merge: Merge) -> str:
    """The records of these connections, which session each belongs to, and the session's votes.

    A session ends where nothing is heard for longer than the gap. It is one number: its connection, and which of it.
    """
    same = " AND ".join(f"k.{key} = c.{key}" for key in _key(merge))
    record = f'SELECT "#row", "event.start", "#end", k."#ports", ahead, c.rowid << 32 AS {_SESSION}'
    here = f"FROM keyed k JOIN connection c ON {same} WHERE"
    short = f'{record}, {", ".join(_VOTES)} {here} NOT long'
    long = f"{record}, proved, reply {here} long"
    order = f'PARTITION BY {_SESSION} ORDER BY "event.start", "#end"'
    until = f'max("#end") OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'
    fresh = f'CASE WHEN "event.start" > {until} + {_gap(merge)} THEN 1 ELSE 0 END AS fresh'
    which = f"{_SESSION} | CAST(sum(fresh) OVER ({order} ROWS UNBOUNDED PRECEDING) AS BIGINT) AS {_SESSION}"
    numbered = f"SELECT * EXCLUDE (fresh) REPLACE ({which}) FROM (SELECT *, {fresh} FROM ({long}))"
    votes = f"SELECT {_SESSION}, {_VOTED} FROM numbered GROUP BY {_SESSION}"
    return (f"WITH numbered AS MATERIALIZED ({numbered}) {short} UNION ALL BY NAME "
            f"SELECT * EXCLUDE (proved, reply) FROM numbered JOIN ({votes}) USING ({_SESSION})")


def _together(merge: Merge, orientation: Orientation) -> str:
    """The records that are put together, and whether each goes from who began (`onward`).

    Their `rank` says which is asked first what it says: the first ones of who began, then the later ones, then answers.
    """
    ports = f'"#ports" // {_BASE} - 1 AS "#pa", "#ports" % {_BASE} - 1 AS "#pb"'
    began = f"SELECT *, {_a_began(orientation)} AS a_began FROM (SELECT *, {ports} FROM ({_sessions(merge)}))"
    opening = '"event.start" = CASE WHEN a_began THEN a_first ELSE b_first END'
    rank = f"CASE WHEN ahead <> a_began THEN '2' WHEN {opening} THEN '0' ELSE '1' END AS rank"
    return f'SELECT "#row", "#end", {_SESSION}, one_way, told, ahead, ahead = a_began AS onward, {rank} FROM ({began})'


def _merged(merge: Merge, record: Mapping[str, Field]) -> str:
    """One row for each session, from its initiator to its responder."""
    counters = _counters(record)
    if not merge.reporter or not counters:
        return f"SELECT * EXCLUDE ({_SESSION}) FROM ({_columns(record, merge)})"
    others = {f: field for f, field in record.items() if f not in counters}
    return (f"SELECT * EXCLUDE ({_SESSION}) FROM ({_columns(others, merge)}) "
            f"JOIN ({_counted(merge, record)}) USING ({_SESSION})")


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
    greatest = ", ".join(f"CAST(max({name(c)}) AS {sql_type(record[c])}) AS {name(c)}" for c in counters)
    each = f"SELECT {_SESSION}, {sums} FROM {_WHOLE} GROUP BY {_SESSION}, onward, {REPORTER}"
    return f"SELECT {_SESSION}, {greatest} FROM ({each}) GROUP BY {_SESSION}"


def _columns(record: Mapping[str, Field], merge: Merge) -> str:
    made = ", ".join(f"CAST({_column(f, merge)} AS {sql_type(f)}) AS {name(f.name)}" for f in record.values())
    # `told` is whether a began. A reply alone stays as it is; the reader turns it, and says that it did.
    alone = "coalesce(one_way AND told <> bool_or(ahead), false)"
    return (f"SELECT {_SESSION}, {made}, told IS NOT NULL AND NOT {alone} AS proved, {alone} AS reply, "
            f"max(lost_numbers) AS lost_numbers, CAST(NULL AS VARCHAR) AS damage FROM {_WHOLE} "
            f"GROUP BY {_SESSION}, one_way, told")


def _column(field: Field, merge: Merge) -> str:
    side, _, attribute = field.name.partition(".")
    here = name(field.name)
    if attribute in _COUNTED and side in ("source", "destination"):
        return f"{merge.counters}({_onward(field.name)})"
    match field.name:
        case "event.start":
            return f"min({here})"
        case "event.duration":
            return (f"CASE WHEN count({here}) > 0 OR count(*) > 1 "
                    'THEN (max("#end") - min("event.start")) / 1e6 END')
        case "flow.outcome":
            return _outcome("bool_or(onward) AND bool_or(NOT onward)" if merge.answers else "false")
        case "event.action":
            said = _earliest(here, field)
            return f"CASE WHEN bool_or({here} = 'denied') THEN 'denied' ELSE CAST({said} AS VARCHAR) END"
        case "network.state":
            return f'last({here} ORDER BY "#end", {here}) FILTER ({here} IS NOT NULL)'
        case "network.transport":
            return f"any_value({here})"
    if side not in ("source", "destination"):
        return _earliest(here, field)
    # All records of a connection agree in addresses and ports, but for how they spell them.
    onward = _onward(field.name)
    return f"min({onward})" if attribute in ("ip", "port") else _earliest(onward, field)


def _earliest(value: str, field: Field) -> str:
    """What the initiator's first record says, or else its others, or else the answers.

    Of several the least, so that every run says the same. Of texts the least is slow to find, so their rank stands
    before them, and it is found once.
    """
    if sql_type(field) == "VARCHAR":
        return f"substr(min(rank || {value}), 2)"
    return f"coalesce(min({value}) FILTER (rank = '0'), min({value}) FILTER (rank <= '1'), min({value}))"


def _outcome(both_spoke: str) -> str:
    """A policy's word counts most; then that both sides spoke; then a refusal."""
    said = [f"WHEN bool_or(\"flow.outcome\" = '{word}') THEN '{word}'" for word in ("denied", "established", "failed")]
    return f"CASE {' '.join(said)} WHEN {both_spoke} THEN 'established' ELSE any_value(\"flow.outcome\") END"

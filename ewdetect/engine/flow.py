"""`record` → the table `flow`: addresses as numbers, context joined, inverted flows turned, duplicates gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from ewdetect.flows import Orientation
from ewdetect.flows.sql import constant, name
from ewdetect.model import Field


def kept_fields(fields: Mapping[str, Field], used: Iterable[str]) -> dict[str, Field]:
    """The fields of `used`, those that analysts are shown, and of a record field of one side the other side's.

    A flow that is turned round takes each side from the other.
    """
    asked = set(used)
    asked |= {opposite(f) for f in asked if f in fields and fields[f].origin == "record"}
    return {f.name: f for f in fields.values() if f.name in asked or f.shown}


def opposite(field: str) -> str:
    """The same of the other side; a field of neither side is its own."""
    side, _, attribute = field.partition(".")
    other = {"source": "destination", "destination": "source"}.get(side, side)
    return f"{other}.{attribute}"


def build_flows(db: duckdb.DuckDBPyConnection, kept: Mapping[str, Field], orientation: Orientation, place: str) -> None:
    """The view `flow` with the fields of `kept`, and `#row`, on a table in the database `place`."""
    columns = [_column(f) for f in kept.values()]
    db.execute(f"""CREATE OR REPLACE TABLE {place}.stored AS
        SELECT {', '.join(columns)}
        FROM (SELECT *, {_either('"source.ip"', '"destination.ip"')} AS initiator,
                     {_either('"destination.ip"', '"source.ip"')} AS responder
              FROM (SELECT *, reply OR (NOT proved AND {_turned(orientation)}) AS turned FROM record
                    WHERE damage IS NULL)) r
        JOIN address a ON r.initiator = a.spelling JOIN address b ON r.responder = b.spelling""")
    db.execute(f'CREATE OR REPLACE VIEW memory.flow AS SELECT *, rowid AS "#row" FROM {place}.stored')


def _column(field: Field) -> str:
    match field.origin:
        case "context":
            return _context_column(field)
        case "derived":
            words = {"network.scope": _SCOPES, "network.type": _FAMILIES}.get(field.name)
            return f"{_first_that_holds(words, field) if words else _DERIVED[field.name]} AS {name(field.name)}"
    return _record_column(field)


def _first_that_holds(words: Sequence[tuple[str, str]], field: Field) -> str:
    return f"CASE {' '.join(f'WHEN {test} THEN {constant(word, field)}' for word, test in words)} END"


def _turned(orientation: Orientation) -> str:
    """The service port stands on the initiator's side and an ephemeral one on the other."""
    ports = ", ".join(map(str, orientation.service_ports))
    return (f"coalesce(\"source.port\" IN ({ports}) AND \"destination.port\" >= {orientation.ephemeral_from} "
            "AND \"network.transport\" IN ('tcp', 'udp'), false)")


_OF_SIDE = {"source": "a", "destination": "b"}


def _either(straight: str, turned: str) -> str:
    return f"CASE WHEN turned THEN {turned} ELSE {straight} END"


# A record without an id is known by what it says, so that evidence names the same flow in every run.
_OWN_ID = "~"
_ID = (
    f'coalesce(r."event.id", \'{_OWN_ID}\' || left(md5(concat_ws(\' \', r."event.start", '
    f'{_either("a.digits", "b.digits")}, r."source.port", {_either("b.digits", "a.digits")}, r."destination.port", '
    'r."network.transport", r."source.bytes", r."destination.bytes")), 16))'
)


def _record_column(field: Field) -> str:
    side, _, attribute = field.name.partition(".")
    here = name(field.name)
    if side not in ("source", "destination"):
        made = {"event.id": _ID, "network.transport": _TRANSPORT}.get(field.name, f"r.{here}")
        return f"{made} AS {here}"
    if attribute == "ip":
        return f"{_OF_SIDE[side]}.id AS {here}"
    return f"{_either(f'r.{here}', f'r.{name(opposite(field.name))}')} AS {here}"


# Zeek calls both ICMP versions icmp.
_TRANSPORT = ("CASE WHEN r.\"network.transport\" = 'icmp' AND NOT a.is_v4 THEN 'ipv6-icmp' "
              "ELSE r.\"network.transport\" END")


def _context_column(field: Field) -> str:
    side, _, attribute = field.name.partition(".")
    return f"{_OF_SIDE[side]}.{name(attribute)} AS {name(field.name)}"


def _differs(attribute: str) -> str:
    """Both known and not the same; `unknown` is a value that cannot differ."""
    known = " AND ".join(f"coalesce({t}.{name(attribute)}, 'unknown') <> 'unknown'" for t in "ab")
    return f"({known} AND a.{name(attribute)} <> b.{name(attribute)})"


# A group address belongs to nobody, so it is never inside.
_IN_A, _IN_B = "(a.is_internal AND NOT a.is_group)", "(b.is_internal AND NOT b.is_group)"
_SCOPES = (("internal", f"{_IN_A} AND {_IN_B}"), ("external", f"NOT {_IN_A} AND NOT {_IN_B}"),
           ("inbound", _IN_B), ("outbound", "true"))
_FAMILIES = (("ipv4", "a.is_v4"), ("ipv6", "true"))
_DERIVED = {
    "network.bytes": 'r."source.bytes" + r."destination.bytes"',
    "network.cross_zone": _differs("zone"),
    "network.cross_env": _differs("env"),
    "flow.reversed": "turned",
    "flow.inferred": "NOT (proved OR reply)",
}


def drop_duplicates(db: duckdb.DuckDBPyConnection, place: str) -> int:
    """Delete all but the first of records that agree in every identifying field; returns how many.

    Only the sensor's own id tells a repeated record from a second connection just like it. Ids that occur once, as
    almost all do, are out after a look at the id alone.
    """
    same = ", ".join(name(c) for c in (
        "event.id", "event.start", "event.duration", "source.ip", "source.port", "destination.ip", "destination.port",
        "network.transport", "source.bytes", "destination.bytes"))
    own = f"NOT starts_with(\"event.id\", '{_OWN_ID}')"
    repeated = 'SELECT hash("event.id") AS h FROM flow GROUP BY h HAVING count(*) > 1'
    numbered = (f'SELECT "#row", row_number() OVER (PARTITION BY {same} ORDER BY "#row") AS n FROM flow '
                f'WHERE {own} AND hash("event.id") IN ({repeated})')
    row = db.execute(
        f'DELETE FROM {place}.stored WHERE rowid IN (SELECT "#row" FROM ({numbered}) WHERE n > 1)'
    ).fetchone()
    return int(row[0]) if row else 0

"""`record` → the table `flow`: addresses as numbers, context joined, inverted flows turned, duplicates gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb

from ewdetect.flows import Orientation
from ewdetect.flows.sql import name
from ewdetect.model import Field

# Columns that change sides when a flow is turned round.
_SIDES = ("ip", "port", "bytes", "packets")


def build_flows(db: duckdb.DuckDBPyConnection, fields: Mapping[str, Field], used: Iterable[str],
                orientation: Orientation) -> None:
    """The table `flow`: every record field, and of the context and derived fields those in `used`."""
    wanted = set(used)
    record = [_record_column(f) for f in fields.values() if f.origin == "record"]
    context = [_context_column(f) for f in fields.values() if f.origin == "context" and f.name in wanted]
    derived = [f"{_DERIVED[f.name]} AS {name(f.name)}" for f in fields.values() if f.origin == "derived"
               and (f.name in wanted or f.name == "flow.reversed")]
    db.execute(f"""CREATE OR REPLACE TABLE flow AS
        SELECT {', '.join([*record, *context, *derived])}
        FROM (SELECT *, NOT proved AND {_turned(orientation)} AS turned FROM record WHERE damage IS NULL) r
        JOIN address a ON r."source.ip" = a.spelling JOIN address b ON r."destination.ip" = b.spelling""")


def _turned(orientation: Orientation) -> str:
    """The service port stands on the initiator's side and an ephemeral one on the other."""
    ports = ", ".join(map(str, orientation.service_ports))
    return (f"coalesce(\"source.port\" IN ({ports}) AND \"destination.port\" >= {orientation.ephemeral_from} "
            "AND \"network.transport\" IN ('tcp', 'udp'), false)")


def _either(straight: str, turned: str) -> str:
    return f"CASE WHEN turned THEN {turned} ELSE {straight} END"


# A record without an id is known by what it says, so that evidence names the same flow in every run.
_OWN_ID = "~"
_ID = (
    f'coalesce(r."event.id", \'{_OWN_ID}\' || left(md5(concat_ws(\' \', r."event.start", a.ip, r."source.port", b.ip, '
    'r."destination.port", r."network.transport", r."source.bytes", r."destination.bytes")), 16))'
)


def _record_column(field: Field) -> str:
    side, _, attribute = field.name.partition(".")
    here = name(field.name)
    if side not in ("source", "destination") or attribute not in _SIDES:
        made = {"event.id": _ID, "network.transport": _TRANSPORT}.get(field.name, f"r.{here}")
        return f"{made} AS {here}"
    if attribute == "ip":
        mine, other = ("a.id", "b.id") if side == "source" else ("b.id", "a.id")
    else:
        opposite = "destination" if side == "source" else "source"
        mine, other = f"r.{here}", f"r.{name(f'{opposite}.{attribute}')}"
    return f"{_either(mine, other)} AS {here}"


# Zeek calls both ICMP versions icmp.
_TRANSPORT = ("CASE WHEN r.\"network.transport\" = 'icmp' AND NOT a.is_v4 THEN 'ipv6-icmp' "
              "ELSE r.\"network.transport\" END")


def _context_column(field: Field) -> str:
    side, _, attribute = field.name.partition(".")
    mine, other = ("a", "b") if side == "source" else ("b", "a")
    return f"{_either(f'{mine}.{name(attribute)}', f'{other}.{name(attribute)}')} AS {name(field.name)}"


def _differs(attribute: str) -> str:
    """Both known and not the same; `unknown` is a value that cannot differ."""
    known = " AND ".join(f"coalesce({t}.{name(attribute)}, 'unknown') <> 'unknown'" for t in "ab")
    return f"({known} AND a.{name(attribute)} <> b.{name(attribute)})"


# A group address belongs to nobody, so it is never inside.
_IN_A, _IN_B = "(a.is_internal AND NOT a.is_group)", "(b.is_internal AND NOT b.is_group)"
_SCOPE = (f"CASE WHEN {_IN_A} AND {_IN_B} THEN 'internal' WHEN NOT {_IN_A} AND NOT {_IN_B} THEN 'external' "
          f"WHEN {_IN_A} = turned THEN 'inbound' ELSE 'outbound' END")
_DERIVED = {
    "network.bytes": 'r."source.bytes" + r."destination.bytes"',
    "network.type": "CASE WHEN a.is_v4 THEN 'ipv4' ELSE 'ipv6' END",
    "network.scope": _SCOPE,
    "network.cross_zone": _differs("zone"),
    "network.cross_env": _differs("env"),
    "flow.reversed": "turned",
}


def drop_duplicates(db: duckdb.DuckDBPyConnection) -> int:
    """Delete all but the first of records that agree in every identifying field; returns how many.

    Only the sensor's own id tells a repeated record from a second connection just like it."""
    same = ", ".join(name(c) for c in (
        "event.id", "event.start", "event.duration", "source.ip", "source.port", "destination.ip", "destination.port",
        "network.transport", "source.bytes", "destination.bytes"))
    own = f"NOT starts_with(\"event.id\", '{_OWN_ID}')"
    repeated = f"SELECT hash({same}) AS h FROM flow WHERE {own} GROUP BY h HAVING count(*) > 1"
    numbered = (f"SELECT rowid AS seq, row_number() OVER (PARTITION BY {same} ORDER BY rowid) AS n FROM flow "
                f"WHERE {own} AND hash({same}) IN ({repeated})")
    row = db.execute(f"DELETE FROM flow WHERE rowid IN (SELECT seq FROM ({numbered}) WHERE n > 1)").fetchone()
    return int(row[0]) if row else 0

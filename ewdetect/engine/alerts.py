"""The hits of a rule's last stage as alerts, with evidence, samples and the context of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from ewdetect.backends.duckdb.stages import evidence, hits
from ewdetect.engine.addresses import spell
from ewdetect.flows.sql import name
from ewdetect.model import Alert, Field, Rule
from ewdetect.plan import Key, Selection, Stage


def collect(db: duckdb.DuckDBPyConnection, rule: Rule, stage: Stage, fields: Mapping[str, Field], shown: int,
            ) -> list[Alert]:
    """Alerts in the order of their crossings, each with `shown` of its flows.

    Memory grows with alerts and their evidence, not with flows.
    """
    keys = () if isinstance(stage, Selection) else stage.keys
    rows = db.execute(_bundles(stage, keys)).fetchall()
    if not rows:
        return []
    addresses = _Addresses(db)
    samples = _samples(db, {seq for row in rows for seq in _ends(row[3], shown)}, fields, addresses) if shown else {}
    alerts = []
    for crossing, end, ids, seqs, start, value, *values in rows:
        group = {key.name: _shown(v, _is_ip(key, fields), addresses) for key, v in zip(keys, values, strict=True)}
        flows = tuple(samples[s] for s in _ends(seqs, shown))
        context = _context(flows, group, addresses) if shown else {}
        alerts.append(Alert(rule, group, start, crossing, end, value, tuple(ids), flows, context))
    return alerts


def _bundles(stage: Stage, keys: Sequence[Key]) -> str:
    """One row for each alert: crossing, end, ids, rows, start, value and the keys."""
    if isinstance(stage, Selection):
        flows = f"(SELECT *, \"#ref\" AS rowid FROM {hits(stage.name)}) f"
        return f'SELECT f."#t", f."#t", [f."event.id"], [f.rowid], f."#t", NULL FROM {flows} ORDER BY f."#t", f.rowid'
    named = "".join(f", any_value(h.{name(k.name)})" for k in keys)
    return (
        f'SELECT any_value(h."#t"), any_value(h."#end"), list(f."event.id" ORDER BY f."event.start", f.rowid), '
        f'list(f.rowid ORDER BY f."event.start", f.rowid), min(f."event.start"), any_value(h."#value"){named} '
        f'FROM {hits(stage.name)} h JOIN {evidence(stage.name)} e ON e.ref = h."#ref" JOIN flow f ON f.rowid = e.seq '
        'GROUP BY h."#ref" ORDER BY 1, h."#ref"'
    )


def _ends(seqs: Sequence[int], shown: int) -> Sequence[int]:
    """The first and the last few: what began it, and what completed it."""
    last = shown // 2
    return seqs if len(seqs) <= shown else [*seqs[: shown - last], *seqs[len(seqs) - last :]]


def _is_ip(key: Key, fields: Mapping[str, Field]) -> bool:
    return all(f in fields and fields[f].type == "ip" for f in key.fields.values())


def _shown(value: Any, is_ip: bool, addresses: Mapping[int, Mapping[str, Any]]) -> Any:
    return addresses[value]["address"] if is_ip else value


class _Addresses(dict[int, Mapping[str, Any]]):
    """Address id → its text and context, looked up when first asked for."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        super().__init__()
        self._db = db

    def __missing__(self, key: int) -> Mapping[str, Any]:
        cursor = self._db.execute(
            "SELECT * EXCLUDE (spelling, id, is_v4, is_group) FROM address WHERE id = ? LIMIT 1", [key]
        )
        columns = [c[0] for c in cursor.description or ()]
        row = dict(zip(columns, cursor.fetchone() or (), strict=True))
        self[key] = {"address": spell(row.pop("ip"))} | {k: v for k, v in row.items() if v is not None}
        return self[key]


def all_flows(db: duckdb.DuckDBPyConnection, fields: Mapping[str, Field]) -> list[dict[str, Any]]:
    """The table `flow` in canonical fields, oldest first."""
    seqs = [row[0] for row in db.execute('SELECT rowid FROM flow ORDER BY "event.start", rowid').fetchall()]
    rows = _samples(db, seqs, fields, _Addresses(db))
    return [dict(rows[seq]) for seq in seqs]


def _samples(db: duckdb.DuckDBPyConnection, seqs: Iterable[int], fields: Mapping[str, Field],
             addresses: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Flows by row, in canonical fields, without what is missing."""
    db.execute("CREATE OR REPLACE TEMP TABLE wanted AS SELECT unnest(?::BIGINT[]) AS seq", [list(seqs)])
    cursor = db.execute("SELECT f.rowid, f.* FROM flow f SEMI JOIN wanted w ON w.seq = f.rowid")
    columns = [c[0] for c in cursor.description or ()][1:]
    ips = {f.name for f in fields.values() if f.type == "ip"}
    found: dict[int, Mapping[str, Any]] = {}
    for seq, *values in cursor.fetchall():
        row = {c: _shown(v, c in ips, addresses) for c, v in zip(columns, values, strict=True) if v is not None}
        found[seq] = {c: v for c, v in row.items() if fields[c].origin == "record" or c == "flow.reversed"}
    return found


def _context(samples: Iterable[Mapping[str, Any]], group: Mapping[str, Any], addresses: Mapping[int, Mapping[str, Any]],
             ) -> Mapping[str, Mapping[str, Any]]:
    """Address → context, for the addresses of the group and the samples."""
    named = {v for row in (*samples, group) for v in row.values() if isinstance(v, str)}
    return {a["address"]: {k: v for k, v in a.items() if k != "address" and v is not False}
            for a in addresses.values() if a["address"] in named}

"""The hits of a rule's last stage as alerts, with evidence, samples and the context of both sides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import duckdb

from ewdetect.backends.duckdb.stages import evidence, hits
from ewdetect.engine.addresses import spell
from ewdetect.flows.sql import name
from ewdetect.model import Alert, Field, Rule
from ewdetect.plan import Key, Selection, Stage

_SIDES = ("source.ip", "destination.ip")

Names = Mapping[int, Mapping[str, Any]]     # address id → its text as `address`, and its context


@dataclass(frozen=True, slots=True)
class Bundle:
    """What an alert holds: its instants, the ids and the rows of its flows in their order, the value and the keys.

    Keys that are addresses are ids.
    """

    crossing: int
    end: int
    ids: Sequence[str]
    rows: Sequence[int]
    start: int
    value: float | None
    keys: Sequence[Any]


class Addresses:
    """Address ids by name, fetched many at a time and remembered from rule to rule."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self._known: dict[int, Mapping[str, Any]] = {}

    def fetch(self, ids: Iterable[int]) -> Names:
        """At least these."""
        missing = [i for i in set(ids) if i not in self._known]
        if missing:
            cursor = self._db.execute(
                "SELECT DISTINCT ON (id) id, * EXCLUDE (spelling, id, is_v4, is_group) FROM address "
                "WHERE id IN (SELECT unnest(?::INTEGER[]))",
                [missing],
            )
            columns = [c[0] for c in cursor.description or ()][2:]
            for i, ip, *values in cursor.fetchall():
                told = {c: v for c, v in zip(columns, values, strict=True) if v is not None and v is not False}
                self._known[i] = {"address": spell(ip), **told}
        return self._known


def bundles(db: duckdb.DuckDBPyConnection, stage: Stage) -> list[Bundle]:
    """The hits of a rule's last stage, oldest first. Memory grows with alerts and their evidence, not with flows."""
    return [Bundle(crossing, end, ids, seqs, start, value, keys)
            for crossing, end, ids, seqs, start, value, *keys in db.execute(_bundled(stage)).fetchall()]


def alerts_of(db: duckdb.DuckDBPyConnection, found: Sequence[tuple[Rule, Sequence[Stage], Sequence[Bundle]]],
              fields: Mapping[str, Field], addresses: Addresses, shown: int) -> list[Alert]:
    """The alerts of all rules, in the order given, each with `shown` of its flows, or with 0 without flows and context.

    Flows and addresses are looked up for all of them at once.
    """
    samples = _rows(db, {seq for _, _, some in found for each in some for seq in _ends(each.rows, shown)})
    ips = [_addressed(stages, fields) for _, stages, _ in found]
    used = {key for (_, _, some), is_ip in zip(found, ips, strict=True) for each in some
            for key in compress(each.keys, is_ip)}
    names = addresses.fetch(used | {row[side] for row in samples.values() for side in _SIDES})
    alerts = []
    for (rule, stages, some), is_ip in zip(found, ips, strict=True):
        for each in some:
            group = {key.name: names[value]["address"] if ip else value
                     for key, value, ip in zip(_keys(stages[-1]), each.keys, is_ip, strict=True)}
            flows = [samples[seq] for seq in _ends(each.rows, shown)]
            present = {*compress(each.keys, is_ip)} | {flow[side] for flow in flows for side in _SIDES}
            alerts.append(Alert(rule, group, each.start, each.crossing, each.end, each.value, tuple(each.ids),
                                tuple(_named(flow, fields, names) for flow in flows),
                                _context(present, names) if shown else {}))
    return alerts


def _keys(stage: Stage) -> tuple[Key, ...]:
    return () if isinstance(stage, Selection) else stage.keys


def _addressed(stages: Sequence[Stage], fields: Mapping[str, Field]) -> list[bool]:
    """Of each key of the last stage, whether it is an address."""
    by_name = {stage.name: stage for stage in stages}
    return [_is_ip(key, by_name, fields) for key in _keys(stages[-1])]


def _bundled(stage: Stage) -> str:
    """One row for each alert: crossing, end, ids, rows, start, value and the keys."""
    if isinstance(stage, Selection):
        return f'SELECT "#t", "#t", ["event.id"], ["#row"], "#t", NULL FROM {hits(stage.name)} ORDER BY "#t", "#row"'
    named = "".join(f", any_value(h.{name(k.name)})" for k in stage.keys)
    return (
        f'SELECT any_value(h."#t"), any_value(h."#end"), list(f."event.id" ORDER BY f."event.start", f."#row"), '
        f'list(f."#row" ORDER BY f."event.start", f."#row"), min(f."event.start"), any_value(h."#value"){named} '
        f'FROM {hits(stage.name)} h JOIN {evidence(stage.name)} e ON e.ref = h."#ref" JOIN flow f ON f."#row" = e.seq '
        'GROUP BY h."#ref" ORDER BY 1, h."#ref"'
    )


def _ends(seqs: Sequence[int], shown: int) -> Sequence[int]:
    """The first and the last few: what began it, and what completed it."""
    last = shown // 2
    return seqs if len(seqs) <= shown else [*seqs[: shown - last], *seqs[len(seqs) - last :]]


def _is_ip(key: Key, stages: Mapping[str, Stage], fields: Mapping[str, Field]) -> bool:
    return all(f in fields and fields[f].type == "ip" for f in _flow_fields(key, stages))


def _flow_fields(key: Key, stages: Mapping[str, Stage]) -> Iterator[str]:
    """The fields of flows that fill a key: through inner correlations, whose keys may be aliases themselves."""
    for reference, field in key.fields.items():
        inner = stages[reference]
        deeper = [] if isinstance(inner, Selection) else [k for k in inner.keys if k.name == field]
        yield from _flow_fields(deeper[0], stages) if deeper else [field]


def all_flows(db: duckdb.DuckDBPyConnection, fields: Mapping[str, Field], addresses: Addresses) -> list[dict[str, Any]]:
    """The table `flow` in canonical fields, oldest first; flows of one time in an order that every run repeats."""
    seqs = [row[0] for row in db.execute('SELECT "#row" FROM flow ORDER BY "event.start", "#row"').fetchall()]
    rows = _rows(db, seqs)
    names = addresses.fetch(row[side] for row in rows.values() for side in _SIDES)
    named = [_named(rows[seq], fields, names) for seq in seqs]
    return sorted(named, key=lambda flow: (flow["event.start"], str(flow.get("event.id")), str(flow)))


def _rows(db: duckdb.DuckDBPyConnection, seqs: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """Flows by row, with address ids."""
    if not seqs:
        return {}
    cursor = db.execute(
        'SELECT "#row", * EXCLUDE "#row" FROM flow WHERE "#row" IN (SELECT unnest(?::BIGINT[]))', [list(seqs)]
    )
    columns = [c[0] for c in cursor.description or ()][1:]
    return {seq: dict(zip(columns, values, strict=True)) for seq, *values in cursor.fetchall()}


def _named(row: Mapping[str, Any], fields: Mapping[str, Field], names: Names) -> dict[str, Any]:
    """A flow as a person reads it: record fields, addresses as text, without what is missing."""
    kept = {c: v for c, v in row.items() if v is not None and (fields[c].origin == "record" or fields[c].shown)}
    return {c: names[v]["address"] if c in _SIDES else v for c, v in kept.items()}


def _context(ids: Iterable[int], names: Names) -> dict[str, dict[str, Any]]:
    """Address → context."""
    return {names[i]["address"]: {k: v for k, v in names[i].items() if k != "address"} for i in sorted(ids)}

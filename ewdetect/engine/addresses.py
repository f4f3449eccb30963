"""Addresses as numbers: 128 bit, IPv4 inside ::ffff:0:0/96, so that every two addresses compare.

Flows repeat few addresses many times, so each distinct spelling is parsed once, into the table `address`, and the
context is joined there: ten thousand hosts cost the same for a thousand flows and for a hundred million.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from ewdetect.flows.sql import enum, name, text
from ewdetect.model import Field
from ewdetect.network import Network, segments

_V4_IN_V6 = "281470681743360"      # ::ffff:0:0
_TYPES = {"string": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN"}

# `ewd_ip` gives NULL for what is no address. A zone (`fe80::1%eth0`) names an interface, not a host, and is cut off;
# leading zeros in IPv4 are refused because half of the world reads them as octal.
# A macro is text: `list_transform([x], lambda y: …)[1]` binds a value that would otherwise be spelt out many times.
MACROS = (
    """CREATE OR REPLACE MACRO ewd_v4(t) AS
    CASE WHEN regexp_full_match(t, '(0|[1-9][0-9]{0,2})([.](0|[1-9][0-9]{0,2})){3}') THEN
        list_transform([CAST(string_split(t, '.') AS UBIGINT[])], lambda p:
            CASE WHEN list_max(p) <= 255 THEN p[1] * 16777216 + p[2] * 65536 + p[3] * 256 + p[4] END)[1] END""",
    # The last 32 bits of an IPv6 address may be written as IPv4.
    """CREATE OR REPLACE MACRO ewd_dotted_tail(t) AS
    CASE WHEN contains(t, '.') THEN list_transform([ewd_v4(regexp_extract(t, '[^:]*$'))], lambda v:
        regexp_replace(t, '[^:]*$', '') || printf('%x:%x', v // 65536, v % 65536))[1] ELSE t END""",
    """CREATE OR REPLACE MACRO ewd_hextets(t) AS
    CASE WHEN contains(t, '::') THEN list_transform([string_split(t, '::')], lambda halves: list_transform([
            list_filter(string_split(halves[1], ':'), lambda x: x <> '')], lambda a: list_transform([
            list_filter(string_split(halves[2], ':'), lambda x: x <> '')], lambda b:
        CASE WHEN len(halves) = 2 AND len(a) + len(b) <= 7 AND NOT regexp_matches(t, ':::|^:[^:]|[^:]:$')
             THEN list_concat(a, list_resize(CAST([] AS VARCHAR[]), 8 - len(a) - len(b), '0'), b) END)[1])[1])[1]
    ELSE string_split(t, ':') END""",
    """CREATE OR REPLACE MACRO ewd_v6(t) AS
    list_transform([ewd_hextets(t)], lambda h:
        CASE WHEN len(h) = 8 AND len(list_filter(h, lambda x: regexp_full_match(x, '[0-9a-f]{1,4}'))) = 8
             THEN list_reduce(list_transform(h, lambda x: CAST('0x' || x AS UHUGEINT)),
                              lambda m, n: m * 65536 + n) END)[1]""",
    f"""CREATE OR REPLACE MACRO ewd_ip(t) AS
    CASE WHEN contains(t, ':') THEN
        list_transform([ewd_dotted_tail(lower(split_part(t, '%', 1)))], lambda u: ewd_v6(u))[1]
    ELSE CAST(ewd_v4(t) AS UHUGEINT) + {_V4_IN_V6}::UHUGEINT END""",
)


def spell(number: int) -> str:
    """The canonical text of an address number: dotted IPv4 where it is IPv4, else compressed IPv6."""
    address = ipaddress.IPv6Address(number)
    return str(address.ipv4_mapped or address)


def load_segments(db: duckdb.DuckDBPyConnection, network: Network, context: Sequence[Field], scratch: Path) -> None:
    """The table `segment`: disjoint ranges with every context attribute."""
    path = scratch / "segments.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for segment in segments(network):
            row: dict[str, Any] = {"first": str(segment.first), "last": str(segment.last)}
            row |= {f.name: segment.attributes.get(f.name) for f in context}
            out.write(json.dumps(row) + "\n")
    columns = {"first": "UHUGEINT", "last": "UHUGEINT"} | {f.name: _TYPES[f.type] for f in context}
    struct = ", ".join(f"{name(k)}: {text(v)}" for k, v in columns.items())
    db.execute(f"CREATE OR REPLACE TABLE segment AS SELECT * FROM read_json({text(str(path))}, "
               f"format = 'newline_delimited', columns = {{{struct}}})")
    path.unlink()


def build_addresses(db: duckdb.DuckDBPyConnection, network: Network, context: Sequence[Field]) -> None:
    """The table `address`: one row for each spelling that `record` holds, with its number and its context.

    `id` is the same for two spellings of one address; `digits` is the number as text, which takes long to make. What is
    no address has no row.
    """
    types = _types(db, network, context)
    attributes = ", ".join(
        f"CAST(coalesce(CASE WHEN inside THEN s.{name(f.name)} END, {_default(network, f)}) AS {types[f.name]}) "
        f"AS {name(f.name)}" for f in context)
    db.execute(f"""CREATE OR REPLACE TABLE address AS
        WITH spelling AS (SELECT "source.ip" AS spelling FROM record WHERE damage IS NULL
                          UNION SELECT "destination.ip" FROM record WHERE damage IS NULL),
             numbered AS MATERIALIZED (SELECT spelling, ewd_ip(spelling) AS ip FROM spelling
                                       WHERE spelling IS NOT NULL),
             ranked AS (SELECT *, CAST(dense_rank() OVER (ORDER BY ip) AS INTEGER) AS id FROM numbered
                        WHERE ip IS NOT NULL),
             found AS (SELECT n.*, s.*, coalesce(n.ip <= s.last, false) AS inside
                       FROM ranked n ASOF LEFT JOIN segment s ON n.ip >= s.first)
        SELECT spelling, ip, {_DIGITS} AS digits, id,
               ip >> 32 = 65535 AS is_v4, {_MULTICAST} AS is_group, {attributes}
        FROM found s""")


# A number of 64 bits, as IPv4 has, is written much faster than one of 128.
_DIGITS = f"CASE WHEN ip < {1 << 63}::UHUGEINT THEN CAST(CAST(ip AS BIGINT) AS VARCHAR) ELSE CAST(ip AS VARCHAR) END"
_MULTICAST = ("(ip >> 120 = 255 OR ip BETWEEN (281470681743360 + 3758096384)::UHUGEINT AND "
              "(281470681743360 + 4026531839)::UHUGEINT OR ip = (281470681743360 + 4294967295)::UHUGEINT)")


def _types(db: duckdb.DuckDBPyConnection, network: Network, context: Sequence[Field]) -> dict[str, str]:
    """The words of a text attribute are known, so they take a byte or two in every flow rather than sixteen."""
    texts = [f.name for f in context if f.type == "string"]
    found = db.execute(f"SELECT {', '.join(f'list(DISTINCT {name(t)})' for t in texts)} FROM segment").fetchone() or ()
    types = {f.name: _TYPES[f.type] for f in context}
    for attribute, words in zip(texts, found, strict=True):
        default = network.defaults.get(attribute)
        known = {w for w in (*(words or ()), default) if w is not None}
        types |= {attribute: enum(sorted(known))} if known else {}
    return types


def _default(network: Network, field: Field) -> str:
    value: Any = network.defaults.get(field.name)
    return "NULL" if value is None else text(value)

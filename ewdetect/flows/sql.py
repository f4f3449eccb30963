"""Source → SQL text: one SELECT that turns raw rows into canonical columns.

The raw relation is called `r` and has one text column (or struct of text columns) per raw path; see `columns`.
Nothing here runs SQL. Values are quoted by `text`, names by `name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ewdetect.flows.source import UNITS, FieldSpec, Source, Term
from ewdetect.model import Field

# Times outside are damage, not traffic: seconds read as milliseconds land beyond the year 5000.
EARLIEST_US, LATEST_US = 0, 4_102_444_800_000_000       # 1970 and 2100
MAX_PORT = 65_535


def text(value: Any) -> str:
    """A value as an SQL literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """A column or table name, quoted."""
    return '"' + identifier.replace('"', '""') + '"'



def tree(paths: Sequence[str]) -> dict[str, Any]:
    """Raw paths as nested keys: `flow/start` and `flow/end` share one parent."""
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        *parents, leaf = path.split("/")
        for key in parents:
            node = node.setdefault(key, {}) or node[key]
        node.setdefault(leaf, None)
    return root


def column_types(paths: Sequence[str]) -> dict[str, str]:
    """Top-level raw column → DuckDB type, every leaf as text so that a bad value can be seen and reported."""
    def type_of(node: dict[str, Any] | None) -> str:
        if node is None:
            return "VARCHAR"
        return "STRUCT(" + ", ".join(f"{name(k)} {type_of(v)}" for k, v in node.items()) + ")"
    return {key: type_of(node) for key, node in tree(paths).items()}


def raw(path: str) -> str:
    """The SQL of a raw value."""
    return "r." + ".".join(name(key) for key in path.split("/"))


def condition(terms: Sequence[Term]) -> str:
    """All terms as one SQL condition that is never NULL."""
    return " AND ".join(f"coalesce({_term(t)}, false)" for t in terms) or "true"


_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _term(term: Term) -> str:
    value = raw(term.path)
    number = f"TRY_CAST({value} AS DOUBLE)"
    flags = f"TRY_CAST('0x' || {value} AS INTEGER)"     # Suricata writes TCP flags in hex without 0x
    one = term.values[0]
    match term.operator:
        case "gt" | "gte" | "lt" | "lte":
            return f"{number} {_COMPARE[term.operator]} {text(one)}"
        case "bits":
            return f"({flags} & {int(one)}) = {int(one)}"
        case "nobits":
            return f"({flags} & {int(one)}) = 0"
        case "startswith":
            return "(" + " OR ".join(f"starts_with({value}, {text(v)})" for v in term.values) + ")"
        case "present":
            return f"{value} IS {'NOT ' if one else ''}NULL"
        case "not":
            return f"lower({value}) NOT IN ({_lowered(term.values)})"
    if all(isinstance(v, int) and not isinstance(v, bool) for v in term.values):
        return f"{number} IN ({', '.join(text(v) for v in term.values)})"
    return f"lower({value}) IN ({_lowered(term.values)})"


def _lowered(values: Sequence[Any]) -> str:
    return ", ".join(text(str(v).lower()) for v in values)


def time_us(value: str, formats: Sequence[str]) -> str:
    """Text → microseconds since 1970 UTC, NULL where no format fits. A time without zone is UTC."""
    number = f"TRY_CAST({value} AS DECIMAL(26, 6))"
    readers = {
        "iso8601": f"epoch_us(TRY_CAST({value} AS TIMESTAMPTZ))",
        "epoch_seconds": f"CAST({number} * 1000000 AS BIGINT)",
        "epoch_milliseconds": f"CAST({number} * 1000 AS BIGINT)",
        "epoch_nanoseconds": f"CAST(floor({number} / 1000) AS BIGINT)",
    }
    return f"coalesce({', '.join(readers[f] for f in formats)})" if len(formats) > 1 else readers[formats[0]]


def canonical(source: Source, fields: Mapping[str, Field]) -> dict[str, str]:
    """Canonical record field → SQL over `r`. Bad values come out NULL; `damage` says which were bad."""
    return {field: _value(spec, fields[field]) for field, spec in source.fields.items()}


def _value(spec: FieldSpec, field: Field) -> str:
    if spec.cases:
        branches = " ".join(f"WHEN {condition(c.terms)} THEN {text(c.result)}" for c in spec.cases)
        return f"CASE {branches} ELSE {_or_null(spec.otherwise)} END"
    if spec.between:
        begin, end = (time_us(raw(p), ("iso8601", "epoch_seconds")) for p in spec.between)
        return f"greatest(({end} - {begin}) / 1e6, 0)"
    value = _typed(_first(spec), spec, field)
    if spec.when or spec.unless:
        held = " AND ".join([condition(spec.when)] + ([f"NOT ({condition(spec.unless)})"] if spec.unless else []))
        return f"CASE WHEN {held} THEN {value} END"
    return value


def _or_null(value: str | None) -> str:
    return "NULL" if value is None else text(value)


def _first(spec: FieldSpec) -> str:
    values = [raw(p) for p in spec.paths]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _typed(value: str, spec: FieldSpec, field: Field) -> str:
    match field.type:
        case "time":
            stamp = time_us(value, spec.times or ("iso8601",))
            return f"CASE WHEN {stamp} BETWEEN {EARLIEST_US} AND {LATEST_US} THEN {stamp} END"
        case "port":
            number = f"TRY_CAST({value} AS INTEGER)"
            return f"CASE WHEN {number} BETWEEN 0 AND {MAX_PORT} THEN {number} END"
        case "integer":
            number = f"TRY_CAST({value} AS BIGINT)"
            return f"CASE WHEN {number} >= 0 THEN {number} END"
        case "number":
            number = f"TRY_CAST({value} AS DOUBLE)"
            scaled = number if spec.unit == "s" else f"{number} * {UNITS[spec.unit]}"
            return f"CASE WHEN {number} >= 0 THEN {scaled} END"
        case "boolean":
            return f"TRY_CAST({value} AS BOOLEAN)"
        case "ip":
            return f"nullif(lower(trim({value})), '')"
        case "token":
            return f"nullif(trim({value}), '')"
    return _mapped(f"nullif(lower(trim({value})), '')", spec)


def _mapped(value: str, spec: FieldSpec) -> str:
    if not spec.mapping:
        return value
    branches = " ".join(f"WHEN {text(k)} THEN {_or_null(v)}" for k, v in spec.mapping.items())
    return f"CASE {value} {branches} ELSE {value if spec.keep_unmapped else 'NULL'} END"


def present(source: Source, field: str) -> str:
    """Whether the record has a value for the field at all, so that bad can be told from missing."""
    spec = source.fields[field]
    held = f" AND NOT ({condition(spec.unless)})" if spec.unless else ""
    held += f" AND {condition(spec.when)}" if spec.when else ""
    return f"({_first(spec)} IS NOT NULL{held})"

"""Source → SQL text: one SELECT that turns raw rows into canonical columns.

The raw relation is called `r` and has a column, or a field of a struct, for each raw path; see `column_types`.
Nothing here runs SQL. Values are quoted by `text`, names by `name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
            node = node.setdefault(key, {})
        node.setdefault(leaf, None)
    return root


def column_types(paths: Sequence[str], types: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Top-level raw column → DuckDB type; what `types` does not name is text, so that a bad value can be reported."""
    def type_of(node: dict[str, Any] | None, path: str) -> str:
        if node is None:
            return types.get(path, "VARCHAR")
        return "STRUCT(" + ", ".join(f"{name(k)} {type_of(v, f'{path}/{k}')}" for k, v in node.items()) + ")"
    return {key: type_of(node, key) for key, node in tree(paths).items()}


def natural_types(source: Source, fields: Mapping[str, Field]) -> dict[str, str]:
    """Raw path → the type that an undamaged record has there, for paths that are only read as numbers or as times.

    A JSON reader that knows them is almost twice as fast as one that gives text. It fails at the first bad value, and
    then the file is read again as text.
    """
    wanted: dict[str, set[str]] = {}
    for field, spec in source.fields.items():
        for path in spec.values():
            wanted.setdefault(path, set()).add(_natural(spec, fields[field]))
    for term in (*source.record, *(source.proved or ()), *(t for spec in source.fields.values() for t in spec.terms())):
        wanted.setdefault(term.path, set()).add("BIGINT" if _is_numeric(term) else "VARCHAR")
    return {path: types.pop() for path, types in wanted.items() if len(types) == 1}


def _natural(spec: FieldSpec, field: Field) -> str:
    if spec.between or field.type == "time":
        first = (spec.times or ("iso8601",))[0]
        return {"iso8601": "TIMESTAMPTZ", "epoch_seconds": "DOUBLE"}.get(first, "BIGINT")
    return {"port": "BIGINT", "integer": "BIGINT", "number": "DOUBLE"}.get(field.type, "VARCHAR")


def _is_numeric(term: Term) -> bool:
    """Whether a term compares numbers. Flags are hexadecimal text."""
    if term.operator in ("gt", "gte", "lt", "lte"):
        return True
    return term.operator == "" and all(isinstance(v, int) and not isinstance(v, bool) for v in term.values)


SQL_TYPES: Mapping[str, str] = MappingProxyType({
    "ip": "VARCHAR", "string": "VARCHAR", "token": "VARCHAR", "time": "BIGINT", "port": "INTEGER", "integer": "BIGINT",
    "number": "DOUBLE", "boolean": "BOOLEAN"})


def sql_type(field: Field) -> str:
    """The type of a canonical column. A closed vocabulary takes a byte, and compares four times faster than text."""
    return enum(field.values) if field.values else SQL_TYPES[field.type]


def enum(values: Sequence[str]) -> str:
    """The type of a closed vocabulary."""
    return f"ENUM({', '.join(map(text, values))})"


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
    if _is_numeric(term):
        return f"{number} IN ({', '.join(text(v) for v in term.values)})"
    return f"lower({value}) IN ({_lowered(term.values)})"


def _lowered(values: Sequence[Any]) -> str:
    return ", ".join(text(str(v).lower()) for v in values)


def time_us(value: str, formats: Sequence[str], raw_type: str = "VARCHAR") -> str:
    """A raw time → microseconds since 1970 UTC, NULL where no format fits. A time without zone is UTC.

    A double holds seconds since 1970 to the microsecond until the year 2255.
    """
    if raw_type == "TIMESTAMPTZ":
        return f"epoch_us({value})"
    readers = {
        "iso8601": f"epoch_us(TRY_CAST({value} AS TIMESTAMPTZ))",
        "epoch_seconds": f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1000000) AS BIGINT)",
        "epoch_milliseconds": f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1000) AS BIGINT)",
        "epoch_nanoseconds": f"TRY_CAST({value} AS BIGINT) // 1000",
    }
    if raw_type != "VARCHAR":
        return readers[formats[0]]
    return f"coalesce({', '.join(readers[f] for f in formats)})" if len(formats) > 1 else readers[formats[0]]


def canonical(source: Source, fields: Mapping[str, Field], types: Mapping[str, str]) -> dict[str, str]:
    """Canonical record field → SQL over `r`, whose columns have `types`. Bad values come out NULL."""
    return {field: _value(spec, fields[field], types) for field, spec in source.fields.items()}


def _value(spec: FieldSpec, field: Field, types: Mapping[str, str]) -> str:
    if spec.cases:
        branches = " ".join(f"WHEN {condition(c.terms)} THEN {constant(c.result, field)}" for c in spec.cases)
        return f"CASE {branches} ELSE {constant(spec.otherwise, field)} END"
    if spec.between:
        begin, end = (time_us(raw(p), spec.times or ("iso8601",), types.get(p, "VARCHAR")) for p in spec.between)
        return f"greatest(({end} - {begin}) / 1e6, 0)"
    value = _typed(_first(spec), spec, field, types)
    if spec.when or spec.unless:
        held = " AND ".join([condition(spec.when)] + ([f"NOT ({condition(spec.unless)})"] if spec.unless else []))
        return f"CASE WHEN {held} THEN {value} END"
    return value


def constant(value: str | None, field: Field) -> str:
    """A value as a literal of the field's type."""
    return "NULL" if value is None else f"CAST({text(value)} AS {sql_type(field)})"


def _first(spec: FieldSpec) -> str:
    values = [raw(p) for p in spec.paths]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _typed(value: str, spec: FieldSpec, field: Field, types: Mapping[str, str]) -> str:
    match field.type:
        case "time":
            stamp = time_us(value, spec.times or ("iso8601",), types.get(spec.paths[0], "VARCHAR"))
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
            return f"nullif(lower({value}), '')"
        case "token":
            return f"nullif({value}, '')"
    words = _mapped(f"nullif(lower({value}), '')", spec)
    return f"TRY_CAST({words} AS {sql_type(field)})" if field.values else words


def _mapped(value: str, spec: FieldSpec) -> str:
    if not spec.mapping:
        return value
    branches = " ".join(f"WHEN {text(k)} THEN {'NULL' if v is None else text(v)}" for k, v in spec.mapping.items())
    return f"CASE {value} {branches} ELSE {value if spec.keep_unmapped else 'NULL'} END"


def present(source: Source, field: str) -> str:
    """Whether the record has a value for the field at all, so that bad can be told from missing."""
    spec = source.fields[field]
    held = f" AND NOT ({condition(spec.unless)})" if spec.unless else ""
    held += f" AND {condition(spec.when)}" if spec.when else ""
    return f"({_first(spec)} IS NOT NULL{held})"

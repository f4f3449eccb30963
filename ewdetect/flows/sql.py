"""Source → SQL text: one SELECT that turns raw rows into canonical columns.

The raw relation is called `r` and has a column, or a field of a struct, for each raw path; see `column_types`.
Nothing here runs SQL. Values are quoted by `text`, names by `name`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ewdetect.flows.source import CLOCK, UNITS, FieldSpec, Source, Term
from ewdetect.flows.times import EARLIEST_US, LATEST_US, time_us
from ewdetect.model import Field

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


def packed(paths: Sequence[str], value: Callable[[str], str]) -> list[str]:
    """The top-level raw columns, each with its name, of the SQL that `value` gives for each raw path."""
    def made(node: Mapping[str, Any] | None, path: str) -> str:
        if node is None:
            return value(path)
        return "{" + ", ".join(f"{text(k)}: {made(child, f'{path}/{k}')}" for k, child in node.items()) + "}"
    return [f"{made(node, key)} AS {name(key)}" for key, node in tree(paths).items()]


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
        for way in spec.ways():
            for path in (*way.paths, *way.differs, *(way.between or ())):
                wanted.setdefault(path, set()).add(_natural(way, fields[field]))
            for path in way.joined:
                wanted.setdefault(path, set()).add("VARCHAR")
    for term in (*source.terms(), *(t for spec in source.fields.values() for t in spec.terms())):
        wanted.setdefault(term.path, set()).add("BIGINT" if _is_numeric(term) else "VARCHAR")
    for path in (*source.merge.by, *source.merge.reporter) if source.merge else ():
        wanted.setdefault(path, set()).add("VARCHAR")
    natural = {path: types.pop() for path, types in wanted.items() if len(types) == 1}
    while mixed := _beside_text(source, natural):
        natural = {path: kind for path, kind in natural.items() if path not in mixed}
    return natural


def _beside_text(source: Source, natural: Mapping[str, str]) -> set[str]:
    """Paths that are taken in turn, or compared, with one that has no natural type: then they are text as well."""
    groups = [{*way.paths, *way.differs} for spec in source.fields.values() for way in spec.ways()]
    return {path for group in groups if group - natural.keys() for path in group & natural.keys()}


def _natural(spec: FieldSpec, field: Field) -> str:
    if spec.between or field.type == "time":
        first = (spec.times or ("iso8601",))[0]
        return {"iso8601": "TIMESTAMPTZ", "epoch_seconds": "DOUBLE"}.get(
            first, "BIGINT" if first.startswith("epoch_") else "VARCHAR")
    if spec.unit == CLOCK or spec.match or spec.mapping:
        return "VARCHAR"
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


def any_of(choices: Sequence[Sequence[Term]]) -> str:
    """Whether all terms of one choice hold; false without any choice."""
    return " OR ".join(f"({condition(terms)})" for terms in choices) or "false"


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
        case "has" | "hasnt":
            wanted = int(one) if term.operator == "has" else 0
            return f"(TRY_CAST({value} AS INTEGER) & {int(one)}) = {wanted}"
        case "like" | "unlike":
            held = " OR ".join(f"{value} ILIKE {text(_like(str(v)))}" for v in term.values)
            return f"({held})" if term.operator == "like" else f"NOT ({held})"
        case "startswith":
            return "(" + " OR ".join(f"starts_with({value}, {text(v)})" for v in term.values) + ")"
        case "present":
            return f"{value} IS {'NOT ' if one else ''}NULL"
        case "not":
            return f"lower({value}) NOT IN ({_lowered(term.values)})"
    if _is_numeric(term):
        return f"{number} IN ({', '.join(text(v) for v in term.values)})"
    return f"lower({value}) IN ({_lowered(term.values)})"


def _like(wanted: str) -> str:
    """`*` and `?` as SQL writes them. Raw texts that hold `%` or `_` are matched by any character there."""
    return wanted.replace("*", "%").replace("?", "_")


def _lowered(values: Sequence[Any]) -> str:
    return ", ".join(text(str(v).lower()) for v in values)


def canonical(source: Source, fields: Mapping[str, Field], types: Mapping[str, str]) -> dict[str, str]:
    """Canonical record field → SQL over `r`, whose columns have `types`. Bad values come out NULL."""
    return {field: _value(spec, fields[field], source, fields, types) for field, spec in source.fields.items()}


def _value(spec: FieldSpec, field: Field, source: Source, fields: Mapping[str, Field], types: Mapping[str, str]) -> str:
    if spec.cases:
        branches = " ".join(f"WHEN {condition(c.terms)} THEN {constant(c.result, field)}" for c in spec.cases)
        return f"CASE {branches} ELSE {constant(spec.otherwise, field)} END"
    if spec.other:
        ways = (_value(replace(way, other=None), field, source, fields, types) for way in spec.ways())
        return f"coalesce({', '.join(ways)})"
    if spec.between:
        begin, end = (time_us(raw(p), spec.times or ("iso8601",), types.get(p, "VARCHAR")) for p in spec.between)
        length = f"((CAST({end} AS DOUBLE) - {begin}) / 1e6)"
        # Clocks that were set back give less than none.
        return f"CASE WHEN {length} < 0 THEN 0 ELSE {_length(length)} END"
    first = _first(spec)
    if spec.differs:
        first = f"nullif({first}, coalesce({', '.join(map(raw, spec.differs))}))"
    value = _typed(first, spec, field, types)
    if spec.minus:
        length = _value(source.fields[spec.minus], fields[spec.minus], source, fields, types)
        value = f"({value} - CAST(coalesce({length}, 0) * 1000000 AS BIGINT))"
    if spec.when or spec.unless:
        held = " AND ".join([condition(spec.when)] + ([f"NOT ({condition(spec.unless)})"] if spec.unless else []))
        return f"CASE WHEN {held} THEN {value} END"
    return value


def constant(value: str | None, field: Field) -> str:
    """A value as a literal of the field's type."""
    return "NULL" if value is None else f"CAST({text(value)} AS {sql_type(field)})"


def _first(spec: FieldSpec) -> str:
    values = [raw(p) for p in spec.paths] or [" || ' ' || ".join(raw(p) for p in spec.joined) or "NULL"]
    value = values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"
    return f"nullif(regexp_extract({value}, {text(spec.match)}, 1), '')" if spec.match else value


def _typed(value: str, spec: FieldSpec, field: Field, types: Mapping[str, str]) -> str:
    match field.type:
        case "time":
            stamp = time_us(value, spec.times or ("iso8601",), types.get((spec.paths or ("",))[0], "VARCHAR"))
            return f"CASE WHEN {stamp} BETWEEN {EARLIEST_US} AND {LATEST_US} THEN {stamp} END"
        case "port":
            number = f"TRY_CAST({value} AS INTEGER)"
            return f"CASE WHEN {number} BETWEEN 0 AND {MAX_PORT} THEN {number} END"
        case "integer":
            number = f"TRY_CAST({_mapped(f'lower({value})', spec) if spec.mapping else value} AS BIGINT)"
            if spec.byte:
                number = f"({number} // 256)" if spec.byte == "high" else f"({number} % 256)"
            return f"CASE WHEN {number} >= 0 THEN {number} END"
        case "number" if spec.unit == CLOCK:
            return _length(f"epoch(TRY_CAST({value} AS INTERVAL))")
        case "number":
            number = f"TRY_CAST({value} AS DOUBLE)"
            return _length(number if spec.unit == "s" else f"({number} * {UNITS[spec.unit]})")
        case "boolean":
            return f"TRY_CAST({value} AS BOOLEAN)"
        case "ip":
            return f"nullif(lower({value}), '')"
        case "token":
            return _mapped(f"nullif({value}, '')", spec)
    words = _mapped(f"nullif(lower({value}), '')", spec)
    return f"TRY_CAST({words} AS {sql_type(field)})" if field.values else words


def _length(seconds: str) -> str:
    """Seconds, or NULL where no connection lasts so long; then microseconds would not fit a number either."""
    return f"CASE WHEN {seconds} BETWEEN 0 AND {LATEST_US // 1_000_000} THEN {seconds} END"


def _mapped(value: str, spec: FieldSpec) -> str:
    if not spec.mapping:
        return value
    branches = " ".join(f"WHEN {text(k)} THEN {'NULL' if v is None else text(v)}" for k, v in spec.mapping.items())
    return f"CASE {value} {branches} ELSE {value if spec.keep_unmapped else 'NULL'} END"


def present(source: Source, field: str) -> str:
    """Whether the record has a value for the field at all, so that bad can be told from missing."""
    return "(" + " OR ".join(_present(way) for way in source.fields[field].ways()) + ")"


def _present(spec: FieldSpec) -> str:
    held = f" AND NOT ({condition(spec.unless)})" if spec.unless else ""
    held += f" AND {condition(spec.when)}" if spec.when else ""
    return f"({_first(spec)} IS NOT NULL{held})"

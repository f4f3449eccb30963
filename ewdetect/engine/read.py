"""Raw files → the table `record`: canonical columns as text and numbers, with the damage of each row noted.

One pass in the engine, whatever the size. Only where rows are damaged is the file read a second time, line by line,
to say where.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ewdetect.flows import Source
from ewdetect.flows.files import Container, FlowFile, fits, inspect, salvage
from ewdetect.flows.sql import canonical, column_types, condition, name, present, text, tree
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, Rejected, suggest

PLACES = 10             # places shown for each kind of damage
SQL_TYPES = {
    "ip": "VARCHAR",
    "string": "VARCHAR",
    "token": "VARCHAR",
    "time": "BIGINT",
    "port": "INTEGER",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A damaged record: file, line (0 where unknown) and the kind of damage."""

    file: str
    line: int
    damage: str


@dataclass(frozen=True, slots=True)
class Staged:
    """What staging found before addresses are known."""

    files: tuple[FlowFile, ...]
    places: tuple[Place, ...]


def stage(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], paths: Sequence[tuple[str, str]],
          scratch: Path) -> Staged:
    """Fill `record` from the files. Raises Rejected where the source does not read these files."""
    files = [inspect(path, shown) for path, shown in paths]
    _refuse_misfits(files, source)
    skipped = [f for f in files if _other_log(f, source)]
    places = [Place(f.shown, 0, "other-log") for f in skipped]
    readable = [f for f in files if f.container is not Container.EMPTY and f not in skipped]
    try:
        _fill(db, source, fields, readable)
    except duckdb.IOException:
        readable, damaged = _salvaged(readable, scratch)
        if not damaged:
            raise
        places += damaged
        _fill(db, source, fields, readable)
    return Staged(tuple(readable), tuple(places))


def _refuse_misfits(files: Iterable[FlowFile], source: Source) -> None:
    problems = [Problem("flows/wrong-source", f"`{source.name}` does not read {f.container} files", Location(f.shown),
                        "name the source that wrote this file with --source")
                for f in files if not fits(f, source)]
    if problems:
        raise Rejected(problems)


def _other_log(file: FlowFile, source: Source) -> bool:
    """A Zeek folder holds many logs; those without the columns that mark a connection are not ours."""
    return file.container is Container.ZEEK_TSV and any(t.path not in file.header for t in source.record)


def _salvaged(files: Sequence[FlowFile], scratch: Path) -> tuple[list[FlowFile], list[Place]]:
    kept: list[FlowFile] = []
    places: list[Place] = []
    for file in files:
        found = salvage(file, scratch)
        kept.append(found[0] if found else file)
        places += [Place(file.shown, 0, "truncated")] if found else []
    return kept, places


def _fill(
    db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile]
) -> None:
    shapes = list(dict.fromkeys(_shape(f) for f in files))
    selects = [_select(source, fields, _relation(db, source, [f for f in files if _shape(f) == s]))
               for s in shapes] or [_select(source, fields, _nothing(source))]
    db.execute(f"CREATE OR REPLACE TABLE record AS {' UNION ALL '.join(selects)}")


def _shape(file: FlowFile) -> tuple[Container, bool, tuple[str, ...]]:
    """Files of one shape are read by one call."""
    return file.container, file.gzipped, file.header


def _nothing(source: Source) -> str:
    columns = ", ".join(f"CAST(NULL AS {t}) AS {name(c)}" for c, t in column_types(source.raw_paths()).items())
    return f"(SELECT {columns}, '' AS \"#fault\" WHERE false)"


def _select(source: Source, fields: Mapping[str, Field], relation: str) -> str:
    """The canonical columns of a raw relation. Every record column exists, NULL where the source has none."""
    record = [f.name for f in fields.values() if f.origin == "record"]
    counters = [f for f in source.fields if fields[f].type == "integer"]
    lost = " + ".join(f"CAST({_lost(f)} AS TINYINT)" for f in counters) or "0"
    return (f"SELECT {', '.join(map(name, record))}, proved, {lost} AS lost_numbers, {_damage(source)} AS damage "
            f"FROM ({_parsed(source, fields, relation)})")


def _parsed(source: Source, fields: Mapping[str, Field], relation: str, *also: str) -> str:
    """Canonical columns, and for those that can be bad whether the record `has` them at all."""
    made = canonical(source, fields)
    columns = [f"CAST({made.get(f.name, 'NULL')} AS {SQL_TYPES[f.type]}) AS {name(f.name)}"
               for f in fields.values() if f.origin == "record"]
    has = [f"{present(source, f)} AS {_has(f)}" for f in made if fields[f].type in ("time", "port", "integer")]
    marks = [f"{condition(source.proved or ())} AS proved", f"{condition(source.record)} AS \"#flow\"", 'r."#fault"']
    return f"SELECT {', '.join([*also, *columns, *has, *marks])} FROM {relation} r"


def _has(field: str) -> str:
    return name(f"#has {field}")


def _lost(field: str) -> str:
    return f"({_has(field)} AND {name(field)} IS NULL)"


def _damage(source: Source) -> str:
    """The first thing wrong with a parsed record, `passed` for a record of another kind, or NULL."""
    ports = " OR ".join(_lost(p) for p in ("source.port", "destination.port") if p in source.fields) or "false"
    return (
        f'CASE WHEN "#fault" <> \'\' THEN "#fault" WHEN NOT "#flow" THEN \'passed\' '
        f"WHEN {_lost('event.start')} THEN 'bad-time' WHEN \"event.start\" IS NULL THEN 'no-time' "
        f"WHEN \"source.ip\" IS NULL OR \"destination.ip\" IS NULL THEN 'no-address' WHEN {ports} THEN 'bad-port' END"
    )


# ---------------------------------------------------------------- raw relations

_LINES = ("delim = chr(1), quote = '', escape = '', header = false, columns = {'l': 'VARCHAR'}, auto_detect = false, "
          "strict_mode = false")
_DATA_LINE = "l IS NOT NULL AND NOT starts_with(l, '#')"
_IS_OBJECT = "coalesce(json_valid(l), false) AND starts_with(ltrim(l), '{')"


def _relation(db: duckdb.DuckDBPyConnection, source: Source, files: Sequence[FlowFile]) -> str:
    """A FROM item with every raw path of the source as text, and `#fault`: the fault of the line, or ''."""
    paths = "[" + ", ".join(text(f.path) for f in files) + "]"
    gz = ", compression = 'gzip'" if files[0].gzipped else ""
    match files[0].container:
        case Container.ZEEK_TSV:
            return f"(SELECT {_split(source, files[0].header)} FROM read_csv({paths}{gz}, {_LINES}) WHERE {_DATA_LINE})"
        case Container.CSV:
            return _table(
                db, source, f"read_csv({paths}{gz}, header = true, all_varchar = true, store_rejects = true)", files
            )
        case Container.PARQUET:
            return _table(db, source, f"read_parquet({paths}, union_by_name = true)", files)
    types = column_types(source.raw_paths())
    struct = ", ".join(f"{name(k)}: {text(v)}" for k, v in types.items())
    return (f"(SELECT *, {_fault(types)} AS \"#fault\" FROM read_json({paths}{gz}, format = 'newline_delimited', "
            f"ignore_errors = true, columns = {{{struct}}}))")


def _fault(columns: Iterable[str]) -> str:
    """A line that is no JSON object leaves every column empty."""
    return f"CASE WHEN {' AND '.join(f'{name(c)} IS NULL' for c in columns)} THEN 'unreadable' ELSE '' END"


def _split(source: Source, header: Sequence[str]) -> str:
    """A Zeek line as columns: `-` is unset."""
    parts = "string_split(l, chr(9))"
    columns = [f"nullif({parts}[{header.index(p) + 1}], '-') AS {name(p)}" if p in header
               else f"CAST(NULL AS VARCHAR) AS {name(p)}" for p in source.raw_paths()]
    return ", ".join(columns) + f", CASE WHEN len({parts}) = {len(header)} THEN '' ELSE 'ragged' END AS \"#fault\""


def _table(db: duckdb.DuckDBPyConnection, source: Source, reader: str, files: Sequence[FlowFile]) -> str:
    """A CSV or Parquet file of canonical columns; an unknown column is refused, it may be a misspelt known one."""
    columns = {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
    known = source.raw_paths()
    problems = [Problem("flows/unknown-column", f"`{c}` is no canonical field", Location(files[0].shown),
                        suggest(c, known)) for c in columns if c not in known]
    if problems:
        raise Rejected(problems)
    picked = [f"{_as_text(p, columns[p])} AS {name(p)}" if p in columns else f"CAST(NULL AS VARCHAR) AS {name(p)}"
              for p in known]
    return f"(SELECT {', '.join(picked)}, '' AS \"#fault\" FROM {reader})"


def _as_text(column: str, sql_type: str) -> str:
    """Times become seconds since 1970; everything else is cast where it is used."""
    if sql_type.startswith("TIMESTAMP"):
        return f"CAST(CAST(epoch_us({name(column)}) AS DECIMAL(26, 6)) / 1000000 AS VARCHAR)"
    return f"CAST({name(column)} AS VARCHAR)"


# ---------------------------------------------------------------- where the damage is

def locate(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
           ) -> list[Place]:
    """The first few places of each kind of damage, by reading the lines again. For text formats only."""
    places = [place for file in files for place in _places(db, source, fields, file)]
    kinds = dict.fromkeys(p.damage for p in places)
    return [p for kind in kinds for p in [q for q in places if q.damage == kind][:PLACES]]


def _places(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], file: FlowFile) -> list[Place]:
    if not (lines := _numbered(source, file)):
        return []
    address = " OR ".join(f"ewd_ip({name(side)}) IS NULL" for side in ("source.ip", "destination.ip"))
    damage = f"coalesce({_damage(source)}, CASE WHEN {address} THEN 'bad-address' END)"
    rows = db.execute(
        f"SELECT line, damage FROM (SELECT line, {damage} AS damage FROM ({_parsed(source, fields, lines, 'r.line')})) "
        "WHERE damage <> 'passed' "
        f"QUALIFY row_number() OVER (PARTITION BY damage ORDER BY line) <= {PLACES} ORDER BY line"
    ).fetchall()
    return [Place(file.shown, line, damage) for line, damage in rows]


def _numbered(source: Source, file: FlowFile) -> str:
    """The raw relation of one file with line numbers, or nothing for formats without lines."""
    gz = ", compression = 'gzip'" if file.gzipped else ""
    numbered = (
        f"SELECT row_number() OVER () AS line, l FROM read_csv({text(file.path)}{gz}, {_LINES}, parallel = false)"
    )
    if file.container is Container.ZEEK_TSV:
        return f"(SELECT line, {_split(source, file.header)} FROM ({numbered}) WHERE {_DATA_LINE})"
    if file.container is not Container.NDJSON:
        return ""
    shape = text(json.dumps(_shape_of(tree(source.raw_paths()))))
    values = f"unnest(json_transform(CASE WHEN {_IS_OBJECT} THEN l END, {shape}))"
    return (f"(SELECT *, {_fault(column_types(source.raw_paths()))} AS \"#fault\" FROM "
            f"(SELECT line, {values} FROM ({numbered}) WHERE trim(l) <> ''))")


def _shape_of(node: dict[str, Any]) -> dict[str, Any]:
    """The structure that json_transform wants: every leaf text."""
    return {key: "VARCHAR" if child is None else _shape_of(child) for key, child in node.items()}


def torn_lines(db: duckdb.DuckDBPyConnection) -> list[Place]:
    """CSV lines that the reader could not fit to the header; it notes them in tables of its own."""
    if not db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchone():
        return []
    rows = db.execute("SELECT DISTINCT file_path, line FROM reject_errors JOIN reject_scans USING (scan_id, file_id) "
                      "ORDER BY ALL").fetchall()
    return [Place(file, line, "ragged") for file, line in rows]

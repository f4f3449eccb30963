"""Files of every kind as one kind of relation: a column for each raw path of the source, and `#fault`.

`#fault` is what keeps a line from being read, or ''.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from ewdetect.flows import Source
from ewdetect.flows.files import Container, FlowFile
from ewdetect.flows.sql import column_types, name, text, tree
from ewdetect.problems import Location, Problem, Rejected, suggest


@dataclass(frozen=True, slots=True)
class Relation:
    """A FROM item, and the DuckDB types of the raw paths that are not text."""

    sql: str
    types: Mapping[str, str]


_LINES = ("delim = chr(1), quote = '', escape = '', header = false, columns = {'l': 'VARCHAR'}, auto_detect = false, "
          "strict_mode = false")
_DATA_LINE = "l IS NOT NULL AND NOT starts_with(l, '#')"
_IS_OBJECT = "coalesce(json_valid(l), false) AND starts_with(ltrim(l), '{')"


def relation(db: duckdb.DuckDBPyConnection, source: Source, files: Sequence[FlowFile], natural: Mapping[str, str],
             known: Sequence[str]) -> Relation:
    """Files of one shape. With `natural` types JSON is read fast, and fails at the first damage; with none, as text.

    A table may have the columns `known`, of which the source's own raw paths are read.
    """
    paths = "[" + ", ".join(text(f.path) for f in files) + "]"
    gz = ", compression = 'gzip'" if files[0].gzipped else ""
    match files[0].container:
        case Container.ZEEK_TSV:
            lines = f"read_csv({paths}{gz}, {_LINES})"
            return Relation(f"(SELECT {_split(source, files[0].header)} FROM {lines} WHERE {_DATA_LINE})", {})
        case Container.CSV:
            reader = f"read_csv({paths}{gz}, header = true, all_varchar = true, store_rejects = true)"
            return _table(db, source, reader, files, {}, known)
        case Container.PARQUET:
            return _table(db, source, f"read_parquet({paths}, union_by_name = true)", files, natural, known)
    columns = column_types(source.raw_paths(), natural)
    struct = ", ".join(f"{name(k)}: {text(v)}" for k, v in columns.items())
    reader = (f"read_json({paths}{gz}, format = 'newline_delimited', ignore_errors = {text(not natural)}, "
              f"columns = {{{struct}}})")
    return Relation(f'(SELECT *, {_fault(source)} AS "#fault" FROM {reader})', natural)


def nothing(source: Source) -> Relation:
    """No rows, in the same columns."""
    columns = ", ".join(f"CAST(NULL AS {t}) AS {name(c)}" for c, t in column_types(source.raw_paths()).items())
    return Relation(f"(SELECT {columns}, '' AS \"#fault\" WHERE false)", {})


def numbered(source: Source, file: FlowFile) -> Relation | None:
    """One file as text with the number of each `line`; None for formats without lines."""
    gz = ", compression = 'gzip'" if file.gzipped else ""
    reader = f"read_csv({text(file.path)}{gz}, {_LINES}, parallel = false)"
    lines = f"SELECT row_number() OVER () AS line, l FROM {reader}"
    if file.container is Container.ZEEK_TSV:
        return Relation(f"(SELECT line, {_split(source, file.header)} FROM ({lines}) WHERE {_DATA_LINE})", {})
    if file.container is not Container.NDJSON:
        return None
    shape = text(json.dumps(_leaves_as_text(tree(source.raw_paths()))))
    values = f"unnest(json_transform(CASE WHEN {_IS_OBJECT} THEN l END, {shape}))"
    fault = _fault(source)
    parsed = f"SELECT line, {values} FROM ({lines}) WHERE trim(l) <> ''"
    return Relation(f'(SELECT *, {fault} AS "#fault" FROM ({parsed}))', {})


def _leaves_as_text(node: dict[str, Any]) -> dict[str, Any]:
    """The structure that json_transform wants."""
    return {key: "VARCHAR" if child is None else _leaves_as_text(child) for key, child in node.items()}


def _fault(source: Source) -> str:
    """A line that is no JSON object, or one of another kind, leaves empty what makes a flow."""
    paths = [p for f in ("event.start", "source.ip", "destination.ip") for p in source.fields[f].paths]
    columns = dict.fromkeys(p.partition("/")[0] for p in [*paths, *(t.path for t in source.record)])
    return f"CASE WHEN {' AND '.join(f'{name(c)} IS NULL' for c in columns)} THEN 'unreadable' ELSE '' END"


def _split(source: Source, header: Sequence[str]) -> str:
    """A Zeek line as columns: `-` is unset."""
    parts = "string_split(l, chr(9))"
    columns = [f"nullif({parts}[{header.index(p) + 1}], '-') AS {name(p)}" if p in header
               else f"CAST(NULL AS VARCHAR) AS {name(p)}" for p in source.raw_paths()]
    return ", ".join(columns) + f", CASE WHEN len({parts}) = {len(header)} THEN '' ELSE 'ragged' END AS \"#fault\""


def _table(db: duckdb.DuckDBPyConnection, source: Source, reader: str, files: Sequence[FlowFile],
           natural: Mapping[str, str], known: Sequence[str]) -> Relation:
    """A CSV or Parquet file of canonical columns; an unknown column is refused, it may be a misspelt known one."""
    found = {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
    problems = [Problem("flows/unknown-column", f"`{c}` is no canonical field", Location(files[0].shown),
                        suggest(c, known)) for c in found if c not in known]
    if problems:
        raise Rejected(problems)
    wanted = source.raw_paths()
    types = {p: natural[p] for p in wanted if p in natural and _holds(found.get(p, ""), natural[p])}
    # Whoever writes CSV by hand puts blanks after commas.
    columns = [f"CAST({name(p)} AS {types[p]}) AS {name(p)}" if p in types
               else f"{f'trim(CAST({name(p)} AS VARCHAR))' if p in found else 'CAST(NULL AS VARCHAR)'} AS {name(p)}"
               for p in wanted]
    return Relation(f"(SELECT {', '.join(columns)}, '' AS \"#fault\" FROM {reader})", types)


def _holds(column_type: str, natural: str) -> bool:
    """Whether a typed column can be taken as it is: a time for a time, a number for a number."""
    is_time, is_text = column_type.startswith("TIMESTAMP"), column_type in ("", "VARCHAR")
    return is_time if natural == "TIMESTAMPTZ" else not is_time and not is_text and natural != "VARCHAR"


def torn_lines(db: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
    """File and line of what the CSV reader could not fit to the header; it notes them in tables of its own."""
    return db.execute("SELECT DISTINCT file_path, line FROM reject_errors JOIN reject_scans USING (scan_id, file_id) "
                      "ORDER BY ALL").fetchall()

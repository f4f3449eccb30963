"""Files of every kind as one kind of relation: a column for each raw path of the source, and `#fault`.

`#fault` is what keeps a line from being read, `passed` for a record of another kind, or ''.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from ewdetect.flows import Format, Source
from ewdetect.flows.files import Container, FlowFile, lines_within
from ewdetect.flows.lines import HEADER, is_header, split_lines
from ewdetect.flows.records import json_fault, plain_json, unfolded, unset_as_null
from ewdetect.flows.sql import column_types, name, packed, raw, text
from ewdetect.problems import Location, Problem, Rejected, suggest


@dataclass(frozen=True, slots=True)
class Relation:
    """A FROM item, and the DuckDB types of the raw paths that are not text."""

    sql: str
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: with `natural` types JSON is read fast, and fails at the first damage; with none, all is text.

    A table may have the columns `known`.
    """

    natural: Mapping[str, str]
    known: Sequence[str] = ()


_LINES = ("delim = chr(1), quote = '', escape = '', header = false, columns = {'l': 'VARCHAR'}, auto_detect = false, "
          "strict_mode = false")
_NAMES = "starts_with(l, '#fields')"        # a Zeek line that names the columns
_RECORD, _LONGEST_RECORD = 4_194_304, 33_554_432        # bytes of a line that holds many flows, and of a rare one
_LONGEST_TEXT = 2_000_000               # bytes of any other line


def relation(db: duckdb.DuckDBPyConnection, source: Source, files: Sequence[FlowFile], how: Reading) -> Relation:
    """Files of one shape."""
    paths, gz = "[" + ", ".join(text(f.path) for f in files) + "]", _gz(files[0])
    match files[0].container:
        case Container.ZEEK_TSV:
            lines = f"read_csv({paths}{gz}, {_LINES})"
            return Relation(f"(SELECT {_split(source, files[0].header)} FROM {lines} WHERE {_zeek_line(files[0])})", {})
        case Container.CSV if source.lines:
            base = f"SELECT {_CLEAN} FROM read_csv({paths}{gz}, {_LINES}) WHERE {_TEXT}"
            return Relation(f"({split_lines(source, source.lines, base, files[0].header)})", {})
        case Container.CSV:
            reader = f"read_csv({paths}{gz}, header = true, all_varchar = true, store_rejects = true)"
            return _table(db, source, reader, files, Reading({}, how.known))
        case Container.PARQUET if Format.TABLE in source.formats:
            return _table(db, source, f"read_parquet({paths}, union_by_name = true)", files, how)
        case Container.PARQUET:
            return _nested(db, source, f"read_parquet({paths}, union_by_name = true)")
        case Container.DOCUMENT if source.unfold or not how.natural:
            return Relation(f"({_documents(source, paths, gz)})", {})
    if source.unfold:
        # A buffer's lines are parsed together, several times over, so the buffer bounds the memory.
        size = _RECORD if all(lines_within(f, _RECORD) for f in files) else _LONGEST_RECORD
        reader = f"read_csv({paths}{gz}, {_LINES}, max_line_size = {size}, buffer_size = {size})"
        return Relation(f"({unfolded(source, f'SELECT {_CLEAN} FROM {reader}', _TEXT)})", {})
    columns = column_types(source.raw_paths(), how.natural)
    struct = ", ".join(f"{name(k)}: {text(v)}" for k, v in columns.items())
    form = "newline_delimited" if files[0].container is Container.NDJSON else "array"
    reader = (f"read_json({paths}{gz}, format = '{form}', ignore_errors = {text(not how.natural)}, "
              f"columns = {{{struct}}})")
    rows = f'SELECT *, {json_fault(source)} AS "#fault" FROM {reader}'
    return Relation(f"({unset_as_null(source, rows, how.natural)})", how.natural)


# Cutting characters off is slow, and rarely anything is to be cut.
_CLEAN = "CASE WHEN suffix(l, chr(13)) THEN rtrim(l, chr(13)) ELSE l END AS l"
_TEXT = "l IS NOT NULL AND CASE WHEN ascii(l) > 32 THEN true ELSE trim(l, chr(13) || chr(9) || ' ') <> '' END"


def _gz(file: FlowFile) -> str:
    return ", compression = 'gzip'" if file.gzipped else ""


def _documents(source: Source, paths: str, gz: str, *also: str) -> str:
    """JSON laid out over lines: a list of records, one that holds them, or flat objects. `line` numbers them."""
    reader = f"read_csv({paths}{gz}, {_LINES}, parallel = false, filename = true)"
    lines = f"SELECT row_number() OVER () AS n, filename, l FROM {reader}"
    whole = f"SELECT string_agg(l, chr(10) ORDER BY n) AS l FROM ({lines}) GROUP BY filename"
    if Format.OBJECTS in source.formats:
        chunks = "list_transform(string_split(l, '}'), lambda x: ltrim(x, '[], ' || chr(10) || chr(13) || chr(9)))"
        each = f"SELECT unnest({chunks}) AS x, generate_subscripts({chunks}, 1) AS line FROM ({whole})"
        whole_again = "CASE WHEN starts_with(x, '{') THEN x || '}' ELSE x END"
        return plain_json(source, f"SELECT {whole_again} AS l, line FROM ({each}) WHERE x <> ''", also)
    if source.unfold:
        return unfolded(source, f"SELECT l, 0 AS line FROM ({whole})", "true", also)
    is_list = "coalesce(json_valid(l), false) AND starts_with(ltrim(l), '[')"
    listed = f"CASE WHEN {is_list} THEN json_extract_string(l, '$[*]') ELSE [l] END"
    each = f"SELECT unnest({listed}) AS l, generate_subscripts({listed}, 1) AS line FROM ({whole})"
    return plain_json(source, each, also)


def overlong(source: Source, file: FlowFile) -> bool:
    """Whether a file has lines that DuckDB's reader of lines drops. Its JSON reader refuses what is too long for it."""
    if source.unfold and file.container is Container.NDJSON:
        return not lines_within(file, _LONGEST_RECORD)
    return file.container in (Container.CSV, Container.ZEEK_TSV) and not lines_within(file, _LONGEST_TEXT)


def nothing(source: Source) -> Relation:
    """No rows, in the same columns."""
    columns = ", ".join(f"CAST(NULL AS {t}) AS {name(c)}" for c, t in column_types(source.raw_paths()).items())
    return Relation(f"(SELECT {columns}, '' AS \"#fault\" WHERE false)", {})


def numbered(source: Source, file: FlowFile) -> Relation | None:
    """One file as text with the number of each `line`, or of each object of a document; None for formats without."""
    reader = f"read_csv({text(file.path)}{_gz(file)}, {_LINES}, parallel = false)"
    lines = f"SELECT row_number() OVER () AS line, {_CLEAN} FROM {reader}"
    match file.container:
        case Container.ZEEK_TSV:
            return Relation(f"(SELECT line, {_split(source, file.header)} FROM ({lines}) WHERE {_zeek_line(file)})", {})
        case Container.CSV if source.lines:
            base = f"SELECT * FROM ({lines}) WHERE {_TEXT}"
            return Relation(f"({split_lines(source, source.lines, base, file.header, ['line'])})", {})
        case Container.DOCUMENT:
            return Relation(f"({_documents(source, f'[{text(file.path)}]', _gz(file), 'line')})", {})
        case Container.NDJSON:
            if source.unfold:
                return Relation(f"({unfolded(source, lines, _TEXT, ['line'])})", {})
            return Relation(f"({plain_json(source, f'SELECT * FROM ({lines}) WHERE {_TEXT}', ['line'])})", {})
    return None


def changed_header(db: duckdb.DuckDBPyConnection, source: Source, file: FlowFile) -> int:
    """The first line that names the columns otherwise than the file's header; 0 where there is none."""
    columns = source.lines.columns if source.lines else None
    if file.container is Container.ZEEK_TSV:
        test, same = _NAMES, _zeek_header(file)
    elif file.container is Container.CSV and columns and columns.header:
        test, same = is_header(columns), columns.separator.join(file.header)
    else:
        return 0
    lines = (f"SELECT row_number() OVER () AS line, l FROM read_csv({text(file.path)}{_gz(file)}, {_LINES}, "
             "parallel = false)")
    row = db.execute(f"SELECT coalesce(min(line), 0) FROM ({lines}) WHERE {test} AND rtrim(l, chr(13)) <> {text(same)}"
                     ).fetchone()
    return int(row[0]) if row else 0


def _zeek_header(file: FlowFile) -> str:
    return "#fields" + chr(9) + chr(9).join(file.header)


def _zeek_line(file: FlowFile) -> str:
    """Whether a line of a Zeek log is a record, or names the columns otherwise than the header."""
    other = f"{_NAMES} AND rtrim(l, chr(13)) <> {text(_zeek_header(file))}"
    return f"l IS NOT NULL AND (NOT starts_with(l, '#') OR ({other}))"


def _split(source: Source, header: Sequence[str]) -> str:
    """A Zeek line as columns: `-` is unset."""
    parts = "string_split(l, chr(9))"
    columns = [f"nullif({parts}[{header.index(p) + 1}], '-') AS {name(p)}" if p in header
               else f"CAST(NULL AS VARCHAR) AS {name(p)}" for p in source.raw_paths()]
    fault = (f"CASE WHEN {_NAMES} THEN {text(HEADER)} WHEN len({parts}) = {len(header)} THEN '' ELSE 'ragged' END "
             'AS "#fault"')
    return ", ".join([*columns, fault])


def _nested(db: duckdb.DuckDBPyConnection, source: Source, reader: str) -> Relation:
    """A Parquet file with the source's own columns, as text; those that it does not have are missing."""
    def column(path: str) -> str:
        # Parquet writers turn the hyphens of a format's names into underscores.
        for spelling in dict.fromkeys((path, path.replace("-", "_"))):
            try:
                db.execute(f"DESCRIBE SELECT {raw(spelling)} FROM {reader} r")
            except duckdb.BinderException:
                continue
            return f"CAST({raw(spelling)} AS VARCHAR)"
        return "CAST(NULL AS VARCHAR)"

    columns = ", ".join(packed(source.raw_paths(), column))
    rows = f"SELECT *, {json_fault(source)} AS \"#fault\" FROM (SELECT {columns} FROM {reader} r)"
    return Relation(f"({unset_as_null(source, rows)})", {})


def _table(db: duckdb.DuckDBPyConnection, source: Source, reader: str, files: Sequence[FlowFile],
           how: Reading) -> Relation:
    """A CSV or Parquet file of canonical columns; an unknown column is refused, it may be a misspelt known one."""
    found = {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
    problems = [Problem("flows/unknown-column", f"`{c}` is no canonical field", Location(files[0].shown),
                        suggest(c, how.known)) for c in found if c not in how.known]
    if problems:
        raise Rejected(problems)
    wanted, natural = source.raw_paths(), how.natural
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

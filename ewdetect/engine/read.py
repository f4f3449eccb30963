"""Raw files → the table `record`: canonical columns as text and numbers, with the damage of each row noted.

One pass in the engine, whatever the size. Only where rows are damaged is the file read a second time, line by line,
to say where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ewdetect.engine.relations import (
    Reading,
    Relation,
    changed_header,
    nothing,
    numbered,
    overlong,
    relation,
)
from ewdetect.flows import Source
from ewdetect.flows.files import Container, FlowFile, cleaned, fits, inspect, salvage
from ewdetect.flows.lines import HEADER
from ewdetect.flows.sql import any_of, canonical, name, natural_types, present, raw, sql_type
from ewdetect.flows.times import SYSLOG, YEARLESS_FROM_US, YEARLESS_TO_US, dated
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, Rejected

PLACES = 10             # places shown for each kind of damage


@dataclass(frozen=True, slots=True)
class Place:
    """A damaged record: file, line (0 where unknown) and the kind of damage."""

    file: str
    line: int
    damage: str


@dataclass(frozen=True, slots=True)
class Staged:
    """What staging found before addresses are known.

    `kind` is what `record` is, TABLE or VIEW; `scratch` a folder for copies; `dated` how many times got their year from
    elsewhere.
    """

    files: tuple[FlowFile, ...]
    places: tuple[Place, ...]
    kind: str
    scratch: Path
    dated: int = 0


def stage(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], paths: Sequence[tuple[str, str]],
          scratch: Path, until: int | None = None) -> Staged:
    """Fill `record` from the files. Raises Rejected where the source does not read these files.

    `until` is the latest time of a log without years, in microseconds; left out, what its other lines say, or the
    file's own date.
    """
    files = [inspect(path, shown, source) for path, shown in paths]
    _refuse_misfits(files, source)
    skipped = [f for f in files if _other_log(f, source)]
    places = [Place(f.shown, 0, "other-log") for f in skipped]
    readable = [f for f in files if f.container is not Container.EMPTY and f not in skipped]
    # Parquet is quick to read again, so it is not copied.
    kind = "VIEW" if _is_cheap(readable) and not source.merge else "TABLE"
    try:
        readable = _fill(db, source, fields, readable, kind, scratch)
    except duckdb.IOException:
        readable, damaged = _salvaged(readable, scratch)
        if not damaged:
            raise
        places += damaged
        readable = _fill(db, source, fields, readable, kind, scratch)
    return Staged(tuple(readable), tuple(places), kind, scratch, _date(db, source, readable, until))


def _is_cheap(files: Sequence[FlowFile]) -> bool:
    return bool(files) and all(f.container is Container.PARQUET for f in files)


def _refuse_changed_headers(db: duckdb.DuckDBPyConnection, source: Source, files: Sequence[FlowFile]) -> None:
    """Values under a header that changes halfway would be taken for others."""
    if not any(f.header for f in files) or not db.execute(f"SELECT 1 FROM record WHERE damage = '{HEADER}' LIMIT 1"
                                                          ).fetchone():
        return
    problems = [Problem("flows/changed-header", "in the middle of the file the columns are named anew, and differently",
                        Location(file.shown, line), "split the file there")
                for file in files if file.header and (line := changed_header(db, source, file))]
    if problems:
        raise Rejected(problems)


_START = name("event.start")


def _date(db: duckdb.DuckDBPyConnection, source: Source, files: Sequence[FlowFile], until: int | None) -> int:
    """Give times without a year one, and say how many there are."""
    if not files or not any(SYSLOG in way.times for way in source.fields["event.start"].ways()):
        return 0
    yearless = f"{_START} BETWEEN {YEARLESS_FROM_US} AND {YEARLESS_TO_US}"
    found = db.execute(f"SELECT coalesce(count_if({yearless}), 0), max({_START}) FILTER (NOT {yearless}) FROM record"
                       ).fetchone()
    count, told = found or (0, None)
    if count:
        latest = until or told or max(int(Path(f.path).stat().st_mtime * 1_000_000) for f in files)
        db.execute(f"UPDATE record SET {_START} = {dated(_START, str(latest))} WHERE {yearless}")
    return int(count)


def _refuse_misfits(files: Iterable[FlowFile], source: Source) -> None:
    problems = [Problem("flows/wrong-source", f"`{source.name}` does not read {f.container} files", Location(f.shown),
                        "name the source that wrote this file with --source")
                for f in files if not fits(f, source)]
    if problems:
        raise Rejected(problems)


def _other_log(file: FlowFile, source: Source) -> bool:
    """A Zeek folder holds many logs; those without the columns that mark a connection are not ours."""
    asked = {term.path for terms in source.record for term in terms}
    return file.container is Container.ZEEK_TSV and not asked <= set(file.header)


def _salvaged(files: Sequence[FlowFile], scratch: Path) -> tuple[list[FlowFile], list[Place]]:
    kept: list[FlowFile] = []
    places: list[Place] = []
    for file in files:
        found = salvage(file, scratch)
        kept.append(found[0] if found else file)
        places += [Place(file.shown, 0, "truncated")] if found else []
    return kept, places


def _fill(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
          kind: str, scratch: Path) -> list[FlowFile]:
    """Make `record`: typed and fast; where a JSON value is not what it should be, all of it again as text.

    Where even that fails there are bytes that are no UTF-8, or a line without end; then from copies without them.
    Returns the files that were read.
    """
    known, narrow = source.raw_paths(), _narrowed(source, fields)
    # The JSON reader takes a byte order mark for damage.
    files = [cleaned(f, scratch) if (f.marked and f.container is Container.NDJSON) or overlong(source, f) else f
             for f in files]
    for how in (Reading(natural_types(narrow, fields), known), Reading({}, known)):
        try:
            _create(db, narrow, fields, files, kind, how)
            _refuse_changed_headers(db, source, files)
            return files
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            continue
    files = [cleaned(f, scratch) for f in files]
    _create(db, narrow, fields, files, kind, Reading({}, known))
    _refuse_changed_headers(db, source, files)
    return files


def _narrowed(source: Source, fields: Mapping[str, Field]) -> Source:
    """The source as far as it makes `fields`: what nobody asks for is not even parsed."""
    return replace(source, fields={name: spec for name, spec in source.fields.items() if name in fields})


def _create(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
            kind: str, how: Reading) -> None:
    shapes = dict.fromkeys(map(_shape, files))
    relations = [relation(db, source, [f for f in files if _shape(f) == s], how) for s in shapes]
    selects = [_select(source, fields, r) for r in relations or [nothing(source)]]
    db.execute(f"CREATE OR REPLACE TEMP {kind} record AS {' UNION ALL '.join(selects)}")


def _shape(file: FlowFile) -> tuple[Container, bool, tuple[str, ...]]:
    """What files must share to be read by one call."""
    return file.container, file.gzipped, file.header


def _select(source: Source, fields: Mapping[str, Field], rows: Relation) -> str:
    """The canonical columns of a raw relation: every record field of `fields`, NULL where the source has none."""
    record = [f.name for f in fields.values() if f.origin == "record"]
    counters = [f for f in source.fields if fields[f].type == "integer"]
    lost = " + ".join(f"CAST({_lost(f)} AS TINYINT)" for f in counters) or "0"
    # Where records are put together, proof of who began weighs more than a reply.
    marks = f"proved, reply AND NOT proved AS reply, {BY}, {REPORTER}" if source.merge else "proved, reply"
    return (f"SELECT {', '.join(map(_portless, record))}, {marks}, {lost} AS lost_numbers, "
            f"{_damage(source)} AS damage FROM ({_parsed(source, fields, rows)})")


_PORTS = ("source.port", "destination.port", "source.nat.port", "destination.nat.port")
_ICMP = "('icmp', 'ipv6-icmp')"


def _portless(field: str) -> str:
    """A column of `record`. ICMP has no ports, whatever stands in theirs."""
    if field not in _PORTS:
        return name(field)
    has_ports = f'("network.transport" IS NULL OR "network.transport" NOT IN {_ICMP})'
    return f"CASE WHEN {has_ports} THEN {name(field)} END AS {name(field)}"


def _parsed(source: Source, fields: Mapping[str, Field], rows: Relation, *also: str) -> str:
    """Canonical columns, and for those that can be bad whether the record `has` them at all."""
    made = canonical(source, fields, rows.types)
    columns = [f"CAST({made.get(f.name, 'NULL')} AS {sql_type(f)}) AS {name(f.name)}"
               for f in fields.values() if f.origin == "record"]
    has = [f"{present(source, f)} AS {_has(f)}" for f in made if fields[f].type in ("time", "port", "integer")]
    marks = [f"({any_of(source.proved)}) AS proved", f"({any_of(source.reply)}) AS reply",
             f"({any_of(source.record)}) AS \"#flow\"", 'r."#fault"', *_merge_keys(source)]
    return f"SELECT {', '.join([*also, *columns, *has, *marks])} FROM {rows.sql} r"


BY, REPORTER = name("#by"), name("#reporter")


def _merge_keys(source: Source) -> list[str]:
    """What records of one connection share, and who counted, each as one text."""
    if not source.merge:
        return []
    pairs = ((source.merge.by, BY), (source.merge.reporter, REPORTER))
    return [f"concat_ws(chr(31), '', {', '.join(f'coalesce({raw(p)}, chr(30))' for p in paths)}) AS {column}" if paths
            else f"'' AS {column}" for paths, column in pairs]


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


# ---------------------------------------------------------------- where the damage is

def locate(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], staged: Staged) -> list[Place]:
    """The first few places of each kind of damage, by reading the lines again. For text formats only."""
    narrow = _narrowed(source, fields)
    places = [place for file in staged.files for place in _readable_places(db, narrow, fields, file, staged.scratch)]
    kinds = dict.fromkeys(p.damage for p in places)
    return [p for kind in kinds for p in [q for q in places if q.damage == kind][:PLACES]]


def _readable_places(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], file: FlowFile,
                     scratch: Path) -> list[Place]:
    """The JSON reader passes over bytes that the reader of lines does not take."""
    try:
        return _places(db, source, fields, file)
    except duckdb.InvalidInputException:
        return _places(db, source, fields, cleaned(file, scratch))


def _places(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], file: FlowFile) -> list[Place]:
    if not (lines := numbered(source, file)):
        return []
    address = " OR ".join(f"ewd_ip({name(side)}) IS NULL" for side in ("source.ip", "destination.ip"))
    damage = f"coalesce({_damage(source)}, CASE WHEN {address} THEN 'bad-address' END)"
    rows = db.execute(
        f"SELECT line, damage FROM (SELECT line, {damage} AS damage FROM ({_parsed(source, fields, lines, 'r.line')})) "
        "WHERE damage <> 'passed' "
        f"QUALIFY row_number() OVER (PARTITION BY damage ORDER BY line) <= {PLACES} ORDER BY line"
    ).fetchall()
    return [Place(file.shown, line, damage) for line, damage in rows]

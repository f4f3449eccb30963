"""Raw files → the table `record`: canonical columns as text and numbers, with the damage of each row noted.

One pass in the engine, whatever the size. Only where rows are damaged is the file read a second time, line by line,
to say where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ewdetect.engine.relations import Relation, nothing, numbered, relation
from ewdetect.flows import Source
from ewdetect.flows.files import Container, FlowFile, fits, inspect, salvage
from ewdetect.flows.sql import canonical, condition, name, natural_types, present, sql_type
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
    """What staging found before addresses are known; `kind` is what `record` is, TABLE or VIEW."""

    files: tuple[FlowFile, ...]
    places: tuple[Place, ...]
    kind: str


def stage(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], paths: Sequence[tuple[str, str]],
          scratch: Path) -> Staged:
    """Fill `record` from the files. Raises Rejected where the source does not read these files."""
    files = [inspect(path, shown) for path, shown in paths]
    _refuse_misfits(files, source)
    skipped = [f for f in files if _other_log(f, source)]
    places = [Place(f.shown, 0, "other-log") for f in skipped]
    readable = [f for f in files if f.container is not Container.EMPTY and f not in skipped]
    # Parquet is quick to read again, so it is not copied.
    kind = "VIEW" if readable and all(f.container is Container.PARQUET for f in readable) else "TABLE"
    try:
        _fill(db, source, fields, readable, kind)
    except duckdb.IOException:
        readable, damaged = _salvaged(readable, scratch)
        if not damaged:
            raise
        places += damaged
        _fill(db, source, fields, readable, kind)
    return Staged(tuple(readable), tuple(places), kind)


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


def _fill(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
          kind: str) -> None:
    """Make `record`: typed and fast, or, where a JSON value is not what it should be, all of it again as text."""
    known, narrow = source.raw_paths(), _narrowed(source, fields)
    try:
        _create(db, narrow, fields, files, kind, natural_types(narrow, fields), known)
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        _create(db, narrow, fields, files, kind, {}, known)


def _narrowed(source: Source, fields: Mapping[str, Field]) -> Source:
    """The source as far as it makes `fields`: what nobody asks for is not even parsed."""
    return replace(source, fields={name: spec for name, spec in source.fields.items() if name in fields})


def _create(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
            kind: str, natural: Mapping[str, str], known: Sequence[str]) -> None:
    shapes = dict.fromkeys(map(_shape, files))
    relations = [relation(db, source, [f for f in files if _shape(f) == s], natural, known) for s in shapes]
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
    return (f"SELECT {', '.join(map(name, record))}, proved, {lost} AS lost_numbers, {_damage(source)} AS damage "
            f"FROM ({_parsed(source, fields, rows)})")


def _parsed(source: Source, fields: Mapping[str, Field], rows: Relation, *also: str) -> str:
    """Canonical columns, and for those that can be bad whether the record `has` them at all."""
    made = canonical(source, fields, rows.types)
    columns = [f"CAST({made.get(f.name, 'NULL')} AS {sql_type(f)}) AS {name(f.name)}"
               for f in fields.values() if f.origin == "record"]
    has = [f"{present(source, f)} AS {_has(f)}" for f in made if fields[f].type in ("time", "port", "integer")]
    marks = [f"{condition(source.proved or ())} AS proved", f"{condition(source.record)} AS \"#flow\"", 'r."#fault"']
    return f"SELECT {', '.join([*also, *columns, *has, *marks])} FROM {rows.sql} r"


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

def locate(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], files: Sequence[FlowFile],
           ) -> list[Place]:
    """The first few places of each kind of damage, by reading the lines again. For text formats only."""
    narrow = _narrowed(source, fields)
    places = [place for file in files for place in _places(db, narrow, fields, file)]
    kinds = dict.fromkeys(p.damage for p in places)
    return [p for kind in kinds for p in [q for q in places if q.damage == kind][:PLACES]]


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

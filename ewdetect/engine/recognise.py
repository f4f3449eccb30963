"""Which source wrote a file, by its content: each is tried on the beginning, and those that find flows are named.

Of two that read the same records, the one that asks more of them is meant.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from ewdetect.engine.read import stage
from ewdetect.flows import Source
from ewdetect.flows.files import Container, inspect
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, Rejected

BEGINNING = 262_144         # bytes of a file of lines that are looked at
_ESSENTIAL = ("event.start", "event.duration", "source.ip", "destination.ip")
FILES = 20                  # files of a folder that are looked at


def recognise(db: duckdb.DuckDBPyConnection, sources: Sequence[Source], fields: Mapping[str, Field],
              paths: Sequence[tuple[str, str]], scratch: Path) -> Source:
    """The one source that finds flows in the files. Raises Rejected where none does, or more than one."""
    record = {name: fields[name] for name in _ESSENTIAL}
    found: dict[str, list[str]] = {}
    for number, (path, shown) in enumerate(paths[:FILES]):
        beginning = _beginning(path, shown, scratch / f"beginning-{number}")
        for source in sources:
            if _finds(db, source, record, beginning, shown, scratch):
                found.setdefault(source.name, []).append(shown)
    clear = [source for source in sources if source.name in found and not _told_closer(source, sources, found)]
    if len(clear) == 1:
        return clear[0]
    raise Rejected(_refused(found, sources, [shown for _, shown in paths[:FILES]]))


def _told_closer(wide: Source, sources: Sequence[Source], found: Mapping[str, Sequence[str]]) -> bool:
    """Whether a source that asks more of a record than `wide` finds flows in all the files that `wide` does."""
    return any(_narrower(source, wide) and set(found[wide.name]) <= set(found[source.name])
               for source in sources if source.name in found)


def _narrower(source: Source, wide: Source) -> bool:
    """Whether each record of a source is one of `wide`, as far as the terms show, and not the other way round.

    A source that asks nothing of a record would be wider than any other, whatever it reads.
    """
    def within(one: Source, other: Source) -> bool:
        return all(any(asked and set(asked) <= set(terms) for asked in other.record) for terms in one.record)
    return within(source, wide) and not within(wide, source)


def _beginning(path: str, shown: str, target: Path) -> str:
    """A file with the first lines. Parquet and JSON documents have no lines and are taken whole."""
    file = inspect(path, shown)
    if file.container in (Container.PARQUET, Container.DOCUMENT, Container.EMPTY):
        return path
    with gzip.open(path) if file.gzipped else open(path, "rb") as whole:
        try:
            start = whole.read(BEGINNING)
        except (EOFError, gzip.BadGzipFile):
            return path
    target.write_bytes(start if len(start) < BEGINNING else start[:start.rfind(b"\n") + 1] or start)
    return str(target)


def _finds(db: duckdb.DuckDBPyConnection, source: Source, record: Mapping[str, Field], path: str, shown: str,
           scratch: Path) -> bool:
    """Whether a source finds a flow whose addresses are addresses."""
    try:
        staged = stage(db, source, record, [(path, shown)], scratch)
    except Rejected:
        return False
    row = db.execute('SELECT count(*) FROM (SELECT * FROM record WHERE damage IS NULL LIMIT 1000) '
                     'WHERE ewd_ip("source.ip") IS NOT NULL AND ewd_ip("destination.ip") IS NOT NULL').fetchone()
    db.execute(f"DROP {staged.kind} record")
    return bool(row and row[0])


def _refused(found: Mapping[str, Sequence[str]], sources: Sequence[Source], shown: Sequence[str]) -> Iterator[Problem]:
    if not found:
        names = ", ".join(source.name for source in sources)
        for file in shown:
            yield Problem("flows/no-source", "no source finds a flow in it", Location(file),
                          f"name the source with --source; there are {names}")
        return
    for name, files in found.items():
        yield Problem("flows/several-sources", f"`{name}` finds flows, and it is not the only one", Location(files[0]),
                      f"name one with --source: {', '.join(found)}")

"""What became of every record that was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import duckdb

from ewdetect.engine.read import PLACES, Place, Staged, locate
from ewdetect.engine.relations import torn_lines
from ewdetect.flows import Source
from ewdetect.flows.files import Container
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, Rejected

DAMAGE: Mapping[str, str] = MappingProxyType({
    "unreadable": "no flow record can be read from the line",
    "ragged": "the line has not as many columns as it should",
    "no-time": "no start time",
    "bad-time": "the start time cannot be read, or lies outside 1970 to 2100",
    "no-address": "source or destination address is missing",
    "bad-address": "source or destination is no IP address",
    "bad-port": "a port is no number from 0 to 65535",
    "duplicate": "the same record again",
    "truncated": "the compressed file breaks off; what came before was read",
    "other-log": "the file holds another kind of log",
})


@dataclass(frozen=True, slots=True)
class ReadReport:
    """read = kept + joined + passed + all of dropped. Times are microseconds since 1970 UTC, None without flows.

    `passed` are records of another kind in the same file, such as EVE alerts. `joined` are further records of a
    connection that became one flow with its first. `repaired` counts flows that were kept after something was mended:
    `reversed` (initiator and responder turned round), `number` (a counter that cannot be true was made missing), `year`
    (a time had none, and got it from other lines, or from the file's date).
    """

    files: tuple[str, ...]
    read: int
    kept: int
    passed: int
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    places: tuple[Place, ...]
    first: int | None
    last: int | None
    joined: int = 0


# Damage that every record of another sensor's log would show.
_STRANGE = frozenset({"unreadable", "no-time", "no-address"})


def report_of(db: duckdb.DuckDBPyConnection, source: Source, fields: Mapping[str, Field], staged: Staged,
              duplicates: int, joined: int) -> ReadReport:
    """What `record` and `flow` say of the reading. Raises Rejected where the files are another sensor's."""
    counts, lost = _damage(db)
    passed, whole = counts.pop("passed", 0), counts.pop("kept", 0)
    kept, turned, first, last = _flows(db)
    torn = _torn(db, source, staged)
    dropped = counts | {"bad-address": whole - kept - duplicates, "duplicate": duplicates,
                        "ragged": counts.get("ragged", 0) + len(torn)}
    dropped = {damage: count for damage, count in sorted(dropped.items()) if count}
    if not kept + joined + passed + duplicates and dropped and dropped.keys() <= _STRANGE:
        raise Rejected(_strangers(source, staged))
    located = locate(db, source, fields, staged) if dropped.keys() - {"duplicate"} else []
    return ReadReport(
        files=tuple(f.shown for f in staged.files),
        read=whole + joined + passed + sum(counts.values()) + len(torn), kept=kept, joined=joined, passed=passed,
        dropped=dropped,
        repaired={k: v for k, v in {"reversed": turned, "number": lost, "year": staged.dated}.items() if v},
        places=(*staged.places, *torn[:PLACES], *located), first=first, last=last)


def _damage(db: duckdb.DuckDBPyConnection) -> tuple[dict[str, int], int]:
    """Records by damage, `kept` for none; and how many of those kept had a counter that cannot be true."""
    rows = db.execute(
        "SELECT coalesce(damage, 'kept'), count(*), count_if(lost_numbers > 0) FROM record GROUP BY 1"
    ).fetchall()
    return {damage: count for damage, count, _ in rows}, sum(lost for damage, _, lost in rows if damage == "kept")


def _flows(db: duckdb.DuckDBPyConnection) -> tuple[int, int, int | None, int | None]:
    """Flows kept, those turned round, earliest and latest start."""
    found = db.execute(
        'SELECT count(*), count_if("flow.reversed"), min("event.start"), max("event.start") FROM flow'
    ).fetchone()
    return found or (0, 0, None, None)


def _torn(db: duckdb.DuckDBPyConnection, source: Source, staged: Staged) -> list[Place]:
    if source.lines or all(file.container is not Container.CSV for file in staged.files):
        return []
    return [Place(file, line, "ragged") for file, line in torn_lines(db)]


def _strangers(source: Source, staged: Staged) -> Iterator[Problem]:
    """Not one record could be used, and all for the same reason: this is another kind of file."""
    wanted = ", ".join(source.raw_paths()[:4])
    for file in staged.files:
        yield Problem("flows/wrong-source", f"`{source.name}` finds no flow in it: no record has {wanted} …",
                      Location(file.shown), "name the source that wrote this file with --source")

"""A telemetry source: what mappings/<name>/source.yml says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

OPERATORS = ("", "not", "gt", "gte", "lt", "lte", "bits", "nobits", "has", "hasnt", "startswith", "like", "unlike",
             "present")
TIMES = ("iso8601", "syslog", "epoch_seconds", "epoch_milliseconds", "epoch_microseconds", "epoch_nanoseconds")
UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
CLOCK = "clock"                 # the unit of a duration such as 1:02:03
OUTER = "../"                   # a raw path that begins so is of the record around an unfolded one


class Format(StrEnum):
    """What the raw files look like. `table` is JSONL, CSV or Parquet of canonical fields.

    `ndjson` is one JSON object a line, or a document with a list of them; `objects` flat JSON objects, however they
    are laid out; `lines` text; `parquet` the raw columns of the source.
    """

    NDJSON = "ndjson"
    OBJECTS = "objects"
    ZEEK = "zeek"
    LINES = "lines"
    PARQUET = "parquet"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression (RE2) for a line of text. Its named groups are raw paths, and so are the keys of `sets`.

    It is only tried on lines that hold the text `contains` and end in `end`, so that a line that was cut off does not
    fit, and with `begin` only where a line first has that text: to try at one place is much faster than to search.
    `replace` are texts of the group `rest` that are put otherwise, in this order, before pairs or columns read it.
    """

    match: str
    groups: tuple[str, ...]
    contains: str = ""
    begin: str = ""
    end: str = ""
    sets: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pairs:
    """`key=value` text: every key is a raw path. A value may stand in double quotes; of a key the first counts.

    `quoted` says that nearly all lines have all values in quotes; those are read faster, and no others differently.
    """

    separator: str = " "
    equals: str = "="
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Separated values: the names in their order. A line with the word `header` in it names them anew.

    `least` is how many values a line must have; later versions of a format add columns at the end.
    """

    names: tuple[str, ...]
    separator: str
    header: tuple[str, ...] = ()
    least: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """How a line of text is taken apart. `pairs` and `columns` read the group `rest` of a pattern, or the whole line.
    A path that is a group of some pattern is never looked for among pairs.

    The groups of `head` are raw paths too, whichever pattern fits; it reads what stands before the message.
    A line that no pattern fits is damage where it has one of the `marks`, or where there are none; else it is another
    program's. A line that fits one of `ignore` is no record.
    """

    patterns: tuple[Pattern, ...] = ()
    pairs: Pairs | None = None
    columns: Columns | None = None
    marks: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    head: Pattern | None = None

    def names(self) -> tuple[str, ...]:
        """Every raw path that patterns give."""
        return tuple(dict.fromkeys(n for p in self.patterns for n in (*p.groups, *p.sets)))


@dataclass(frozen=True, slots=True)
class Unfold:
    """A record that holds many flows: `items` is the JSON path of the records in a document, `flows` the path from
    there to the flows, which are separated values, or JSON where `columns` is None. `*` is every element of a list.
    """

    items: str
    flows: str
    columns: Columns | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Which records are of one connection, and how they become one flow.

    They share addresses, ports and transport, in either direction, and the raw values `by`, and no two of them are
    more than `gap` apart. `counters` says whether later records go on counting (`max`) or begin anew (`sum`).
    `reporter` are raw paths that tell who counted: what two reporters say of one connection is not added up. With
    `answers` a record of the other direction shows that there was an answer; without, it is only written that way.
    """

    by: tuple[str, ...]
    gap: str
    counters: str
    reporter: tuple[str, ...] = ()
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Term:
    """One test of a raw value: `path` is a JSON path with `/` between keys, or a column."""

    path: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """`result` where every term holds."""

    terms: tuple[Term, ...]
    result: str


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """How one canonical field is made. Of `paths` the first that is present counts."""

    paths: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    unit: str = "s"                                 # of a raw duration
    minus: str = ""                                 # the canonical duration that is taken off a time
    between: tuple[str, str] | None = None          # two raw times whose distance it is
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    keep_unmapped: bool = True
    cases: tuple[Case, ...] = ()
    otherwise: str | None = None
    when: tuple[Term, ...] = ()
    unless: tuple[Term, ...] = ()
    joined: tuple[str, ...] = ()                    # raw paths whose texts, with blanks between, are the value
    match: str = ""                                 # regular expression; the value is its one group
    byte: str = ""                                  # `high` or `low`: the part of a number of two bytes
    differs: tuple[str, ...] = ()                   # raw paths; of a value that the first of them has, nothing is kept
    other: FieldSpec | None = None                  # how else, where this gives nothing

    def values(self) -> tuple[str, ...]:
        """The raw paths whose values it takes."""
        other = self.other.values() if self.other else ()
        return (*self.paths, *self.joined, *(self.between or ()), *self.differs, *other)

    def terms(self) -> tuple[Term, ...]:
        """Every test of a raw value."""
        own = (*self.when, *self.unless, *(t for case in self.cases for t in case.terms))
        return (*own, *(self.other.terms() if self.other else ()))

    def ways(self) -> tuple[FieldSpec, ...]:
        """This and every other way, in their order."""
        return (self, *(self.other.ways() if self.other else ()))


@dataclass(frozen=True, slots=True)
class Traits:
    """What the telemetry can and cannot say; decides which rules may be asked of it.

    `delay` is how long after its end a flow may arrive (Sigma timespan). `timing` is `exact`, or `aggregated`
    where several connections share a record, and `interval` is then how long a record may sum up. `initiator` says how
    sure it is who began: `proved`, `likely` (what the sensor saw first) or `inferred`; `evidence` by what. `reports`
    says how many records a connection has: `once`, `twice` (both ends or both ways), `installments`.
    """

    bidirectional: bool
    sampled: bool
    delay: str
    outcomes: tuple[str, ...]
    timing: str
    interval: str = "0s"
    initiator: str = "likely"
    evidence: str = ""
    reports: tuple[str, ...] = ("once",)


@dataclass(frozen=True, slots=True)
class Orientation:
    """The ports that tell which side serves, where the sensor missed the beginning (mappings/flow.yml)."""

    service_ports: tuple[int, ...]
    ephemeral_from: int


@dataclass(frozen=True, slots=True)
class Source:
    """A telemetry source.

    `record`, `proved` and `reply` are lists of terms: a record where all terms of one hold is a flow among others of
    the same file; goes from the initiator; goes from the responder. An empty list of terms always holds; no list at
    all proves nothing. `unset` are raw texts that mean missing. `unqueried` says of a SIEM why it has no queries there.
    """

    name: str
    title: str
    formats: tuple[Format, ...]
    fields: Mapping[str, FieldSpec]
    traits: Traits
    record: tuple[tuple[Term, ...], ...] = ((),)
    proved: tuple[tuple[Term, ...], ...] = ((),)
    reply: tuple[tuple[Term, ...], ...] = ()
    unset: tuple[str, ...] = ()
    lines: Lines | None = None
    unfold: tuple[Unfold, ...] = ()
    merge: Merge | None = None
    unqueried: Mapping[str, str] = field(default_factory=dict)

    def terms(self) -> tuple[Term, ...]:
        """Every test of a raw value that belongs to no field."""
        return tuple(t for terms in (*self.record, *self.proved, *self.reply) for t in terms)

    def tells(self, field: str) -> bool:
        """Whether flows have a record field: the source fills it, or joins records that fill the other side's."""
        side, _, attribute = field.partition(".")
        other = {"source": "destination", "destination": "source"}.get(side, side) + "." + attribute
        return field in self.fields or (self.merge is not None and other in self.fields)

    def raw_paths(self) -> tuple[str, ...]:
        """Every raw path that reading needs, in a stable order."""
        paths = [p for spec in self.fields.values() for p in (*spec.values(), *(t.path for t in spec.terms()))]
        merged = (*self.merge.by, *self.merge.reporter) if self.merge else ()
        return tuple(dict.fromkeys([*paths, *(t.path for t in self.terms()), *merged]))


def knows_bytes(source: Source) -> str:
    """Of which directions a source's flows have bytes: `both ways`, `one way` or `no`."""
    known = [source.tells(f"{side}.bytes") for side in ("source", "destination")]
    return "both ways" if all(known) else "one way" if any(known) else "no"

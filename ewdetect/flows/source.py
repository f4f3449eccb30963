"""A telemetry source: mappings/<name>/source.yml as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ewdetect.model import Field
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.yamlfile import Document

OPERATORS = ("", "not", "gt", "gte", "lt", "lte", "bits", "nobits", "startswith", "present")
TIMES = ("iso8601", "epoch_seconds", "epoch_milliseconds", "epoch_nanoseconds")
UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Format(StrEnum):
    """What the raw files look like. `table` is JSONL, CSV or Parquet, told apart by the file's ending."""

    NDJSON = "ndjson"
    ZEEK = "zeek"
    TABLE = "table"


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
    between: tuple[str, str] | None = None          # two raw times whose distance it is
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    keep_unmapped: bool = True
    cases: tuple[Case, ...] = ()
    otherwise: str | None = None
    when: tuple[Term, ...] = ()
    unless: tuple[Term, ...] = ()

    def values(self) -> tuple[str, ...]:
        """The raw paths whose values it takes."""
        return (*self.paths, *(self.between or ()))

    def terms(self) -> tuple[Term, ...]:
        """Every test of a raw value."""
        return (*self.when, *self.unless, *(t for case in self.cases for t in case.terms))


@dataclass(frozen=True, slots=True)
class Traits:
    """What the telemetry can and cannot say; decides which rules may be asked of it.

    `delay` is how long after its end a flow may arrive (Sigma timespan). `timing` is `exact`, or `aggregated`
    where several connections share a record.
    """

    bidirectional: bool
    sampled: bool
    delay: str
    outcomes: tuple[str, ...]
    timing: str


@dataclass(frozen=True, slots=True)
class Orientation:
    """The ports that tell which side serves, where the sensor missed the beginning (mappings/flow.yml)."""

    service_ports: tuple[int, ...]
    ephemeral_from: int


@dataclass(frozen=True, slots=True)
class Source:
    """A telemetry source. `record` tells the flow records among others of the same file."""

    name: str
    title: str
    format: Format
    fields: Mapping[str, FieldSpec]
    traits: Traits
    record: tuple[Term, ...] = ()
    proved: tuple[Term, ...] | None = None          # terms that prove the direction; () trusts every record

    def raw_paths(self) -> tuple[str, ...]:
        """Every raw path that reading needs, in a stable order."""
        paths = [p for spec in self.fields.values() for p in (*spec.values(), *(t.path for t in spec.terms()))]
        return tuple(dict.fromkeys([*paths, *(t.path for t in (*self.record, *(self.proved or ())))]))


def source_from(document: Document, fields: Mapping[str, Field]) -> Source:
    """A Source of a document that satisfies source.schema.json. Raises Rejected for unknown fields or operators."""
    reader = _Reader(document)
    data = document.data
    specs = {name: reader.spec(name, raw) for name, raw in data["fields"].items()}
    known = [f.name for f in fields.values() if f.origin == "record"]
    for name in specs:
        if name not in known:
            reader.problem("source/unknown-field", f"`{name}` is no record field of mappings/flow.yml",
                           ("fields", name), suggest(name, known))
    orientation = data.get("orientation")
    proved = None if orientation is None else reader.terms(orientation["proved"], ("orientation", "proved"))
    record = reader.terms(data.get("record", {}), ("record",))
    if reader.problems:
        raise Rejected(reader.problems)
    traits = data["traits"]
    return Source(
        name=data["name"], title=data["title"], format=Format(data["format"]), fields=specs, record=record,
        proved=proved,
        traits=Traits(traits["bidirectional"], traits["sampled"], traits["delay"], tuple(traits["outcomes"]),
                      traits["timing"]))


class _Reader:
    """Turns the parts of the document into values and collects problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def problem(self, code: str, message: str, path: tuple[str | int, ...], fix: str) -> None:
        self.problems.append(Problem(code, message, self.document.at(*path), fix))

    def terms(self, raw: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[Term, ...]:
        return tuple(self._term(key, value, (*path, key)) for key, value in raw.items())

    def _term(self, key: str, value: Any, path: tuple[str | int, ...]) -> Term:
        name, _, operator = key.partition("|")
        if operator not in OPERATORS:
            self.problem(
                "source/unknown-operator", f"`{operator}` is no operator", path, suggest(operator, OPERATORS[1:])
            )
        return Term(name, operator, tuple(value) if isinstance(value, list) else (value,))

    def spec(self, name: str, raw: Mapping[str, Any]) -> FieldSpec:
        path = ("fields", name)
        cases = tuple(Case(self.terms(case["when"], (*path, "cases", i)), case["is"])
                      for i, case in enumerate(raw.get("cases", ())))
        origin = raw.get("from", ())
        between = raw.get("between")
        mapped = "map" in raw
        return FieldSpec(
            paths=(origin,) if isinstance(origin, str) else tuple(origin),
            times=tuple(raw.get("time", ())), unit=raw.get("unit", "s"),
            between=(between[0], between[1]) if between else None,
            mapping={str(k).lower(): v for k, v in raw.get("map", {}).items()},
            keep_unmapped=not mapped or raw.get("else") == "keep",
            cases=cases, otherwise=None if mapped else raw.get("else"),
            when=self.terms(raw.get("when", {}), (*path, "when")),
            unless=self.terms(raw.get("unless", {}), (*path, "unless")))

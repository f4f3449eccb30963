"""The frozen values that travel between stages. No behaviour beyond reading themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ewdetect.problems import Location
from ewdetect.yamlfile import Document

LEVELS = ("informational", "low", "medium", "high", "critical")


class Kind(StrEnum):
    EVENT = "event"
    CORRELATION = "correlation"
    FILTER = "filter"
    FIRST_SEEN = "first_seen"
    DEVIATION = "deviation"
    BEACON = "beacon"


# The types that Sigma does not have. Such a document names one event rule under `ewdetect:`.
OWN_KINDS = (Kind.FIRST_SEEN, Kind.DEVIATION, Kind.BEACON)


@dataclass(frozen=True, slots=True)
class Rule:
    """One document: a Sigma rule on single flows, a correlation, a filter, or a rule of a type of our own.

    `name` is what other documents refer to; the document that shares its name with the file is the file's
    detection. `body` is the document as read and is never changed: backends hydrate fresh pySigma objects
    from a copy, because pySigma's conversion edits what it is given.
    """

    name: str
    id: str
    kind: Kind
    title: str
    level: str
    status: str
    body: Mapping[str, Any]
    document: Document = field(repr=False)
    refers_to: tuple[str, ...] = ()     # names or ids of the rules that it names
    alerts: bool = True                 # False: it only feeds correlations

    @property
    def meta(self) -> Mapping[str, Any]:
        """Our own block of the document: guide, tuning, needs, suppress; what a rule of our own type says."""
        return self.body.get("ewdetect") or {}

    @property
    def family(self) -> str:
        """The name of the folder that its file stands in."""
        return Path(self.document.path).parent.name

    @property
    def derived(self) -> bool:
        """Whether it looks at the hits of other rules rather than at flows."""
        return self.kind not in (Kind.EVENT, Kind.FILTER)


@dataclass(frozen=True, slots=True)
class Field:
    """One canonical field of mappings/flow.yml."""

    name: str
    type: str           # ip, port, integer, number, string, boolean, time
    meaning: str
    unit: str = ""
    values: tuple[str, ...] = ()        # the closed vocabulary, if it has one
    default: Any = None                 # what a test flow has when the column is left out
    origin: str = "record"              # record, context or derived
    shown: bool = False                 # kept for the analyst even where no rule reads it


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything loaded: rules by name (insertion order is file order) and filters.

    `off` are the names of rules that do not alert because the user's tuning says so, and where.
    """

    rules: Mapping[str, Rule]
    filters: tuple[Rule, ...] = ()
    off: Mapping[str, Location] = field(default_factory=dict)

    def find(self, reference: str) -> Rule | None:
        """The rule of this name or id."""
        return self.rules.get(reference) or next((r for r in self.rules.values() if r.id == reference), None)

    def alerting(self) -> tuple[Rule, ...]:
        return tuple(r for r in self.rules.values() if r.alerts)


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of one group: the condition became true at `crossing` and stayed true until `end`.

    Times are microseconds since 1970-01-01 UTC. `evidence` holds the ids of the flows in the window at the
    crossing; `samples` are the first few of them in full.
    """

    rule: Rule
    group: Mapping[str, Any]
    start: int
    crossing: int
    end: int
    value: float | int | None
    evidence: tuple[str, ...]
    samples: tuple[Mapping[str, Any], ...] = ()
    context: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)   # address → attributes

"""faults.yml as values: what goes wrong, what shows it, and what shows that ours is right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sigma.exceptions import SigmaCorrelationConditionError, SigmaTypeError, SigmaValueError

from ewdetect.problems import Rejected
from ewdetect.schedule import Schedule
from ewdetect.yamlfile import read_documents
from tests.faults import ours, stock

ERRORS: Mapping[str, type[Exception]] = {
    "AttributeError": AttributeError, "NotImplementedError": NotImplementedError, "SigmaTypeError": SigmaTypeError,
    "SigmaValueError": SigmaValueError, "SigmaCorrelationConditionError": SigmaCorrelationConditionError}
LANGUAGES = {"lucene": "Lucene", "esql": "ES|QL", "eql": "EQL", "splunk": "SPL", "spl": "SPL", "spl2": "SPL2",
             "tstats": "tstats", "sql": "DuckDB"}


@dataclass(frozen=True)
class Stock:
    """Rules of stock.yml, or a text, for one converter. `shows` are patterns of the fault; `raises` names an error."""

    to: str
    shows: tuple[str, ...]
    rules: tuple[str, ...] = ()
    text: str = ""
    pipeline: str = ""
    form: str = "default"
    raises: str = ""
    show: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return LANGUAGES[self.to] + ("" if self.form == "default" else f", format `{self.form}`")

    def outputs(self) -> list[str]:
        """What it prints, or the error as one line, where it is the error that is expected."""
        expected = (ERRORS[self.raises],) if self.raises else ()
        try:
            return stock.converted(self.to, self.text or self.rules, self.pipeline, self.form)
        except expected as error:
            return [f"{self.raises}: {error}"]

    def mended(self) -> list[str]:
        """The patterns that its output no longer shows."""
        text = "\n".join(self.outputs())
        if self.raises and not text.startswith(f"{self.raises}: "):
            return [self.raises]
        return [pattern for pattern in self.shows if not re.search(pattern, text, re.M)]


@dataclass(frozen=True)
class Result:
    """Our answer: a text, or why there is none."""

    text: str
    schedule: Schedule | None
    refusal: str


@dataclass(frozen=True)
class Ours:
    """One rule of ours.yml for one dialect. All but names are patterns, of the text or of the reason of a refusal."""

    to: str
    rule: str
    of: str = "flow"
    context: str = "inline"
    form: str = "query"
    filters: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    refused: str = ""
    may_refuse: str = ""
    window: str = ""
    scheduled: bool = False
    show: tuple[str, ...] = ()
    threat: Mapping[str, list[str]] = field(default_factory=dict)

    def result(self) -> Result:
        rule = ours.resolved(self.rule, self.of, self.filters)
        try:
            query = ours.converted(rule, self.to, self.context)
            text = ours.content(rule, self.to, self.context) if self.form == "rule" else query.text
        except Rejected as rejected:
            return Result("", None, "; ".join(problem.message for problem in rejected.problems))
        return Result(text, query.schedule, "")


def tactics(threat: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The ATT&CK part of a Kibana rule as tactic → techniques, of which the narrower ones alone."""
    return {entry["tactic"]["name"]: [sub["id"] for technique in entry.get("technique", ())
                                      for sub in technique.get("subtechnique") or [technique]] for entry in threat}


@dataclass(frozen=True)
class Run:
    """Flows as a case's table, and how many alerts they give; `stock` says it of a stock output, or names an error."""

    name: str
    rule: str
    flows: str
    alerts: int
    context: str = "inline"
    filters: tuple[str, ...] = ()
    stock: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Close:
    """A lesser fault. `file` is a rule file that we reject with the problem `code`."""

    title: str
    where: str
    ewdetect: str
    stock: tuple[Stock, ...]
    ours: tuple[Ours, ...]
    runs: tuple[Run, ...]
    file: str = ""
    code: str = ""


@dataclass(frozen=True)
class Fault:
    """One of the fifteen. `known` are paths of threads on github.com."""

    number: int
    title: str
    where: str
    effect: str
    ewdetect: str
    stock: tuple[Stock, ...]
    ours: tuple[Ours, ...]
    runs: tuple[Run, ...]
    known: tuple[str, ...] = ()


@cache
def faults() -> tuple[Fault, ...]:
    """All entries in their order. A key that no entry has is a TypeError."""
    return tuple(Fault(**entry) for entry in _entries("faults.yml"))


@cache
def close_behind() -> tuple[Close, ...]:
    """The lesser faults in their order."""
    return tuple(Close(**entry) for entry in _entries("close.yml"))


def _entries(name: str) -> Iterator[dict[str, Any]]:
    [document] = read_documents(Path(__file__).with_name(name))
    for entry in document.data:
        parts = {key: tuple(cls(**_frozen(item)) for item in entry.get(key, ()))
                 for key, cls in (("stock", Stock), ("ours", Ours), ("runs", Run))}
        yield {**_frozen(entry), **parts}


def _frozen(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}

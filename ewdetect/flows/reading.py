"""mappings/<name>/source.yml → Source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ewdetect.flows.source import (
    OPERATORS,
    TIMES,
    Case,
    Columns,
    FieldSpec,
    Format,
    Lines,
    Merge,
    Pairs,
    Pattern,
    Source,
    Term,
    Traits,
    Unfold,
)
from ewdetect.model import Field
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.yamlfile import Document

Place = tuple[str | int, ...]


def source_from(document: Document, fields: Mapping[str, Field]) -> Source:
    """A Source of a document that satisfies source.schema.json.

    Raises Rejected for unknown fields, operators or times, and for regular expressions that are none.
    """
    reader = _Reader(document)
    data = document.data
    specs = {name: reader.spec(name, raw) for name, raw in data["fields"].items()}
    known = [f.name for f in fields.values() if f.origin == "record"]
    for name in specs:
        if name not in known:
            reader.problem("source/unknown-field", f"`{name}` is no record field of mappings/flow.yml",
                           ("fields", name), suggest(name, known))
    orientation = data.get("orientation", {"proved": {}})
    source = Source(
        name=data["name"], title=data["title"], formats=tuple(Format(f) for f in _listed(data["format"])), fields=specs,
        traits=_traits(data["traits"]), record=reader.any_of(data.get("record", {}), ("record",)),
        proved=reader.any_of(orientation.get("proved", []), ("orientation", "proved")),
        reply=reader.any_of(orientation.get("reply", []), ("orientation", "reply")),
        unset=tuple(map(str, data.get("unset", ()))),
        lines=reader.lines(data["lines"]) if "lines" in data else None,
        unfold=tuple(_unfold(raw) for raw in data.get("unfold", ())),
        merge=_merge(data["merge"]) if "merge" in data else None, unqueried=data.get("unqueried", {}))
    reader.check_paths(source)
    if reader.problems:
        raise Rejected(reader.problems)
    return source


def _listed(raw: Any) -> tuple[Any, ...]:
    return tuple(raw) if isinstance(raw, list | tuple) else (raw,)


def _traits(raw: Mapping[str, Any]) -> Traits:
    return Traits(
        bidirectional=raw["bidirectional"], sampled=raw["sampled"], delay=raw["delay"], outcomes=tuple(raw["outcomes"]),
        timing=raw["timing"], interval=raw.get("interval", "0s"), initiator=raw.get("initiator", "likely"),
        evidence=raw.get("evidence", ""), reports=tuple(raw.get("reports", ("once",))))


def _merge(raw: Mapping[str, Any]) -> Merge:
    return Merge(_listed(raw.get("by", ())), raw["gap"], raw["counters"], _listed(raw.get("reporter", ())),
                 raw.get("answers", True))


def _unfold(raw: Mapping[str, Any]) -> Unfold:
    return Unfold(raw.get("items", ""), raw["flows"], _columns(raw["columns"]) if "columns" in raw else None)


def _columns(raw: Mapping[str, Any]) -> Columns:
    names = tuple(map(str, raw.get("names", ())))
    return Columns(names, raw.get("separator", ","), _listed(raw.get("header", ())), raw.get("least", len(names)))


class _Reader:
    """Turns the parts of the document into values and collects problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def problem(self, code: str, message: str, path: Place, fix: str) -> None:
        self.problems.append(Problem(code, message, self.document.at(*path), fix))

    def check_paths(self, source: Source) -> None:
        """DuckDB takes names that differ in their letters' case for one."""
        seen: dict[str, str] = {}
        for path in source.raw_paths():
            if seen.setdefault(path.lower(), path) != path:
                self.problem("source/alike-paths", f"`{path}` and `{seen[path.lower()]}` differ in their letters only",
                             ("fields",), "make two sources of it")

    def any_of(self, raw: Mapping[str, Any] | Sequence[Mapping[str, Any]], path: Place) -> tuple[tuple[Term, ...], ...]:
        if isinstance(raw, Mapping):
            return (self.terms(raw, path),)
        return tuple(self.terms(each, (*path, i)) for i, each in enumerate(raw))

    def terms(self, raw: Mapping[str, Any], path: Place) -> tuple[Term, ...]:
        return tuple(self._term(key, value, (*path, key)) for key, value in raw.items())

    def _term(self, key: str, value: Any, path: Place) -> Term:
        name, _, operator = key.partition("|")
        if operator not in OPERATORS:
            self.problem(
                "source/unknown-operator", f"`{operator}` is no operator", path, suggest(operator, OPERATORS[1:])
            )
        return Term(name, operator, tuple(value) if isinstance(value, list) else (value,))

    def lines(self, raw: Mapping[str, Any]) -> Lines:
        patterns = tuple(self._pattern(each, ("lines", "patterns", i))
                         for i, each in enumerate(raw.get("patterns", ())))
        for i, text in enumerate(raw.get("ignore", ())):
            self._compiled(text, ("lines", "ignore", i))
        pairs, head = raw.get("pairs"), raw.get("head")
        return Lines(
            patterns=patterns, marks=_listed(raw.get("marks", ())), ignore=tuple(raw.get("ignore", ())),
            pairs=Pairs(**pairs) if pairs is not None else None,
            columns=_columns(raw["columns"]) if "columns" in raw else None,
            head=self._pattern({"match": head}, ("lines", "head")) if head else None)

    def _pattern(self, raw: Mapping[str, Any], path: Place) -> Pattern:
        compiled = self._compiled(raw["match"], (*path, "match"))
        groups = tuple(compiled.groupindex) if compiled else ()
        if compiled and compiled.groups != len(groups):
            self.problem("source/bad-pattern", "a group of the regular expression has no name", (*path, "match"),
                         "write (?P<name>…), or (?:…) for a group that keeps nothing")
        return Pattern(raw["match"], groups, raw.get("contains", ""), raw.get("begin", ""), raw.get("end", ""),
                       raw.get("set", {}), raw.get("replace", {}))

    def _compiled(self, text: str, path: Place) -> re.Pattern[str] | None:
        try:
            return re.compile(text)
        except re.error as error:
            self.problem("source/bad-pattern", f"the regular expression is none: {error}", path, "see RE2's syntax")
            return None

    def spec(self, name: str, raw: Mapping[str, Any], at: Place = ()) -> FieldSpec:
        path = at or ("fields", name)
        cases = tuple(Case(self.terms(case["when"], (*path, "cases", i)), case["is"])
                      for i, case in enumerate(raw.get("cases", ())))
        self._check_times(raw, path)
        if "match" in raw and (compiled := self._compiled(raw["match"], (*path, "match"))) and compiled.groups != 1:
            self.problem("source/bad-pattern", "the regular expression has not exactly one group", (*path, "match"),
                         "put what is wanted into one group")
        between, mapped = raw.get("between"), "map" in raw
        return FieldSpec(
            paths=_listed(raw.get("from", ())), times=tuple(raw.get("time", ())), unit=raw.get("unit", "s"),
            minus=raw.get("minus", ""), between=(between[0], between[1]) if between else None,
            mapping={str(k).lower(): v for k, v in raw.get("map", {}).items()},
            keep_unmapped=not mapped or raw.get("else") == "keep",
            cases=cases, otherwise=None if mapped else raw.get("else"),
            when=self.terms(raw.get("when", {}), (*path, "when")),
            unless=self.terms(raw.get("unless", {}), (*path, "unless")),
            joined=tuple(raw.get("joined", ())), match=raw.get("match", ""), byte=raw.get("byte", ""),
            differs=_listed(raw.get("differs", ())),
            other=self.spec(name, raw["or"], (*path, "or")) if "or" in raw else None)

    def _check_times(self, raw: Mapping[str, Any], path: Place) -> None:
        for form in raw.get("time", ()):
            if form not in TIMES and "%" not in form:
                self.problem("source/unknown-time", f"`{form}` is no form of a time", (*path, "time"),
                             suggest(form, TIMES))

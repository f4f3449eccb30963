"""The test file of a rule: YAML document → cases with flows, and the alerts that they must give.

The table language is described in table.py, the keys in schemas/test.schema.json. Nothing here runs a rule: see
ewdetect.test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ewdetect.cases.cells import TEST_DAY, BadCell, canonical_ip, clock_text, read_clock, read_value
from ewdetect.cases.table import Row, Table, read_table
from ewdetect.model import Field, Pack, Rule
from ewdetect.problems import Location, Problem, Rejected, suggest
from ewdetect.schemas import validate
from ewdetect.yamlfile import Document, Path_

__all__ = ["TEST_DAY", "Case", "CaseFile", "Expected", "Row", "cases_from", "clock_text", "reference_problems",
           "rules_under_test"]

SUFFIX = ".test.yaml"
_ALERT_KEYS = ("rule", "flows", "at")       # every other key of an alert is a group field


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert that must come. `group` holds the group values to compare, `flows` the row ids that the evidence
    must come from, each of them; empty and None mean not compared. `at` is the crossing in microseconds."""

    rule: str
    group: Mapping[str, Any]
    flows: tuple[str, ...]
    at: int | None
    location: Location


@dataclass(frozen=True, slots=True)
class Case:
    """Flows, and all the alerts that they may give. `on` is a baseline under the rows, `recording` replaces them;
    both are paths below fixtures/."""

    name: str
    rows: tuple[Row, ...]
    expected: tuple[Expected, ...]
    on: str | None
    recording: str | None
    location: Location

    @property
    def flows(self) -> tuple[Mapping[str, Any], ...]:
        """The flows of all rows, in the order of the table."""
        return tuple(flow for row in self.rows for flow in row.flows)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """One test file. `network` is the name of a file in fixtures/networks/, without its ending."""

    path: str
    network: str
    cases: tuple[Case, ...]
    location: Location      # of `network`

    @property
    def rule(self) -> str:
        """The name of the rule that the file proves."""
        return _rule_name(self.path)


def cases_from(document: Document, fields: Mapping[str, Field]) -> CaseFile:
    """Read a test file. Raises Rejected: with all violations of the schema, or else with all other problems."""
    if problems := validate(document, "test"):
        raise Rejected(problems)
    reader = _Reader(document, fields)
    cases = tuple(reader.case(n, data) for n, data in enumerate(document.data["cases"]))
    if reader.problems:
        raise Rejected(reader.problems)
    return CaseFile(document.path, document.data["network"], cases, document.at("network"))


def _rule_name(path: str) -> str:
    """The name of the rule that a test file proves, which is also what its alerts mean when they name none."""
    return Path(path).name.removesuffix(SUFFIX)


def rules_under_test(case_file: CaseFile, pack: Pack) -> tuple[Rule, ...]:
    """The file's rule and the alerting rules that it refers to, directly or not. Empty if the rule is missing."""
    rule = pack.rules.get(case_file.rule)
    if rule is None:
        return ()
    below = {part.name: part for part in _below(rule, pack, {rule.name}) if part.alerts}
    return (rule, *below.values())


def reference_problems(case_file: CaseFile, pack: Pack, networks: Collection[str]) -> list[Problem]:
    """What a test file names and the pack, or the folder of networks, does not have."""
    problems = []
    if case_file.network not in networks:
        problems.append(Problem("test/unknown-network", f"there is no network `{case_file.network}`",
                                case_file.location, suggest(case_file.network, list(networks))))
    rules = rules_under_test(case_file, pack)
    if not rules:
        return [*problems, Problem("test/no-rule", f"there is no rule `{case_file.rule}`", Location(case_file.path),
                                   "name the test file after the rule that it proves: `<rule>.test.yaml`")]
    aliases = {alias for rule in rules for alias in (rule.body.get("correlation") or {}).get("aliases") or {}}
    for expected in (alert for case in case_file.cases for alert in case.expected):
        problems += _expected_problems(expected, {rule.name for rule in rules}, aliases, case_file.rule)
    return problems


def _below(rule: Rule, pack: Pack, seen: set[str]) -> Iterator[Rule]:
    for reference in rule.refers_to if rule.derived else ():
        found = pack.find(reference)
        if found is not None and found.name not in seen:
            seen.add(found.name)
            yield found
            yield from _below(found, pack, seen)


def _expected_problems(expected: Expected, rules: set[str], aliases: set[str], name: str) -> Iterator[Problem]:
    if expected.rule not in rules:
        yield Problem("test/unknown-rule",
                      f"`{expected.rule}` is neither `{name}` nor an alerting rule that it refers to",
                      expected.location, suggest(expected.rule, sorted(rules)))
    for key in expected.group:
        if "." not in key and key not in aliases:       # fields are checked on reading; aliases are the rule's
            yield Problem("test/unknown-key", f"`{key}` is no alias of `{name}`", expected.location,
                          suggest(key, sorted({*aliases, *_ALERT_KEYS})))


class _Reader:
    """Reads the cases of one document, which the schema has accepted, noting problems on the way."""

    def __init__(self, document: Document, fields: Mapping[str, Field]) -> None:
        self.document = document
        self.fields = fields
        self.problems: list[Problem] = []
        self.names: set[str] = set()

    def case(self, number: int, data: Mapping[str, Any]) -> Case:
        path: Path_ = ("cases", number)
        name, location = str(data["name"]), self.document.at(*path, "name")
        if name in self.names:
            self._note("duplicate-name", location, f"another case is called `{name}`", "say what differs")
        self.names.add(name)
        table = self._table(path, data)
        expected = tuple(self._expected((*path, "alerts", n), alert, table)
                         for n, alert in enumerate(data.get("alerts") or ()))
        return Case(name, table.rows, expected, data.get("on"), data.get("recording"), location)

    def _note(self, code: str, location: Location, message: str, fix: str) -> None:
        self.problems.append(Problem(f"test/{code}", message, location, fix))

    def _table(self, path: Path_, data: Mapping[str, Any]) -> Table:
        if data.get("flows") and data.get("recording"):
            self._note("no-flows", self.document.at(*path, "recording"),
                       "a recording takes the place of `flows`, and the case has both", "remove one of them")
        if "flows" not in data:
            return Table((), frozenset(), ())
        table = read_table(data["flows"], self.fields, _Place(self.document, (*path, "flows")))
        self.problems += table.problems
        return table

    def _expected(self, path: Path_, data: Mapping[str, Any], table: Table) -> Expected:
        rows = _row_ids(data.get("flows"))
        for row in (row for row in rows if row not in table.ids):
            self._note("unknown-flow", self.document.at(*path, "flows"), f"no row has the id `{row}`",
                       suggest(row, sorted(table.ids)) if table.ids else "the case has no table")
        group = {key: self._group_value((*path, key), key, value)
                 for key, value in data.items() if key not in _ALERT_KEYS}
        rule = str(data.get("rule") or _rule_name(self.document.path))
        return Expected(rule, group, rows, self._clock((*path, "at"), data.get("at")), self.document.at(*path))

    def _clock(self, path: Path_, text: Any) -> int | None:
        try:
            return None if text is None else read_clock(str(text))
        except BadCell as error:
            self._note("bad-cell", self.document.at(*path), error.message, error.fix)
            return None

    def _group_value(self, path: Path_, key: str, value: Any) -> Any:
        field = self.fields.get(key)
        if "." in key and field is None:
            self._note("unknown-key", self.document.at(*path), f"`{key}` is no field",
                       suggest(key, [*_ALERT_KEYS, *self.fields]))
        try:
            return _typed(value, field)
        except BadCell as error:
            self._note("bad-cell", self.document.at(*path), f"{key}: {error.message}", error.fix)
            return value


class _Place:
    """Turns a place in a block scalar into a place in the file. YAML takes the indentation away, so the column
    needs the file's own line; it is read when the first problem asks for it, never for a sound file."""

    def __init__(self, document: Document, path: Path_) -> None:
        self.document = document
        self.path = path

    def __call__(self, line: int, column: int) -> Location:
        start = self.document.values[self.path]
        content = self._content().splitlines()
        written = _file_lines(self.document.path)[start.line:][line:line + 1]
        indent = len(written[0].rstrip()) - len(content[line].rstrip()) if written and line < len(content) else 0
        return Location(self.document.path, start.line + 1 + line, column + 1 + max(indent, 0))

    def _content(self) -> str:
        data = self.document.data
        for key in self.path:
            data = data[key]
        return str(data)


def _file_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:         # a document that was never a file: the column is then that of the table itself
        return []


def _row_ids(flows: Any) -> tuple[str, ...]:
    return tuple(map(str, flows)) if isinstance(flows, list) else tuple(str(flows or "").replace(",", " ").split())


def _typed(value: Any, field: Field | None) -> Any:
    """A group value as the engine gives it. An alias has no type of its own: it may stand for addresses."""
    if field is not None:
        return read_value(value, field) if isinstance(value, str) else value
    try:
        return canonical_ip(value) if isinstance(value, str) else value
    except BadCell:
        return value

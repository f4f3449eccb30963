"""A test table → rows of canonical flows.

    id    at           source.ip    destination.ip   destination.port      flow.outcome
    hop   09:00 +60s   10.10.4.17   10.30.0.11..15   22,445,3389,5985,445  established

Two or more blanks separate cells. A cell that spells several values spells one flow for each; the longest
cell of a row decides how many flows it has, and shorter ones repeat. `count` says it where no cell does.
`every 1d x 14` after the clock repeats the whole row.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.cases.cells import BadCell, Clocks, read_clocks, read_count, read_value, read_values
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, suggest

_CELL = re.compile(r'"[^"]*"(?= {2,}|$)|\S+(?: \S+)*')
_ROW_ID = re.compile(r"[A-Za-z0-9_-]+")
_NAMING = ("id", "at", "count")
_SPACES = "separate cells with two or more blanks; one blank stays inside a cell"
# Fields that the table itself fills, and the column that does it.
_FILLED_BY = {"event.id": "id", "event.start": "at"}

# What a flow has when a column is left out, where the plain default of flow.yml would describe a flow that
# cannot be: ICMP has no ports, and a refused or unanswered attempt gets no payload back.
_IMPLIED: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
    ("network.transport", ("icmp", "ipv6-icmp"), {"source.port": None, "destination.port": None}),
    ("flow.outcome", ("denied", "failed"), {"destination.bytes": 0, "destination.packets": 0}),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: its flows have the ids `<id>.1`, `<id>.2` … and are in that order."""

    id: str
    flows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    line: int       # of the block, from 0
    column: int     # of the block, from 0
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """What `read_table` found. `rows` leaves out rows with problems; `ids` names every row, those too."""

    rows: tuple[Row, ...]
    ids: frozenset[str]
    problems: tuple[Problem, ...]


def read_table(text: str, fields: Mapping[str, Field], place: Callable[[int, int], Location]) -> Table:
    """Read a table. `place` turns (line, column) of the text, both from 0, into a place in the file."""
    return _Reader(fields, place).read(text)


class _Reader:
    """Reads one table, noting problems on the way."""

    def __init__(self, fields: Mapping[str, Field], place: Callable[[int, int], Location]) -> None:
        self.fields = fields
        self.place = place
        self.defaults = {f.name: f.default for f in fields.values() if f.origin == "record" and f.default is not None}
        self.addresses = [f.name for f in fields.values() if f.origin == "record" and f.type == "ip"]
        self.left_out: dict[tuple[str, ...], dict[str, Any]] = {}
        self.problems: list[Problem] = []
        self.first_line: dict[str, int] = {}

    def read(self, text: str) -> Table:
        lines = [_cells(line, n) for n, line in enumerate(text.splitlines()) if not line.lstrip().startswith("#")]
        header, *body = [cells for cells in lines if cells] or [[]]
        if not body:
            self.problems.append(Problem("test/no-flows", "the table has no rows", self.place(0, 0),
                                         "write a header and at least one row; to test silence, write quiet flows"))
        columns = self._header(header) if header else []
        rows = [row for cells in body if (row := self._row(cells, columns))]
        return Table(tuple(rows), frozenset(self.first_line), tuple(self.problems))

    def _note(self, code: str, cell: _Cell, message: str, fix: str) -> None:
        self.problems.append(Problem(f"test/{code}", message, self.place(cell.line, cell.column), fix))

    def _header(self, cells: list[_Cell]) -> list[str]:
        """The column names; the empty string for a column that cannot be read."""
        names = [cell.text for cell in cells]
        for missing in [name for name in ("id", "at") if name not in names]:
            self._note("missing-column", cells[0], f"the table has no column `{missing}`",
                       "alerts refer to rows by `id`" if missing == "id" else "write when the flows start")
        return [self._column(cell, names[:n]) for n, cell in enumerate(cells)]

    def _column(self, cell: _Cell, before: list[str]) -> str:
        name, field = cell.text, self.fields.get(cell.text)
        if name in before:
            self._note("duplicate-column", cell, f"`{name}` stands twice", "remove one")
        elif name in _NAMING or (field and field.origin == "record" and name not in _FILLED_BY):
            return name
        else:
            self._note("unknown-column", cell, *self._why_not(name, field))
        return ""

    def _why_not(self, name: str, field: Field | None) -> tuple[str, str]:
        if name in _FILLED_BY:
            return f"{name} comes from the column `{_FILLED_BY[name]}`", f"remove it, write `{_FILLED_BY[name]}`"
        if field and field.origin == "context":
            return f"{name} comes from the network file", "use an address that has it there"
        if field:
            return f"{name} is derived from other fields", "write the fields that it follows from"
        if " " in name:
            return f"`{name}` is no column", _SPACES
        known = [f.name for f in self.fields.values() if f.origin == "record" and f.name not in _FILLED_BY]
        return f"`{name}` is no column", suggest(name, [*_NAMING, *known])

    def _row(self, cells: list[_Cell], columns: list[str]) -> Row | None:
        before = len(self.problems)
        named = dict(zip(columns, cells, strict=False))
        row_id = self._id(named["id"]) if "id" in named else ""
        if len(cells) != len(columns):
            extra = cells[min(len(columns), len(cells) - 1)]
            self._note("ragged-row", extra, f"the row has {len(cells)} cells, the header {len(columns)}",
                       f"{_SPACES}; write `-` for null")
            return None
        values = {name: self._read(cell, name) for name, cell in named.items() if name and name != "id"}
        if len(self.problems) > before or not {"id", "at"} <= named.keys():
            return None
        try:
            flows = self._flows(row_id, values)
        except BadCell as error:
            self._note("bad-cell", named["at"], f"at: {error.message}", error.fix)
            return None
        for name in sorted({name for name in self.addresses for flow in flows if flow.get(name) is None}):
            self._note("bad-cell", named.get(name, cells[0]), f"a flow has no {name}",
                       "write an address; readers drop records without one, so no rule would see the flow")
        return Row(row_id, flows)

    def _id(self, cell: _Cell) -> str:
        if not _ROW_ID.fullmatch(cell.text):
            self._note("bad-cell", cell, f"`{cell.text}` cannot name a row", "use letters, digits, `_` and `-`")
        elif cell.text in self.first_line:
            line = self.place(self.first_line[cell.text], 0).line
            self._note("duplicate-id", cell, f"`{cell.text}` already names the row at line {line}", "name it otherwise")
        self.first_line.setdefault(cell.text, cell.line)
        return cell.text

    def _read(self, cell: _Cell, column: str) -> Any:
        try:
            if cell.text.startswith('"') and not cell.quoted:
                raise BadCell("the quoted cell has no end", 'close it with `"`, two blanks before the next cell')
            if column == "at":
                return read_clocks(cell.text)
            if column == "count":
                return read_count(cell.text)
            field = self.fields[column]
            return [read_value(cell.text, field)] if cell.quoted else read_values(cell.text, field)
        except BadCell as error:
            self._note("bad-cell", cell, f"{column}: {error.message}", error.fix)
            return None

    def _flows(self, row_id: str, values: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
        clocks: Clocks = values.pop("at")
        total = max(values.pop("count", 1), len(clocks.starts), *(len(cell) for cell in values.values()), 1)
        return tuple(
            {"event.id": f"{row_id}.{n + 1}", "event.start": time}
            | self._complete({name: cell[n % total % len(cell)] for name, cell in values.items()})
            for n, time in enumerate(clocks.of(total)))

    def _complete(self, given: dict[str, Any]) -> dict[str, Any]:
        """A flow with what its own values leave out; few combinations of those decide what that is."""
        words = tuple(str(given.get(field, self.defaults.get(field))).lower() for field, _, _ in _IMPLIED)
        if words not in self.left_out:
            implied = [what for word, (_, values, what) in zip(words, _IMPLIED, strict=True) if word in values]
            self.left_out[words] = dict(ChainMap({}, *reversed(implied), self.defaults))
        return self.left_out[words] | given


def _cells(line: str, number: int) -> list[_Cell]:
    found = ((match[0], match.start()) for match in _CELL.finditer(line))
    return [_Cell(text[1:-1], number, column, True) if _is_quoted(text) else _Cell(text, number, column)
            for text, column in found]


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2

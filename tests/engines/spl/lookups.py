"""`lookup`, `inputlookup`, `outputlookup` and `collect`.

Matching as in transforms.conf.spec: the first `max_matches` rows in file order, whatever their prefix length.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.engines.spl import nodes
from tests.engines.spl.context import Context, Lookup
from tests.engines.spl.errors import SplError, Undocumented, UnknownSpl
from tests.engines.spl.rows import filtered
from tests.engines.spl.values import Row, Value, multivalue, network, row_of, text, wildcard, within

Cell = Callable[[str], bool]


def _table(name: str, context: Context) -> Lookup:
    written = context.captured.lookups.get(name)
    known = context.lookups.get(name)
    if written is not None:
        rows = [{k: text(v) for k, v in row.items()} for row in written]
        return Lookup(rows, known.match_type, known.max_matches, known.min_matches, known.default_match,
                      known.case_sensitive_match) if known else Lookup(rows)
    if known is None:
        raise UnknownSpl(f"no lookup {name}")
    return known


def _columns(table: Lookup) -> list[str]:
    return list(dict.fromkeys(k for row in table.rows for k in row))


def _cell(table: Lookup, field: str, cell: str) -> Cell:
    kind = table.match_type.get(field, "EXACT")
    if kind == "CIDR":
        net = network(cell)
        if net is None:
            raise SplError(f"lookup: {cell!r} in the CIDR field {field} has no prefix length")
        return lambda value: bool(within(value, net))
    if kind == "WILDCARD":
        form = wildcard(cell, case=table.case_sensitive_match)
        return lambda value: form.fullmatch(value) is not None
    if table.case_sensitive_match:
        return lambda value: value == cell
    folded = cell.lower()
    return lambda value: value.lower() == folded


class _Matcher:
    """Finds rows for input values, each combination once."""

    def __init__(self, table: Lookup, inputs: tuple[str, ...]) -> None:
        self.table = table
        self.columns = _columns(table)
        self.tests = [(row, [_cell(table, name, row.get(name, "")) for name in inputs]) for row in table.rows]
        self.known: dict[tuple[str, ...], list[Row]] = {}

    def find(self, values: tuple[str, ...]) -> list[Row]:
        """The first rows in file order that all values match."""
        if values not in self.known:
            found: list[Row] = []
            for row, tests in self.tests:
                if all(test(value) for test, value in zip(tests, values, strict=True)):
                    found.append(dict(row))
                    if len(found) == self.table.max_matches:
                        break
            self.known[values] = found
        return self.known[values]


_MATCHERS: dict[tuple[int, tuple[str, ...]], _Matcher] = {}
_KEPT = 64


def _matcher(table: Lookup, inputs: tuple[str, ...]) -> _Matcher:
    """The matcher of a table, once for all runs: a matcher holds its table, so the id stays that table's."""
    key = (id(table), inputs)
    if key not in _MATCHERS:
        if len(_MATCHERS) >= _KEPT:
            _MATCHERS.clear()
        _MATCHERS[key] = _Matcher(table, inputs)
    return _MATCHERS[key]


def lookup(node: nodes.LookupCommand, rows: list[Row], context: Context) -> list[Row]:
    """`lookup`: adds the table's fields. An empty cell adds nothing."""
    table = _table(node.table, context)
    inputs = tuple(name for name, _ in node.inputs)
    matcher = _matcher(table, inputs)
    columns = matcher.columns
    outputs = node.outputs or tuple((c, c) for c in columns if c not in inputs)
    for name in (*inputs, *(name for name, _ in outputs)):
        if name not in columns:
            raise UnknownSpl(f"lookup {node.table} has no field {name}", node.position)
    for row in rows:
        _look_up(node, outputs, matcher, row)
    return rows


def _look_up(node: nodes.LookupCommand, outputs: tuple[tuple[str, str], ...], matcher: _Matcher, row: Row) -> None:
    present = [target for _, target in outputs if target in row]
    if node.new_only and present:
        if len(present) < len(outputs):
            raise Undocumented(f"lookup {node.table} OUTPUTNEW with some of the fields there already")
        return
    values = [row.get(event_field) for _, event_field in node.inputs]
    if any(isinstance(v, list) for v in values):
        raise Undocumented(f"lookup {node.table} with a multivalue input")
    table, null = matcher.table, any(v is None for v in values)
    if null and table.min_matches:
        raise Undocumented(f"lookup {node.table} with default_match and a null input")
    found = [] if null else matcher.find(tuple(map(text, values)))
    if not found and not table.min_matches and present:
        raise Undocumented(f"lookup {node.table} OUTPUT finds nothing for a row that has {present[0]}")
    missing = max(0, table.min_matches - len(found))
    for name, target in outputs:
        cells: list[Value] = [row_found[name] for row_found in found if row_found.get(name)]
        value = multivalue(cells + [table.default_match] * missing)
        if value is None:
            row.pop(target, None)
        else:
            row[target] = value


def inputlookup(node: nodes.Inputlookup, rows: list[Row], context: Context) -> list[Row]:
    """`inputlookup`: the table's rows, in file order; an empty cell is null."""
    table = _table(node.table, context)
    found: list[Row] = [{k: v for k, v in row.items() if v != ""} for row in map(row_of, table.rows)]
    context.transformed = True
    return rows + (filtered(node.condition, found) if node.condition else found)


def outputlookup(node: nodes.Outputlookup, rows: list[Row], context: Context) -> list[Row]:
    """`outputlookup`: replaces the table, appends to it, or updates the rows that have the same key."""
    before: list[Row] = []
    if node.append or node.key_field:
        before = [dict(row) for row in _table(node.table, context).rows]
    written = [{k: v for k, v in row.items() if not k.startswith("_") or k == node.key_field} for row in rows]
    if node.key_field:
        name = node.key_field
        merged = {text(row.get(name, index)): row for index, row in enumerate(before)}
        for index, row in enumerate(written):
            merged[text(row.get(name, f"new {index}"))] = row
        context.captured.lookups[node.table] = list(merged.values())
    else:
        context.captured.lookups[node.table] = before + written
    return rows


def collect(node: nodes.Collect, rows: list[Row], context: Context) -> list[Row]:
    """`collect`: keeps the rows by index."""
    index = dict(node.options)["index"]
    context.captured.collected.setdefault(index, []).extend(dict(row) for row in rows)
    return rows



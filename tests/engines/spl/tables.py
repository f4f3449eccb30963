"""Commands that look at the order of rows, or at several of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from tests.engines.spl import nodes
from tests.engines.spl.context import Context
from tests.engines.spl.errors import Undocumented
from tests.engines.spl.limits import check
from tests.engines.spl.values import Row, Value, address, multivalue, number, ordering, text


def sort(node: nodes.Sort, rows: list[Row], context: Context) -> list[Row]:
    """`sort`: rows without a field come last either way. Without a count, more than 10000 rows are an error."""
    if node.count is None:
        check("sort without a count", context.limits.sort_count, len(rows))
    return sorted_rows(node.keys, context.mixed(rows))[:node.count or None]


def sorted_rows(keys: tuple[nodes.SortKey, ...], rows: list[Row]) -> list[Row]:
    """The rows by these keys; equal rows keep their order."""
    for key in reversed(keys):
        present = [row for row in rows if key.field in row]
        absent = [row for row in rows if key.field not in row]
        order = _order(key, [row[key.field] for row in present])
        present.sort(key=lambda row, order=order, name=key.field: order(row[name]),    # type: ignore[misc]
                     reverse=key.descending)
        rows = present + absent
    return rows


def _order(key: nodes.SortKey, values: list[Value]) -> Callable[[Value], Any]:
    if any(isinstance(v, list) for v in values):
        raise Undocumented(f"sort by the multivalue field {key.field}")
    if key.kind == "str":
        return text
    if key.kind != "ip" and all(number(v) is not None for v in values):
        return number
    if key.kind != "num" and all(address(text(v)) is not None for v in values):
        return _address_key
    if key.kind in ("num", "ip"):
        raise Undocumented(f"sort {key.kind}({key.field}) with values of another kind")
    if all(number(v) is None for v in values):
        return text
    return cmp_to_key(ordering)     # each pair by what both are ("sort command usage")


def _address_key(value: Value) -> tuple[int, int]:
    found = address(text(value))
    assert found is not None
    return found.version, int(found)


def dedup(node: nodes.Dedup, rows: list[Row], context: Context) -> list[Row]:
    """`dedup`: the first rows of each combination, which depends on the order unless `sortby` says it."""
    seen: dict[tuple[str, ...], int] = {}
    kept, before = [], None
    for row in sorted_rows(node.keys, rows):
        if any(name not in row for name in node.names):
            if node.keepempty:
                kept.append(row)
            continue
        key = tuple(text(row[name]) for name in node.names)
        if node.consecutive and key != before:
            seen.clear()
        before = key
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= node.count:
            kept.append(row)
    return kept


def take(node: nodes.Take, rows: list[Row], context: Context) -> list[Row]:
    """`head`, `tail` (which turns its rows round) and `reverse`."""
    if node.command == "head":
        return rows[:node.count]
    return rows[::-1] if node.command == "reverse" else rows[::-1][:node.count]


def mvcombine(node: nodes.Mvcombine, rows: list[Row], context: Context) -> list[Row]:
    """`mvcombine`: rows that are alike but for the field become one."""
    groups: dict[tuple[tuple[str, str], ...], tuple[Row, list[Value]]] = {}
    kept: list[Row] = []
    for row in rows:
        if node.field not in row:
            kept.append(row)
            continue
        key = tuple(sorted((k, text(v)) for k, v in row.items() if k != node.field))
        groups.setdefault(key, (row, []))[1].append(row[node.field])
    return kept + [{**row, node.field: multivalue(values)} for row, values in groups.values()]


def append(node: nodes.Append, rows: list[Row], context: Context) -> list[Row]:
    """`append` adds a subsearch's rows, `appendpipe` those that a pipeline makes of the rows at hand."""
    before = context.transformed
    if node.command == "appendpipe":
        more = context.pipeline(node.search, [dict(row) for row in rows], context)
        context.transformed = before
        return rows + more
    context.transformed = False
    more = context.pipeline(node.search, None, context)
    context.transformed = before
    limit = context.limits.append_maxout if node.maxout is None else node.maxout
    check("append maxout", limit, len(more))
    return rows + more


def multisearch(node: nodes.Multisearch, rows: list[Row], context: Context) -> list[Row]:
    """`multisearch`: the rows of all its searches, newest first."""
    found = [row for search in node.searches for row in context.pipeline(search, None, context)]
    if all("_time" in row for row in found):
        found.sort(key=lambda row: row["_time"], reverse=True)
    return found


def makeresults(node: nodes.Makeresults, rows: list[Row], context: Context) -> list[Row]:
    """`makeresults`: rows with nothing but `_time`."""
    check("maxresultrows", context.limits.maxresultrows, node.count)
    context.transformed = True
    return [{} if context.now is None else {"_time": context.now} for _ in range(node.count)]

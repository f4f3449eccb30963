"""Small tables as events, for tests."""

from __future__ import annotations

from typing import Any


def table(text: str) -> list[dict[str, Any]]:
    """Events from lines of cells: the first line names the fields, `.` is a null, `a|b` a multivalue."""
    head, *lines = [line.split() for line in text.strip().splitlines()]
    return [{name: cell.split("|") if "|" in cell else cell for name, cell in zip(head, line, strict=True)
             if cell != "."} for line in lines]


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """The values of one field, None where it is missing."""
    return [row.get(name) for row in rows]

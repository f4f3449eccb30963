"""The envelope that all JSON of the command line has, and the results that need nothing heavy to be written.

The shapes are described in ewdetect.report.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ewdetect.problems import Problem


def envelope(name: str, content: Mapping[str, Any]) -> str:
    """A result of format `name`, such as `backtest/1`, as JSON text."""
    head = {"version": product_version(), "format": name}
    return json.dumps({"ewdetect": head, **content}, indent=2, ensure_ascii=False, default=str) + "\n"


def product_version() -> str:
    """The installed version; `0+source` when run from a folder that was never installed."""
    try:
        return version("ewdetect")
    except PackageNotFoundError:
        return "0+source"


def problems_json(problems: Sequence[Problem]) -> str:
    """`problems/1`."""
    return envelope("problems/1", {"problems": [problem_record(problem) for problem in problems]})


def problem_record(problem: Problem) -> dict[str, Any]:
    """One problem as plain data."""
    place = problem.location
    return {"code": problem.code, "severity": problem.severity.value, "message": problem.message,
            "path": place.path if place else None, "line": place.line if place else 0,
            "column": place.column if place else 0, "fix": problem.fix}


def listing_json(what: str, rows: Sequence[Mapping[str, str]]) -> str:
    """`list/1`."""
    return envelope("list/1", {what: [dict(row) for row in rows]})

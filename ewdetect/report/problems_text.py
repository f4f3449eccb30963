"""Problems as text: where, the line with a caret under the word, what, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from rich.text import Text

from ewdetect.problems import Location, Problem, Severity
from ewdetect.report.words import count, safe

_WORD = re.compile(r"[^\s,:\[\]{}]+")
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


def problems_text(problems: Sequence[Problem], line_at: Callable[[Location], str]) -> Text:
    """A block for each problem and the sum. `line_at` gives the source line of a location, or nothing."""
    text = Text()
    for problem in problems:
        text.append_text(_problem(problem, line_at)).append("\n")
    return text.append(summary(problems))


def summary(problems: Sequence[Problem]) -> str:
    """How many errors and warnings there are."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    parts = [count(errors, "error")] if errors else []
    parts += [count(len(problems) - errors, "warning")] if len(problems) > errors else []
    return " and ".join(parts) or "no problems"


def _problem(problem: Problem, line_at: Callable[[Location], str]) -> Text:
    text = Text()
    if problem.location:
        text.append(f"{safe(problem.location)}: ", "bold")
    text.append(f"{problem.severity.value}[{problem.code}]", _STYLES[problem.severity])
    text.append(f": {safe(problem.message)}\n")
    for line in _excerpt(problem.location, line_at):
        text.append(f"{line}\n")
    if problem.fix:
        text.append("  fix: ", "green").append(f"{safe(problem.fix)}\n")
    return text


def _excerpt(location: Location | None, line_at: Callable[[Location], str]) -> Iterator[str]:
    if location is None or not location.line or not (line := line_at(location)):
        return
    number = f"{location.line:>5}"
    yield f"{number} | {''.join(c if c.isprintable() else ' ' for c in line)}"
    if location.column:
        word = _WORD.match(line, location.column - 1)
        yield f"{' ' * len(number)} | {' ' * (location.column - 1)}{'^' * (len(word[0]) if word else 1)}"

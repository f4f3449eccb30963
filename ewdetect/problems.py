"""What is wrong with a user's file, said once: where, what, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file; line and column count from 1, and 0 means the whole file."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `code` is `area/what-is-wrong` and has a page of its own in docs/problems."""

    code: str
    message: str
    location: Location | None = None
    fix: str = ""
    severity: Severity = Severity.ERROR


class Rejected(Exception):
    """The user's content cannot be used. Carries every problem found, never only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(f"{p.location or ''} {p.code}: {p.message}" for p in self.problems))


class WorldFailed(Exception):
    """Something outside failed: a disk is full, a file cannot be read. Exit code 3."""


def nearest(word: str, vocabulary: Iterable[str]) -> str:
    """The word of a closed vocabulary that was probably meant, or the empty string."""
    found = difflib.get_close_matches(word, list(vocabulary), n=1, cutoff=0.6)
    return found[0] if found else ""


def suggest(word: str, vocabulary: Sequence[str]) -> str:
    """A fix for an unknown word: the nearest one, or the whole vocabulary where it is short."""
    if best := nearest(word, vocabulary):
        return f"did you mean `{best}`?"
    return f"use one of: {', '.join(sorted(vocabulary))}" if len(vocabulary) <= 30 else "see the documentation"


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in reading order: by file, line and column; those without a place come first."""
    return sorted(problems, key=lambda p: (p.location or Location(""), p.code, p.message))

"""What the parity suites found out, rule by rule: printed at their end, and the tables of docs/parity.md.

A row of the first table is one rule in one language with one way of context, over the sources on which every case of
every rule is executed; a row of the second is another source in one language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.convert_world import SOURCES, anywhere


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One rule as one query. `refused` holds the reasons where there is none; `caveats` says whether it has any."""

    rule: str
    language: str
    context: str
    source: str
    cases: int = 0
    runs: int = 0
    alerts: int = 0
    mismatches: int = 0
    caveats: bool = False
    refused: tuple[str, ...] = ()
    skipped: int = 0                    # cases that the source's records cannot tell


@dataclass(frozen=True, slots=True)
class Ledger:
    """A file of entries, one line each; several processes may add to it."""

    path: Path

    def add(self, entry: Entry) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    def entries(self) -> list[Entry]:
        lines = self.path.read_text("utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        return sorted(Entry(**{**made, "refused": tuple(made["refused"])}) for made in found)


def divided(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The entries of the sources on which everything is executed, and those of the others."""
    found = list(entries)
    return [e for e in found if e.source in SOURCES], [e for e in found if e.source not in SOURCES]


def by_source(entries: Sequence[Entry]) -> list[list[str]]:
    """Rows of the page: what was executed on each source in each language, over rules and ways of context."""
    rows = [["source", "language", "rules", "refused", "cases", "skipped", "runs", "alerts", "mismatches"]]
    for name, language in sorted({(e.source, e.language) for e in entries}):
        own = [e for e in entries if (e.source, e.language) == (name, language)]
        done = {e.rule for e in own if not e.refused}
        counts = (len(done), len({e.rule for e in own} - done), *(
            sum(getattr(e, count) for e in own) for count in ("cases", "skipped", "runs", "alerts", "mismatches")))
        rows.append([f"`{name}`", language, *map(str, counts)])
    return rows


def totals(entries: Iterable[Entry]) -> list[str]:
    """One line for each language: what was executed, and how often it was wrong."""
    lines = []
    found = list(entries)
    for language in dict.fromkeys(entry.language for entry in found):
        own = [entry for entry in found if entry.language == language]
        done = [entry for entry in own if not entry.refused]
        lines.append(
            f"{language}: {len({e.rule for e in done})} rules, {sum(e.cases for e in done)} cases, "
            f"{sum(e.runs for e in done)} runs, {sum(e.alerts for e in done)} alerts, "
            f"{sum(e.mismatches for e in done)} mismatches, {len(own) - len(done)} refused")
    return lines


def table(entries: Sequence[Entry]) -> tuple[list[list[str]], list[str]]:
    """Rows of the page: the rule, then a verdict for each language and way of context. And the reasons of refusals,
    which the verdicts refer to by their number."""
    columns = list(dict.fromkeys((e.language, e.context) for e in entries))
    reasons = list(dict.fromkeys(reason(text) for entry in entries for text in entry.refused))
    rows = [["rule", *(f"{language}, {context}".replace("|", "\\|") for language, context in columns)]]
    for rule in sorted({e.rule for e in entries}):
        own = [[e for e in entries if (e.rule, e.language, e.context) == (rule, *column)] for column in columns]
        rows.append([f"`{rule}`", *(verdict(found, reasons) for found in own)])
    return rows, reasons


def verdict(entries: Sequence[Entry], reasons: Sequence[str]) -> str:
    """What a rule is in one language: exact, or refused, with the sources where they differ."""
    words: dict[str, list[str]] = {}
    for entry in entries:
        words.setdefault(_word(entry, reasons), []).append(entry.source)
    if len(words) <= 1:
        return next(iter(words), "-")
    return "; ".join(f"{', '.join(dict.fromkeys(sources))}: {word}" for word, sources in words.items())


def reason(text: str) -> str:
    """Why a query is refused, without the rule's name: many rules share a reason. Paths are the project's own."""
    return re.sub(r"^`\w+`( cannot become a query for \w+)?: ", "", anywhere(text))


def _word(entry: Entry, reasons: Sequence[str]) -> str:
    if entry.refused:
        numbers = sorted({reasons.index(reason(text)) + 1 for text in entry.refused})
        return f"refused ({', '.join(map(str, numbers))})"
    return "exact, with caveats" if entry.caveats else "exact"

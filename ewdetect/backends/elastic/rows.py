"""The rows that ES|QL stages look at: one for each flow and use that a stage makes of it.

Our own columns begin with `ew_`: `ew_t` is the flow's start in milliseconds, the resolution of Elasticsearch's dates;
`ew_row` names the row, and sorts by time; `ew_k0` … are the group's keys and `ew_v`, `ew_n` what is measured. Where a
rule has more than one input, `ew_in` says which one the row is, and where it has more than one stage, `ew_stage` which
stage reads it: every stage leaves the others' rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

Commands = list[str]
SECOND = 1000


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one stage. `tags` are its inputs' words in `ew_in`; `apart`: there are rows of other stages."""

    stage: str
    tags: tuple[str, ...]
    keys: tuple[str, ...]
    apart: bool

    def where(self, condition: str) -> str:
        """Keep the stage's rows for which the condition holds."""
        return f"WHERE {self.others()} OR ({condition})" if self.apart else f"WHERE {condition}"

    def by(self, *more: str) -> str:
        """A BY clause of the keys and more columns; nothing where there is no key at all."""
        columns = [*(["ew_stage"] if self.apart else []), *self.keys, *more]
        return f" BY {', '.join(columns)}" if columns else ""

    def mine(self, condition: str) -> str:
        """A condition that holds for rows of this stage alone."""
        return f"ew_stage == {quoted(self.stage)} AND {condition}" if self.apart else condition

    def others(self) -> str:
        """The condition of other stages' rows."""
        return f"ew_stage != {quoted(self.stage)}"


def inline(rows: Rows, *columns: str, by: tuple[str, ...] = ()) -> str:
    """INLINE STATS keeps every row. STATS would make Kibana take the query for an aggregation, and alert again in
    every run that sees the same flows."""
    return f"INLINE STATS {', '.join(columns)}{rows.by(*by)}"


def quoted(text: str) -> str:
    """A string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

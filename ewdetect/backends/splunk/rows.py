"""The rows that a stage looks at: one for each event and rule, with the group's keys and the measured values.

Our own columns begin with `ew_`. Events carry `ew_rule`, the tags of the rules that they match; the hits of an inner
correlation carry its tag, and its keys as `ew_h0`, `ew_h1` … Every stage works on `ew_k0` … (keys) and `ew_v0` …
(values), so that it does not matter where they came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Commands = list[str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a stage, as an `eval` expression for each tag."""

    name: str
    by_tag: Mapping[str, str]

    @property
    def differs(self) -> bool:
        """Whether inputs have different expressions for it."""
        return len(set(self.by_tag.values())) > 1

    def assignment(self) -> str:
        """The column's assignment in `eval`; rows must have one tag each where inputs differ."""
        if not self.differs:
            return f"{self.name}={next(iter(self.by_tag.values()))}"
        cases = (f"ew_rule={quoted(tag)},{expression}" for tag, expression in self.by_tag.items())
        return f"{self.name}=case({','.join(cases)})"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a stage reads. `tagged` is false where the whole search has one rule, and so no tags.

    `weight` is the column that says how many flows a row stands for; empty where each is one. `shown` are columns that
    an analyst sees.
    """

    tags: tuple[str, ...]
    keys: tuple[Column, ...]
    values: tuple[Column, ...]
    tagged: bool
    weight: str = ""
    shown: tuple[Column, ...] = ()

    def columns(self) -> tuple[Column, ...]:
        return (*self.keys, *self.values, *self.shown)

    def count(self) -> str:
        """The number of flows, as `stats` adds them up."""
        return f"sum({self.weight})" if self.weight else "count"

    def by(self, *others: str) -> str:
        """A BY clause of the keys and other columns, or nothing."""
        names = [*(key.name for key in self.keys), *others]
        return f" BY {' '.join(names)}" if names else ""


def rows(inputs: Inputs, each_rule: bool, once: bool = False) -> Commands:
    """The stage's rows with its columns.

    `each_rule` gives an event that matches two of the rules a row for each. With `once` it has one row for each
    group that it is in, also where the rules have different keys for it.
    """
    commands = [f"search ew_rule IN ({', '.join(map(quoted, inputs.tags))})"] if inputs.tagged else []
    apart = each_rule or any(column.differs for column in inputs.columns())
    if inputs.tagged and apart:
        commands += [f"eval ew_rule={_own_tags(inputs, once and not each_rule)}", "mvexpand ew_rule"]
    if inputs.columns():
        commands.append("eval " + ", ".join(column.assignment() for column in inputs.columns()))
    return commands


def _own_tags(inputs: Inputs, once: bool) -> str:
    """The tags of this stage's rules that an event has. With `once`, without those that lead to the same group."""
    if not once:
        return f"mvfilter({' OR '.join(f'ew_rule={quoted(tag)}' for tag in inputs.tags)})"
    return f"mvappend({','.join(_first_of_group(inputs, place) for place in range(len(inputs.tags)))})"


def _first_of_group(inputs: Inputs, place: int) -> str:
    mine = inputs.tags[place]
    parts = [f"isnull({_has(mine)}),null()"]
    for tag in inputs.tags[:place]:
        same = [f"({key.by_tag[tag]}={key.by_tag[mine]})" for key in inputs.keys]
        parts.append(f"{' AND '.join([f'isnotnull({_has(tag)})', *same])},null()")
    return f"case({','.join(parts)},true(),{quoted(mine)})"


def _has(tag: str) -> str:
    return f"mvfilter(ew_rule={quoted(tag)})"


def quoted(text: str) -> str:
    """A string literal. Only a quote and a backslash are special in one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def numbers(names: Sequence[str]) -> str:
    """A sum of fields, missing where one of them is; text that looks like a number would be joined."""
    return "+".join(f"tonumber('{name}')" for name in names)

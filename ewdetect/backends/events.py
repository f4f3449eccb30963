"""The event rules below a correlation, as conditions in the SIEM's names, and the sums that they compare.

A sum such as `network.bytes` may have no field in the SIEM. Then it becomes a column of ours, made after the flows have
been found by everything else that their condition says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR

from ewdetect.backends import predicate
from ewdetect.backends.predicate import Condition, Setting, Target
from ewdetect.backends.tree import simplified
from ewdetect.model import Kind
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule


@dataclass(frozen=True, slots=True)
class Event:
    """An event rule: its name, its condition, and what of it can be asked before sums are made."""

    name: str
    text: str
    early: str
    found: Condition


def setting_with_sums(resolved: ResolvedRule, context: str, target: Target) -> Setting:
    """The setting, with a name of ours for each sum that the SIEM has no field for. Raises Rejected."""
    plain = predicate.setting_of(resolved, context, target)
    sums = {name: f"ew_{name.replace('.', '_')}" for name, parts in plain.vocabulary.sums.items()
            if name not in plain.names and all(part in plain.names for part in parts)}
    return replace(plain, names={**plain.names, **sums})


def sums_of(setting: Setting) -> Mapping[str, Sequence[str]]:
    """Each sum of ours → its parts, all by the SIEM's names."""
    names = setting.names
    return {names[name]: [names[part] for part in parts] for name, parts in setting.vocabulary.sums.items()
            if names.get(name, "").startswith("ew_")}


def events_of(resolved: ResolvedRule, setting: Setting) -> list[Event]:
    """The event rules of a rule, in order. Raises Rejected with the problems of all of them."""
    events: list[Event] = []
    problems: list[Problem] = []
    for part in resolved.parts:
        if part.kind is not Kind.EVENT:
            continue
        try:
            found = predicate.condition(part, resolved, setting)
            early = simplified(_without(found.tree, sums_of(setting)))
            text, sooner = (predicate.spelt(tree, found.state, part, setting) for tree in (found.tree, early))
            events.append(Event(part.name, text, sooner, found))
        except Rejected as rejected:
            problems += rejected.problems
    if problems:
        raise Rejected(list(dict.fromkeys(problems)))
    return events


def any_of(texts: Iterable[str]) -> str:
    """A condition that holds where any of the conditions does."""
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else " OR ".join(f"({text})" for text in found)


def _without(node: Any, names: Iterable[str], positive: bool = True) -> Any:
    """A condition that holds wherever `node` does, without a word on some fields."""
    match node:
        case ConditionAND() | ConditionOR():
            return type(node)([_without(arg, names, positive) for arg in node.args])
        case ConditionNOT():
            return ConditionNOT([_without(node.args[0], names, not positive)])
        case ConditionFieldEqualsValueExpression() if node.field in names:
            return positive
    return node

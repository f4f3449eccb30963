"""The event rules below a detection, as conditions in the SIEM's names, and the sums that they compare.

A sum such as `network.bytes` may have no field in the SIEM. Then it becomes a column of ours, made after the flows have
been found by everything else that their condition says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ewdetect.backends import predicate
from ewdetect.backends.predicate import Condition, Setting
from ewdetect.model import Kind, Rule
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule


def with_sums(plain: Setting) -> Setting:
    """The setting, with a name of ours for each sum that the SIEM has no field for, and all parts of."""
    sums = {name: f"ew_{name.replace('.', '_')}" for name, parts in plain.vocabulary.sums.items()
            if name not in plain.names and all(part in plain.names for part in parts)}
    return replace(plain, names={**plain.names, **sums})


def sums_of(setting: Setting) -> Mapping[str, Sequence[str]]:
    """Each sum of ours → its parts, all by the SIEM's names."""
    names = setting.names
    return {names[name]: [names[part] for part in parts] for name, parts in setting.vocabulary.sums.items()
            if names.get(name, "").startswith("ew_")}


def conditions_of(resolved: ResolvedRule, setting: Setting) -> list[tuple[Rule, Condition]]:
    """The event rules of a rule, in order. Raises Rejected with the problems of all of them."""
    found: list[tuple[Rule, Condition]] = []
    problems: list[Problem] = []
    for part in resolved.parts:
        if part.kind is not Kind.EVENT:
            continue
        try:
            found.append((part, predicate.condition(part, resolved, setting)))
        except Rejected as rejected:
            problems += rejected.problems
    if problems:
        raise Rejected(list(dict.fromkeys(problems)))
    return found


def any_of(texts: Iterable[str]) -> str:
    """A condition that holds where any of the conditions does."""
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else " OR ".join(f"({text})" for text in found)

"""Which ATT&CK techniques the rules look for, under which tactics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ewdetect.load import Tactic, Technique
from ewdetect.model import Rule

_TECHNIQUE = re.compile(r"attack\.(t[0-9]{4}(?:\.[0-9]{3})?)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of ATT&CK's matrix: a technique under one of its tactics, and the names of the rules tagged with both.

    `tag` is the tactic as tags spell it, such as `lateral-movement`.
    """

    tag: str
    tactic: Tactic
    technique: Technique
    rules: tuple[str, ...]


def techniques(rule: Rule) -> list[str]:
    """ATT&CK technique ids of the rule's tags, such as T1021.002."""
    found = (_TECHNIQUE.fullmatch(tag) for tag in rule.body.get("tags", ()))
    return [match[1].upper() for match in found if match]


def matrix(rules: Iterable[Rule], attack: Mapping[str, Technique], tactics: Mapping[str, Tactic]) -> list[Cell]:
    """The cells that some rule covers, in the order of ATT&CK's matrix. The tags are already checked."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        for place in _places(rule, attack):
            found.setdefault(place, []).append(rule.name)
    order = list(tactics)
    places = sorted(found, key=lambda place: (order.index(place[0]), place[1]))
    return [Cell(tag, tactics[tag], attack[technique], tuple(found[tag, technique])) for tag, technique in places]


def _places(rule: Rule, attack: Mapping[str, Technique]) -> Iterator[tuple[str, str]]:
    """Tactic and technique, where the rule is tagged with both."""
    for technique in dict.fromkeys(techniques(rule)):
        for tag in attack[technique].tactics:
            if f"attack.{tag}" in rule.body["tags"]:
                yield tag, technique

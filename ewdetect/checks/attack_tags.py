"""ATT&CK tags say what exists today, and tactic and technique fit together.

Analysts pivot on these tags, and coverage maps are drawn from them. A technique that was revoked or never existed
leaves a hole in both. The list is ATT&CK Enterprise v19 and ships with ewdetect, so the check works without network.

- `rule/unknown-technique`: no such technique. Correct the number.
- `rule/retired-technique`: ATT&CK revoked or deprecated it. Use the successor that the message names.
- `rule/unknown-tactic`: no such tactic. v19 split `defense-evasion` into `stealth` and `defense-impairment`.
- `rule/technique-without-tactic`: no tactic of that technique is tagged. Add one of those named.
- `rule/tactic-mismatch`: none of the tagged techniques belongs to that tactic. Remove it, or tag the technique meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ewdetect.checks.scope import Scope
from ewdetect.load import Technique
from ewdetect.model import Rule
from ewdetect.problems import Problem, suggest

_TECHNIQUE = re.compile(r"t[0-9]{4}(\.[0-9]{3})?")
_GROUP_OR_SOFTWARE = re.compile(r"[gsc][0-9]{4}")

Tag = tuple[int, str]        # its place in the list, and what follows `attack.`


def check(scope: Scope) -> list[Problem]:
    return [problem for rule in scope.rules() for problem in _rule(rule, scope.attack)]


def _rule(rule: Rule, attack: Mapping[str, Technique]) -> Iterator[Problem]:
    tags = [(index, tag.removeprefix("attack.")) for index, tag in enumerate(rule.body.get("tags", ()))
            if tag.startswith("attack.") and not _GROUP_OR_SOFTWARE.fullmatch(tag.removeprefix("attack."))]
    techniques = [(index, tag.upper()) for index, tag in tags if _TECHNIQUE.fullmatch(tag)]
    tactics = [(index, tag) for index, tag in tags if not _TECHNIQUE.fullmatch(tag)]
    wrong = [p for index, tag in techniques for p in _existence(rule, index, tag, attack)]
    wrong += [p for index, tag in tactics for p in _known_tactic(rule, index, tag, attack)]
    yield from wrong
    if techniques and not wrong:        # a wrong tag is mended first; what fits together is seen after that
        yield from _fit(rule, techniques, tactics, attack)


def _existence(rule: Rule, index: int, tag: str, attack: Mapping[str, Technique]) -> Iterator[Problem]:
    place, found = rule.document.at("tags", index), attack.get(tag)
    if found is None:
        yield Problem("rule/unknown-technique", f"ATT&CK has no technique {tag}", place, suggest(tag, list(attack)))
    elif found.status != "active":
        yield Problem("rule/retired-technique", f"{tag} ({found.name}) is {found.status}", place,
                      _successor(found, attack))


def _successor(technique: Technique, attack: Mapping[str, Technique]) -> str:
    """Where a retired technique went; a sub-technique without a successor of its own follows its parent."""
    parent = attack.get(technique.id.partition(".")[0], technique)
    successor = attack.get(technique.replaced_by or parent.replaced_by)
    if successor is None:
        return "choose a technique that is active"
    return f"use `attack.{successor.id.lower()}` ({successor.name})"


def _known_tactic(rule: Rule, index: int, tag: str, attack: Mapping[str, Technique]) -> Iterator[Problem]:
    known = sorted({tactic for technique in attack.values() for tactic in technique.tactics})
    if tag not in known:
        yield Problem("rule/unknown-tactic", f"ATT&CK has no tactic `{tag}`", rule.document.at("tags", index),
                      suggest(tag, known))


def _fit(rule: Rule, techniques: list[Tag], tactics: list[Tag], attack: Mapping[str, Technique]) -> Iterator[Problem]:
    tagged = {tactic for _, tactic in tactics}
    for index, tag in techniques:
        found = attack[tag]
        if not tagged & set(found.tactics):
            fitting = " or ".join(f"`attack.{tactic}`" for tactic in found.tactics)
            yield Problem("rule/technique-without-tactic", f"{tag} ({found.name}) is tagged, but none of its tactics",
                          rule.document.at("tags", index), f"add {fitting}")
    possible = {tactic for _, tag in techniques for tactic in attack[tag].tactics}
    for index, tag in tactics:
        if tag not in possible:
            yield Problem("rule/tactic-mismatch", f"no technique that is tagged here belongs to `{tag}`",
                          rule.document.at("tags", index), "remove it, or tag the technique that is meant")

"""ATT&CK tags → `threat` of a Kibana rule: each technique under its own tactics, sub-techniques under their technique.

https://attack.mitre.org; what belongs together is in data/attack.tsv and data/tactics.tsv, and never told by position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ewdetect.load import Tactic, Technique, load_attack, load_tactics
from ewdetect.model import Rule
from ewdetect.problems import Problem, Rejected, suggest

_TECHNIQUE = re.compile(r"t[0-9]{4}(\.[0-9]{3})?")
_SITE = "https://attack.mitre.org"


def threat(rule: Rule) -> list[dict[str, Any]]:
    """One entry for each tactic, in ATT&CK's order. Raises Rejected for a technique that ATT&CK does not have."""
    known, tagged, found = _tactics(), tactics(rule), techniques(rule)
    under = {technique.id: _under(technique, tagged, known) for technique in found}
    return [{"framework": "MITRE ATT&CK",
             "tactic": {"id": tactic.id, "name": tactic.name, "reference": f"{_SITE}/tactics/{tactic.id}/"},
             "technique": _listed([t for t in found if tag in under[t.id]])}
            for tag, tactic in known.items() if tag in tagged or any(tag in tags for tags in under.values())]


def tactics(rule: Rule) -> list[str]:
    """The tactics that the rule tags, as Sigma spells them."""
    return [name for name in _names(rule) if name in _tactics()]


def techniques(rule: Rule) -> list[Technique]:
    """The techniques that the rule tags, in its own order. Raises Rejected."""
    known = _attack()
    ids = [name.upper() for name in _names(rule) if _TECHNIQUE.fullmatch(name)]
    unknown = [i for i in ids if i not in known]
    if unknown:
        raise Rejected([Problem("rule/unknown-technique", f"ATT&CK has no technique {i}", rule.document.at("tags"),
                                suggest(i, list(known))) for i in unknown])
    return [known[i] for i in dict.fromkeys(ids)]


def _names(rule: Rule) -> list[str]:
    """What follows `attack.` in the tags. Sigma once wrote tactics with underscores."""
    return [tag.removeprefix("attack.").replace("_", "-") for tag in rule.body.get("tags") or ()
            if tag.startswith("attack.")]


def _under(technique: Technique, tagged: Sequence[str], known: Mapping[str, Tactic]) -> list[str]:
    """The tagged tactics that have the technique; its own ones where none of them is tagged."""
    own = [tag for tag in technique.tactics if tag in known]
    return [tag for tag in own if tag in tagged] or own


def _listed(found: Sequence[Technique]) -> list[dict[str, Any]]:
    """Techniques with their sub-techniques; one that only a sub-technique names stands there for it."""
    known = _attack()
    parents = dict.fromkeys(technique.id.partition(".")[0] for technique in found)
    below = {parent: [_entry(t) for t in found if t.id.startswith(f"{parent}.")] for parent in parents}
    return [{**_entry(known[parent]), **({"subtechnique": below[parent]} if below[parent] else {})}
            for parent in parents]


def _entry(technique: Technique) -> dict[str, Any]:
    return {"id": technique.id, "name": technique.name,
            "reference": f"{_SITE}/techniques/{technique.id.replace('.', '/')}/"}


@cache
def _attack() -> Mapping[str, Technique]:
    return load_attack()


@cache
def _tactics() -> Mapping[str, Tactic]:
    return load_tactics()

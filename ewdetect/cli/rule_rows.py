"""What `list rules`, `list families`, `list attack` and `list counts` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ewdetect.attack import Cell, matrix, techniques
from ewdetect.checks import Scope, attack_tags
from ewdetect.cli.options import chosen_pack, rule_paths
from ewdetect.counts import MEANINGS, count
from ewdetect.load import Tuning, content_root, load_attack, load_fields, load_tactics
from ewdetect.model import Pack, Rule
from ewdetect.problems import Rejected

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The alerting rules that a list is about, and the pack that they stand in."""

    pack: Pack
    rules: tuple[Rule, ...]
    paths: tuple[Path, ...]


def chosen(paths: Sequence[str], tuned: Tuning | None = None) -> Chosen:
    """The rules of the paths, or those that ship, as they are tuned. Raises Rejected."""
    files = rule_paths(paths)
    return Chosen(*chosen_pack(files, load_fields(), tuned), tuple(files))


def rules_rows(found: Chosen) -> Iterator[Row]:
    """Every alerting rule."""
    for rule in found.rules:
        yield {"rule": rule.name, "family": rule.family, "level": rule.level, "status": rule.status,
               "title": rule.title}


def family_rows(found: Chosen) -> Iterator[Row]:
    """Every family, with what it looks for."""
    families: dict[str, list[Rule]] = {}
    for rule in found.rules:
        families.setdefault(rule.family, []).append(rule)
    for family, rules in families.items():
        looked_for = sorted({technique for rule in rules for technique in techniques(rule)})
        yield {"family": family, "rules": f"{len(rules)}", "names": ", ".join(rule.name for rule in rules),
               "techniques": ", ".join(looked_for)}


def attack_rows(found: Chosen) -> Iterator[Row]:
    """Every technique that a rule looks for, under each tactic that the rule is tagged with."""
    for cell in attack_cells(found):
        yield {"technique": cell.technique.id, "name": cell.technique.name, "tactic": cell.tactic.name,
               "rules": ", ".join(cell.rules)}


def count_rows(found: Chosen) -> Iterator[Row]:
    """How much there is."""
    recordings = content_root() / "fixtures" / "recordings"
    for what, number in count(found.pack, found.paths, recordings, load_fields()).items():
        yield {"what": what, "count": f"{number:,}", "meaning": MEANINGS[what]}


def attack_cells(found: Chosen) -> list[Cell]:
    """The same as cells of ATT&CK's matrix. Raises Rejected for tags that ATT&CK does not have."""
    attack = load_attack()
    pack = Pack({rule.name: rule for rule in found.rules})
    if problems := attack_tags.check(Scope(pack, attack=attack)):
        raise Rejected(problems)
    return matrix(found.rules, attack, load_tactics())

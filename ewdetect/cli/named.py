"""Rules by what is typed for them: names and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ewdetect.cli.options import chosen_pack, rule_paths
from ewdetect.load import Tuning, load_pack
from ewdetect.model import Field, Pack, Rule
from ewdetect.resolve import chosen_rules


def named_rules(words: Sequence[str], fields: Mapping[str, Field],
                tuned: Tuning | None = None) -> Iterator[tuple[Rule, Pack]]:
    """Each rule with the pack it stands in: the alerting rules of the paths, and those named of the ones that ship."""
    paths = [word for word in words if "/" in word or word.endswith(".yml") or Path(word).exists()]
    if paths:
        pack, found = chosen_pack(rule_paths(paths), fields, tuned)
        yield from ((rule, pack) for rule in found)
    if names := [word for word in words if word not in paths]:
        pack = load_pack(rule_paths(()), fields, tuned)
        yield from ((rule, pack) for rule in chosen_rules(pack, names))

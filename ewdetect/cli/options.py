"""Options that several verbs share, and what they stand for when they are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ewdetect.cli.output import tell
from ewdetect.load import Tuning, content_root, load_pack, load_tuning
from ewdetect.load.files import find_files
from ewdetect.load.tuning import FILE as TUNING_FILE
from ewdetect.model import Field, Pack, Rule

Verb = TypeVar("Verb", bound=Callable[..., object])

json_or_text = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
                            help="For a person, or for a program.")


def network_option(required: bool = False) -> Callable[[Verb], Verb]:
    """`--network FILE`."""
    return click.option("--network", metavar="FILE", required=required, help="The network context.")


def config_option() -> Callable[[Verb], Verb]:
    """`--config FILE`, which `tuning` reads."""
    return click.option("--config", metavar="FILE",
                        help=f"How this environment tunes the rules; left out, {TUNING_FILE} of the current folder.")


def tuning(config: str | None) -> Tuning | None:
    """The tuning of `--config`, or of the current folder's file if there is one. Raises Rejected."""
    path = Path(config or TUNING_FILE)
    if config is None and not path.exists():
        return None
    found = load_tuning(path)
    tell(f"rules are tuned by {path}")
    return found


def rule_paths(given: Sequence[str]) -> list[Path]:
    """The rules asked for, or those that ship."""
    return [Path(path) for path in given] or [content_root() / "rules"]


def with_neighbours(paths: Sequence[Path]) -> list[Path]:
    """The paths, and the whole of the shipped rules if one of them lies inside: rules refer across families."""
    shipped = content_root() / "rules"
    inside = any(path.resolve().is_relative_to(shipped) for path in paths)
    return [*paths, shipped] if inside else list(paths)


def chosen_pack(paths: Sequence[Path], fields: Mapping[str, Field],
                tuned: Tuning | None = None) -> tuple[Pack, tuple[Rule, ...]]:
    """The pack that the rules of `paths` stand in, and the alerting ones of those rules. Raises Rejected."""
    pack = load_pack(with_neighbours(paths), fields, tuned)
    files = {path.resolve() for path in find_files(paths).rules}
    return pack, tuple(rule for rule in pack.alerting() if Path(rule.document.path).resolve() in files)

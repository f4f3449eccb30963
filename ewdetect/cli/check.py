"""ewdetect check"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ewdetect.check import check_paths
from ewdetect.cli.options import config_option, json_or_text, network_option, rule_paths, tuning, with_neighbours
from ewdetect.cli.outcome import code_of
from ewdetect.cli.output import emit, show, source_line
from ewdetect.load import test_of
from ewdetect.problems import Problem
from ewdetect.report.envelope import problems_json
from ewdetect.report.problems_text import problems_text


@click.command("check")
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@network_option()
@config_option()
@json_or_text
def command(paths: tuple[str, ...], network: str | None, config: str | None, form: str) -> int:
    """Find everything that is wrong with rules, their tests and a network file.

    PATHS are rule files and folders of them; left out, the rules that ship with ewdetect. Without --network, what
    depends on a network is not looked at. How this environment tunes the rules is checked with them. The problems are
    the result: they go to standard output.
    """
    chosen, tuned = rule_paths(paths), tuning(config)
    also = [Path(network)] if network else []
    also += [Path(tuned.document.path), *tuned.filters] if tuned else []
    problems = [each for each in check_paths(with_neighbours(chosen), network, tuned)
                if _concerns(each, [*chosen, *also])]
    if form == "json":
        emit(problems_json(problems))
    else:
        show(problems_text(problems, source_line), wrap=False)
    return code_of(problems)


def _concerns(problem: Problem, chosen: Sequence[Path]) -> bool:
    """Whether a problem is of what was asked about; neighbours are read only because rules refer to each other."""
    if problem.location is None:
        return True
    place = Path(problem.location.path).resolve()
    return any(place.is_relative_to(path.resolve()) or place == test_of(path).resolve() for path in chosen)

"""Which files a list of paths means. Rules and filters are `*.yml`, proofs are `*.test.yaml` beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ewdetect.load.content import existing
from ewdetect.problems import Location, Problem, Rejected, WorldFailed

RULE = ".yml"
TEST = ".test.yaml"


@dataclass(frozen=True, slots=True)
class Files:
    """Rule and test files in reading order, each once."""

    rules: tuple[Path, ...]
    tests: tuple[Path, ...]
    problems: tuple[Problem, ...]


def find_files(paths: Sequence[Path | str]) -> Files:
    """Files and folders → rule and test files. A path that leads nowhere is a problem; raises WorldFailed."""
    rules: dict[Path, Path] = {}
    tests: dict[Path, Path] = {}
    problems: list[Problem] = []
    for given in paths:
        try:
            for path in _expand(existing(Path(given))):
                if path.name.endswith(TEST):
                    tests.setdefault(path.resolve(), path)
                elif problem := _bad_ending(path):
                    problems.append(problem)
                else:
                    rules.setdefault(path.resolve(), path)
        except Rejected as rejected:
            problems.extend(rejected.problems)
    return Files(tuple(rules.values()), tuple(tests.values()), tuple(problems))


def test_files(paths: Sequence[Path | str]) -> list[Path]:
    """The test files among `paths`, and those beside the rule files that are given by name.

    A path that leads nowhere has none: `read_pack` and `load_pack` report it.
    """
    found = find_files(paths)
    beside = [test_of(Path(given)) for given in paths if str(given).endswith(RULE)]
    tests = {path.resolve(): path for path in (*found.tests, *(p for p in beside if p.is_file()))}
    return list(tests.values())


def test_of(rule_file: Path) -> Path:
    """Where the proof of a rule file belongs."""
    return rule_file.with_name(rule_file.name.removesuffix(RULE) + TEST)


def rule_of(test_file: Path) -> Path:
    """The rule file that a test file proves."""
    return test_file.with_name(test_file.name.removesuffix(TEST) + RULE)


def _expand(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=_unreadable):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.endswith((".yml", ".yaml")))


def _unreadable(error: OSError) -> None:
    raise WorldFailed(f"{error.filename}: {error.strerror}") from error


def _bad_ending(path: Path) -> Problem | None:
    """A file that would be passed over in silence, or read as the wrong thing."""
    if path.name.endswith(".test.yml"):
        return Problem("test/file-ending", "a test file ends in `.test.yaml`", Location(str(path)),
                       f"rename it to `{path.name.removesuffix('.test.yml')}{TEST}`")
    if path.suffix != RULE:
        return Problem("rule/file-ending", "a rule file ends in `.yml`", Location(str(path)),
                       f"rename it to `{path.stem}{RULE}`")
    return None

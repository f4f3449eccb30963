"""ewdetect test"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ewdetect.cases import CaseFile, cases_from
from ewdetect.cli.options import json_or_text, rule_paths, with_neighbours
from ewdetect.cli.outcome import NO, YES
from ewdetect.cli.output import emit, progress
from ewdetect.cli.worlds import world_of
from ewdetect.load import load_fields, load_pack, only_document, rule_of, test_files
from ewdetect.model import Field, Pack
from ewdetect.mutate import run_mutants
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.report.json import mutation_json, results_json
from ewdetect.report.test_text import mutation_text, results_text
from ewdetect.test import World, run_cases


@click.command("test")
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option("--mutate", is_flag=True, help="Edit each rule in many small ways; some case must fail each time.")
@json_or_text
def command(paths: tuple[str, ...], mutate: bool, form: str) -> int:
    """Run the cases beside the rules.

    PATHS are rule files, test files and folders of them; left out, the rules that ship with ewdetect. Networks are
    found by name in fixtures/networks, of the current folder first.
    """
    fields = load_fields()
    chosen = rule_paths(paths)
    pack = load_pack(with_neighbours([_rule_beside(path) for path in chosen]), fields)
    files: list[CaseFile] = []
    problems: list[Problem] = []
    for path in test_files(chosen):
        try:
            files.append(cases_from(only_document(path, "test"), fields))
        except Rejected as rejected:
            problems += rejected.problems
    if not files and not problems:
        problems.append(Problem("test/none-found", "there is no test file here", Location(", ".join(map(str, chosen))),
                                "a rule's cases stand beside it in `<name>.test.yaml`"))
    if problems:
        raise Rejected(problems)
    world = world_of(fields)
    return _mutants(pack, files, world, fields, form) if mutate else _cases(pack, files, world, form)


def _rule_beside(path: Path) -> Path:
    return rule_of(path) if path.name.endswith(".test.yaml") and path.is_file() else path


def _cases(pack: Pack, files: Sequence[CaseFile], world: World, form: str) -> int:
    with progress("test") as update:
        results = run_cases(pack, files, world, lambda done: update(f"{done.case_file.rule} done"))
    emit(results_json(results) if form == "json" else results_text(results))
    return YES if results.passed else NO


def _mutants(pack: Pack, files: Sequence[CaseFile], world: World, fields: Mapping[str, Field], form: str) -> int:
    with progress("mutate") as update:
        results = [run_mutants(pack, file, world, fields, lambda done: update(done.mutant.what)) for file in files]
    emit(mutation_json(results) if form == "json" else mutation_text(results))
    return YES if all(result.passed for result in results) else NO

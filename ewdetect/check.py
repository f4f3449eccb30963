"""Everything that can be said about rules, their tests and a network without looking at a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from ewdetect.backends.sigma import hydrate
from ewdetect.cases import cases_from
from ewdetect.checks import CHECKS, Scope
from ewdetect.load import (
    Tuning,
    load_attack,
    load_fields,
    load_network,
    only_document,
    read_pack,
    rule_of,
    test_files,
)
from ewdetect.model import Field, Pack
from ewdetect.network import Network, lint
from ewdetect.problems import Problem, Rejected, ordered
from ewdetect.resolve import resolve_rule
from ewdetect.yamlfile import Document


def check_paths(paths: Sequence[Path | str], network_path: Path | str | None = None, tuning: Tuning | None = None,
                today: date | None = None) -> list[Problem]:
    """Every problem of the rules and tests under `paths`, of the tuning, and of the network file, in reading order.

    `today` is the day by which filters expire; left out, the day it is (UTC). Raises WorldFailed for a file that cannot
    be read.
    """
    fields = load_fields()
    pack, problems = read_pack(paths, fields, tuning)
    problems = problems or _not_sigma(pack)
    tests, test_problems = _tests(paths, fields)
    network, network_problems = _network(network_path, fields)
    scope = Scope(pack, fields, load_attack(), tests, network, today or datetime.now(UTC).date())
    policy = [problem for check in CHECKS for problem in check(scope)]
    return ordered(dict.fromkeys([*problems, *test_problems, *network_problems, *policy]))


def _not_sigma(pack: Pack) -> list[Problem]:
    """What pySigma has against rules that are fine by us: a condition that does not parse, above all."""
    problems: list[Problem] = []
    for rule in pack.rules.values():
        try:
            hydrate(resolve_rule(rule, pack))
        except Rejected as rejected:
            problems += rejected.problems
    return problems


def _tests(paths: Sequence[Path | str], fields: Mapping[str, Field],
           ) -> tuple[dict[Path, Document | None], list[Problem]]:
    """The test documents by the rule file that they prove, None where it is not YAML, and what is wrong in them."""
    documents: dict[Path, Document | None] = {}
    problems: list[Problem] = []
    for path in test_files(paths):
        rule_file = rule_of(path).resolve()
        documents[rule_file] = None
        try:
            documents[rule_file] = document = only_document(path, "test")
            cases_from(document, fields)
        except Rejected as rejected:
            problems += rejected.problems
    return documents, problems


def _network(path: Path | str | None, fields: Mapping[str, Field]) -> tuple[Network | None, list[Problem]]:
    if path is None:
        return None, []
    try:
        network = load_network(path, fields)
    except Rejected as rejected:
        return None, list(rejected.problems)
    return network, lint(network)

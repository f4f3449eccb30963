"""How much there is: rules, and what proves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ewdetect.attack import techniques
from ewdetect.cases import CaseFile, cases_from, rules_under_test
from ewdetect.load import only_document, test_files
from ewdetect.load.files import find_files
from ewdetect.model import Field, Pack
from ewdetect.mutate import mutants

# What is counted, in the order of `count`, and what each number means.
MEANINGS: Mapping[str, str] = {
    "rules": "documents: detections, and the rules that they stand on",
    "alerting rules": "detections",
    "families": "folders of rules",
    "cases": "flows, and all the alerts that they may give, beside the rules",
    "mutants": "edits of the rules, each of which must make a case fail",
    "recordings": "traffic that a real sensor wrote, with the truth beside it",
    "techniques": "techniques and sub-techniques of ATT&CK that a detection is tagged with",
}


def count(pack: Pack, paths: Sequence[Path], recordings: Path, fields: Mapping[str, Field]) -> Mapping[str, int]:
    """What there is in the rule files and folders `paths`, whose rules `pack` holds, and in the folder `recordings`.

    The keys are those of MEANINGS. Mutants are made, none is run; that takes seconds. Raises Rejected for a test file
    with problems.
    """
    files = {path.resolve() for path in find_files(paths).rules}
    rules = [rule for rule in pack.rules.values() if Path(rule.document.path).resolve() in files]
    alerting = [rule for rule in rules if rule.alerts]
    tests = [cases_from(only_document(path, "test"), fields) for path in test_files(paths)]
    numbers = (len(rules), len(alerting), len({rule.family for rule in alerting}),
               sum(len(test.cases) for test in tests), sum(_mutants(test, pack, fields) for test in tests),
               len([*recordings.glob("*/truth.yml")]), len({name for rule in alerting for name in techniques(rule)}))
    return dict(zip(MEANINGS, numbers, strict=True))


def _mutants(test: CaseFile, pack: Pack, fields: Mapping[str, Field]) -> int:
    """How many edits of its rule a test file is held to."""
    return sum(1 for rule in rules_under_test(test, pack)[:1] for _ in mutants(pack, rule, fields))

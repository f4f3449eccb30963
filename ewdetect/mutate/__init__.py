"""Whether the cases prove the rule: change one thing in the rule, and see that a case fails.

Changed are the documents of the rule's own file that its detection stands on. Rules of other files have their own
cases, and filters are the user's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from ewdetect.cases import Case, CaseFile, rules_under_test
from ewdetect.load.references import Surroundings, reference_problems
from ewdetect.model import Field, Kind, Pack, Rule
from ewdetect.mutate.edits import edits
from ewdetect.mutate.plain import Edit
from ewdetect.problems import Location, Rejected
from ewdetect.resolve import resolve_rule
from ewdetect.test import Flows, World, all_alerts, check_references, judge, open_flows, resolved_under_test

__all__ = ["Mutant", "MutationResults", "Verdict", "mutants", "run_mutants"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A pack in which one document differs: `what` was changed in `rule` at `location`."""

    what: str
    rule: str
    location: Location
    pack: Pack


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the case that failed, or why it could not run; neither, and it survived."""

    mutant: Mutant
    killed_by: str = ""
    refused: str = ""

    @property
    def survived(self) -> bool:
        return not (self.killed_by or self.refused)


@dataclass(frozen=True, slots=True)
class MutationResults:
    """The verdicts on one test file. With `failing` cases there are none: a red test proves nothing."""

    case_file: CaseFile
    verdicts: tuple[Verdict, ...]
    failing: tuple[str, ...] = ()

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        return tuple(verdict.mutant for verdict in self.verdicts if verdict.survived)

    @property
    def passed(self) -> bool:
        return not self.failing and not self.survivors


def mutants(pack: Pack, rule: Rule, fields: Mapping[str, Field]) -> Iterator[Mutant]:
    """Every mutant of a rule: none of them twice, none like the original, none that `load` would refuse.

    Refused is, for one, an inner correlation without the group-by field that the outer one groups by.
    """
    for part in resolve_rule(rule, pack).parts:
        if part.document.path != rule.document.path:
            continue
        seen = {_fingerprint(part.body)}
        for edit in edits(part.body, alerts=part.alerts or part is rule):
            mutated = _edited(pack, part, edit)
            if (fingerprint := _fingerprint(edit.body)) not in seen and _loads(mutated, rule, fields):
                seen.add(fingerprint)
                yield Mutant(edit.what, part.name, part.document.at(*edit.path), mutated)


def run_mutants(pack: Pack, case_file: CaseFile, world: World, fields: Mapping[str, Field],
                progress: Callable[[Verdict], None] = lambda _: None) -> MutationResults:
    """Judge every mutant of the file's rule. Raises Rejected for references that nothing answers to.

    The flows of each case are taken in once and serve every mutant. So `world` must give the engine every context
    and derived field, not only those that the rule reads: a mutant may read the other side's.
    """
    check_references(pack, [case_file], world)
    with ExitStack() as stack:
        opened = [(case, stack.enter_context(closing(open_flows(case, case_file, world))))
                  for case in _quick_first(case_file.cases)]
        failing = tuple(case.name for case, flows in opened if _fails(case, flows, case_file, pack))
        if failing:
            return MutationResults(case_file, (), failing)
        verdicts = []
        for mutant in mutants(pack, rules_under_test(case_file, pack)[0], fields):
            verdicts.append(_verdict(mutant, opened, case_file))
            progress(verdicts[-1])
    return MutationResults(case_file, tuple(verdicts))


def _verdict(mutant: Mutant, opened: list[tuple[Case, Flows]], case_file: CaseFile) -> Verdict:
    """Stops at the first case that fails and puts it in front: mutants of one place fall to the same case."""
    try:
        for n, (case, flows) in enumerate(opened):
            if _fails(case, flows, case_file, mutant.pack):
                opened.insert(0, opened.pop(n))
                return Verdict(mutant, killed_by=case.name)
    except Rejected as error:
        return Verdict(mutant, refused=error.problems[0].message)
    return Verdict(mutant)


def _fails(case: Case, flows: Flows, case_file: CaseFile, pack: Pack) -> bool:
    return bool(judge(case, all_alerts(flows, resolved_under_test(case_file, pack))))


def _quick_first(cases: Sequence[Case]) -> list[Case]:
    """Cases with thousands of flows last: most mutants fall before them."""
    return sorted(cases, key=lambda case: (bool(case.recording or case.on), len(case.flows) > 1000))


def _edited(pack: Pack, part: Rule, edit: Edit) -> Pack:
    changed = replace(part, body=edit.body, refers_to=_references(part, edit.body))
    return replace(pack, rules={name: changed if rule is part else rule for name, rule in pack.rules.items()})


def _loads(pack: Pack, rule: Rule, fields: Mapping[str, Field]) -> bool:
    parts = resolve_rule(pack.rules[rule.name], pack).parts
    return next(reference_problems(parts, Surroundings(pack, fields, frozenset(pack.rules))), None) is None


def _references(part: Rule, body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(body["correlation"]["rules"]) if part.kind is Kind.CORRELATION else part.refers_to


def _fingerprint(body: Mapping[str, Any]) -> str:
    """What the document says. The order of keys says nothing; the order of lists may."""
    return json.dumps(body, sort_keys=True)

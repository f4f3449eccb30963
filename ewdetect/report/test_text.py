"""The results of `test` and `test --mutate` as text, for a person or a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ewdetect.cases import Expected, clock_text
from ewdetect.model import Alert
from ewdetect.mutate import MutationResults, Verdict
from ewdetect.test import CaseResult, Difference, FileResult, Missing, Results, rows_of


def results_text(results: Results) -> str:
    """One line for each test file, the differences of each case that failed, and the sum."""
    lines = [line for file in results.files for line in _file(file)]
    cases = [case for file in results.files for case in file.results]
    failed = sum(not case.passed for case in cases)
    total = f"{_count(len(cases), 'case')} in {_count(len(results.files), 'file')}"
    return "\n".join([*lines, "", f"{total}: {failed} failed" if failed else f"{total}: all passed"]) + "\n"


def mutation_text(results: Sequence[MutationResults]) -> str:
    """One line for each test file, every mutant that survived or could not run, and the sum."""
    lines = [line for file in results for line in _mutated(file)]
    total, survived = sum(len(file.verdicts) for file in results), sum(len(file.survivors) for file in results)
    refused = sum(bool(verdict.refused) for file in results for verdict in file.verdicts)
    killed = f"{total - survived - refused} of {_count(total, 'mutant')} killed, {survived} survived"
    return "\n".join([*lines, "", killed + (f", {refused} could not run" if refused else "")]) + "\n"


def _file(file: FileResult) -> Iterator[str]:
    failed = sum(not result.passed for result in file.results)
    verdict = f"{failed} of {_count(len(file.results), 'case')} failed" if failed else _count(len(file.results), "case")
    yield f"{'FAIL' if failed else 'ok  '}  {file.case_file.rule}: {verdict}"
    for result in file.results:
        if not result.passed:
            yield from _case(result)


def _case(result: CaseResult) -> Iterator[str]:
    yield f"      {result.case.location}: {result.case.name}"
    for difference in result.differences:
        yield from (f"        {line}" for line in _difference(difference))


def _difference(difference: Difference) -> Iterator[str]:
    if not isinstance(difference, Missing):
        yield f"not listed: {_alert(difference.alert)}"
        return
    yield f"missing:    {_expected(difference.expected)} (line {difference.expected.location.line})"
    if difference.nearest:
        yield f"  nearest:  {_alert(difference.nearest)}"
        yield from (f"            but {reason}" for reason in difference.reasons)


def _expected(expected: Expected) -> str:
    at = f" at {clock_text(expected.at)}" if expected.at is not None else ""
    flows = f", flows {', '.join(expected.flows)}" if expected.flows else ""
    return f"{expected.rule}{at}{_group(expected.group)}{flows}"


def _alert(alert: Alert) -> str:
    rows = [f"{row} ({count})" for row, count in rows_of(alert.evidence).items()]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"{alert.rule.name} at {clock_text(alert.crossing)}{_group(alert.group)}, flows {', '.join(rows[:5])}{more}"


def _group(group: Mapping[str, Any]) -> str:
    return "".join(f", {key} {value}" for key, value in group.items())


def _mutated(file: MutationResults) -> Iterator[str]:
    if file.failing:
        yield f"FAIL  {file.case_file.rule}: not mutated, its cases fail: {'; '.join(file.failing)}"
        return
    survived = len(file.survivors)
    yield f"{'FAIL' if survived else 'ok  '}  {file.case_file.rule}: {_count(len(file.verdicts), 'mutant')}" \
        + (f", {survived} survived" if survived else "")
    yield from (line for verdict in file.verdicts for line in _verdict(verdict))


def _verdict(verdict: Verdict) -> Iterator[str]:
    if verdict.survived:
        yield f"      {verdict.mutant.location}: {verdict.mutant.what}: no case fails"
    if verdict.refused:
        yield f"      {verdict.mutant.location}: {verdict.mutant.what}: cannot run: {verdict.refused}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

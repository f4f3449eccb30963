"""Run the cases beside the rules: flows in, and exactly the listed alerts out.

Which engine answers is for the caller to say, through `open_case`: the same cases prove the reference engine and
every converted query.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from ewdetect.cases import Case, CaseFile, Expected, clock_text, reference_problems, rules_under_test
from ewdetect.model import Alert, Pack
from ewdetect.network import Network
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule


class Flows(Protocol):
    """Flows that an engine has taken in, ready for any number of rules."""

    def alerts(self, resolved: ResolvedRule) -> list[Alert]:
        """All alerts of one rule. Raises Rejected for a rule that the engine cannot say."""
        ...

    def close(self) -> None: ...


OpenCase = Callable[[Sequence[Mapping[str, Any]], Network], Flows]
OpenRecording = Callable[[str, Network], Flows]
ReadBaseline = Callable[[str], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class World:
    """What cases run in: networks by name, and who takes the flows in.

    `open_recording` and `read_baseline` get the path as the case has it, below fixtures/; they are needed only
    where a case has one.
    """

    networks: Mapping[str, Network]
    open_case: OpenCase
    open_recording: OpenRecording | None = None
    read_baseline: ReadBaseline | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """An expected alert that did not come; `nearest` is the alert that came closest, and `reasons` why it is
    not the one."""

    expected: Expected
    nearest: Alert | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unexpected:
    """An alert that came and is not listed."""

    alert: Alert


Difference = Missing | Unexpected


@dataclass(frozen=True, slots=True)
class CaseResult:
    case: Case
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class FileResult:
    case_file: CaseFile
    results: tuple[CaseResult, ...]

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.results)


@dataclass(frozen=True, slots=True)
class Results:
    files: tuple[FileResult, ...]

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.files)


def run_cases(pack: Pack, case_files: Sequence[CaseFile], world: World,
              progress: Callable[[FileResult], None] = lambda _: None) -> Results:
    """Run every case. Raises Rejected for references that nothing answers to, before anything runs."""
    check_references(pack, case_files, world)
    results = []
    for case_file in case_files:
        rules = resolved_under_test(case_file, pack)
        results.append(FileResult(case_file, tuple(_run(case, case_file, rules, world) for case in case_file.cases)))
        progress(results[-1])
    return Results(tuple(results))


def check_references(pack: Pack, case_files: Sequence[CaseFile], world: World) -> None:
    """Raises Rejected with every rule, network and alias that a test file names and that does not exist."""
    problems = [p for case_file in case_files for p in reference_problems(case_file, pack, world.networks.keys())]
    if problems:
        raise Rejected(problems)


def resolved_under_test(case_file: CaseFile, pack: Pack) -> tuple[ResolvedRule, ...]:
    """The file's rule and the alerting rules below it, each as the engine takes it."""
    return tuple(resolve_rule(rule, pack) for rule in rules_under_test(case_file, pack))


def all_alerts(flows: Flows, rules: Sequence[ResolvedRule]) -> list[Alert]:
    """The alerts of all rules on the same flows."""
    return [alert for rule in rules for alert in flows.alerts(rule)]


def open_flows(case: Case, case_file: CaseFile, world: World) -> Flows:
    """The flows of one case, taken in. The caller closes them."""
    network = world.networks[case_file.network]
    if case.recording is not None:
        if world.open_recording is None:
            raise ValueError(f"case `{case.name}` needs `open_recording`")
        return world.open_recording(case.recording, network)
    return world.open_case([*_baseline(case, world), *case.flows], network)


def judge(case: Case, alerts: Sequence[Alert]) -> tuple[Difference, ...]:
    """What differs between the alerts that came and those expected, each of them compared to exactly one."""
    reasons = [[_reasons(expected, alert, case) for alert in alerts] for expected in case.expected]
    pairs = _pair([[n for n, why in enumerate(row) if not why] for row in reasons])
    left = [n for n in range(len(alerts)) if n not in pairs.values()]
    missing = [_missing(expected, [(alerts[n], reasons[i][n]) for n in left])
               for i, expected in enumerate(case.expected) if i not in pairs]
    return (*missing, *(Unexpected(alerts[n]) for n in left))


def rows_of(evidence: Sequence[str]) -> dict[str, int]:
    """Row id → number of its flows in the evidence, in order of appearance."""
    rows: dict[str, int] = {}
    for flow in evidence:
        row = flow.rpartition(".")[0] or flow
        rows[row] = rows.get(row, 0) + 1
    return rows


def _baseline(case: Case, world: World) -> Sequence[Mapping[str, Any]]:
    if case.on is None:
        return ()
    if world.read_baseline is None:
        raise ValueError(f"case `{case.name}` needs `read_baseline`")
    return world.read_baseline(case.on)


def _run(case: Case, case_file: CaseFile, rules: Sequence[ResolvedRule], world: World) -> CaseResult:
    begun = time.perf_counter()
    with closing(open_flows(case, case_file, world)) as flows:
        differences = judge(case, all_alerts(flows, rules))
    return CaseResult(case, differences, time.perf_counter() - begun)


def _pair(fits: Sequence[Sequence[int]]) -> dict[int, int]:
    """Expected → actual, as many pairs as there can be: augmenting paths, because one alert may fit two
    expectations of which the other fits nothing else."""
    taken: dict[int, int] = {}

    def place(expected: int, tried: set[int]) -> bool:
        for actual in fits[expected]:
            if actual not in tried:
                tried.add(actual)
                if actual not in taken or place(taken[actual], tried):
                    taken[actual] = expected
                    return True
        return False

    for expected in range(len(fits)):
        place(expected, set())
    return {expected: actual for actual, expected in taken.items()}


def _missing(expected: Expected, left: Sequence[tuple[Alert, tuple[str, ...]]]) -> Missing:
    same_rule = [(alert, why) for alert, why in left if alert.rule.name == expected.rule]
    nearest, reasons = min(same_rule, key=lambda found: len(found[1]), default=(None, ()))
    return Missing(expected, nearest, reasons)


def _reasons(expected: Expected, alert: Alert, case: Case) -> tuple[str, ...]:
    """Why the alert is not the expected one; empty if it is."""
    return tuple(_why_not(expected, alert, case))


def _why_not(expected: Expected, alert: Alert, case: Case) -> Iterator[str]:
    if alert.rule.name != expected.rule:
        yield f"the rule is {alert.rule.name}"
    for key, wanted in expected.group.items():
        given = _values(key, alert, case)
        if not given or any(not _same(value, wanted) for value in given):
            yield f"{key} is {' and '.join(sorted(map(str, given))) or 'not known'}, not {wanted}"
    if expected.at is not None and alert.crossing != expected.at:
        yield f"it crosses at {clock_text(alert.crossing)}, not at {clock_text(expected.at)}"
    if expected.flows:
        yield from _evidence_differs(expected.flows, rows_of(alert.evidence))


def _evidence_differs(wanted: Sequence[str], rows: Mapping[str, int]) -> Iterator[str]:
    if absent := [row for row in wanted if row not in rows]:
        yield f"its evidence has no flow of {', '.join(absent)}"
    if foreign := [row for row in rows if row not in wanted]:
        yield f"its evidence has flows of {', '.join(foreign[:5])} too"


def _values(key: str, alert: Alert, case: Case) -> set[Any]:
    """What the alert says of `key`: its group value, or else what all the flows of its evidence have there."""
    if key in alert.group:
        return {alert.group[key]}
    evidence = set(alert.evidence)
    return {flow.get(key) for flow in case.flows if flow["event.id"] in evidence} - {None}


def _same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) or str(value).lower() == str(wanted).lower()

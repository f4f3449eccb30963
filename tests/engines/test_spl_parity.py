"""Every correlation of the pack as SPL, executed: the same alerts as the reference engine, case by case.

Sources `flow`, context inline and enriched. Then three faults put into the emitter, each of which this suite must see.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from ewdetect.backends.splunk import stages
from ewdetect.cases import Case, CaseFile, cases_from, rules_under_test
from ewdetect.engine import open_flows
from ewdetect.load import load_orientation
from ewdetect.model import Kind, Rule
from ewdetect.plan import Selection, plan
from ewdetect.resolve import resolve_rule
from ewdetect.yamlfile import read_documents
from tests.convert_world import ROOT, fields, office, pack, sayable, source
from tests.engines.spl_world import Hit, converted, documents, searched, told

CONTEXTS = ("inline", "enriched")


@cache
def case_files() -> tuple[CaseFile, ...]:
    """The test files of the rules that a SIEM can say."""
    paths = sorted((ROOT / "rules").rglob("*.test.yaml"))
    files = (cases_from(read_documents(path)[0], fields()) for path in paths)
    return tuple(found for found in files if sayable(pack().rules[found.rule]))


def correlations() -> list[Rule]:
    """The alerting correlations that a SIEM can say."""
    return [rule for rule in pack().alerting() if rule.kind is Kind.CORRELATION and sayable(rule)]


def windowed(case_file: CaseFile) -> tuple[Rule, ...]:
    """The rules of a test file that have windows or steps, suppression among them."""
    return tuple(rule for rule in rules_under_test(case_file, pack())
                 if not isinstance(plan(resolve_rule(rule, pack()))[-1], Selection))


@cache
def expected(path: str, name: str) -> dict[str, list[Hit]]:
    """What the reference engine says of one case, by rule."""
    case_file = next(f for f in case_files() if f.path == path)
    case = next(c for c in case_file.cases if c.name == name)
    with open_flows(case.flows, office(), source("flow"), fields(), load_orientation()) as engine:
        return {rule.name: told(engine.alerts(resolve_rule(rule, pack()))) for rule in windowed(case_file)}


def differences(case_file: CaseFile, context: str) -> tuple[int, int, list[Any]]:
    """Executions, alerts, and the cases in which the two disagree."""
    executions, alerts, wrong = 0, 0, []
    for rule in windowed(case_file):
        resolved = resolve_rule(rule, pack(), source("flow"), office())
        text = converted(resolved, context)
        for case in case_file.cases:
            wanted = expected(case_file.path, case.name)[rule.name]
            found = searched(text, resolved, documents(case.flows, context == "enriched"), seed=7)
            executions, alerts = executions + 1, alerts + len(wanted)
            if found != wanted:
                wrong.append((rule.name, case.name, wanted, found))
    return executions, alerts, wrong


def plain(case: Case) -> bool:
    return case.on is None and case.recording is None


def test_cases_are_flows_in_the_office() -> None:
    assert all(f.network == "office" and all(map(plain, f.cases)) for f in case_files())


def test_every_correlation_of_the_pack_is_proved() -> None:
    proved = {rule.name for case_file in case_files() for rule in windowed(case_file)}
    assert proved >= {rule.name for rule in correlations()}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("case_file", [f for f in case_files() if windowed(f)], ids=lambda f: f.rule)
def test_the_same_alerts(case_file: CaseFile, context: str) -> None:
    executions, alerts, wrong = differences(case_file, context)
    assert not wrong, f"{len(wrong)} of {executions} wrong, first: {wrong[0]}"
    assert alerts


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("rule", correlations(), ids=lambda r: r.name)
def test_one_line_of_allowed_commands(rule: Rule, context: str) -> None:
    text = converted(resolve_rule(rule, pack(), source("flow"), office()), context)
    assert "\n" not in text and text.count("| sort ") == text.count("| sort 0 ")
    assert not {"join", "transaction", "append", "multisearch", "table"} & set(text.split())


# ---------------------------------------------------------------- faults

def tumbling(window: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Rows in buckets of the timespan, in place of a sweep."""
    def faulty(stage: Any, inputs: Any) -> list[str]:
        made = window(stage, inputs)
        first = next(n for n, command in enumerate(made) if command.startswith("stats "))
        return [*made[:first], f"bin _time span={stages.seconds(stage.timespan)}s", *made[first:]]
    return faulty


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tumbling bucket": ("ewdetect.backends.splunk.correlation.window", tumbling),
    "threshold off by one": ("ewdetect.backends.splunk.stages._number", lambda _: lambda value: str(value + 1)),
    "window closed on both sides": ("ewdetect.backends.splunk.stages.seconds",
                                    lambda seconds: lambda span: f"{seconds(span)}.000001"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_emitter_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, change = FAULTS[fault]
    module, _, name = place.rpartition(".")
    monkeypatch.setattr(place, change(getattr(__import__(module, fromlist=[name]), name)))
    assert any(differences(case_file, "enriched")[2] for case_file in case_files())

"""Every rule of the pack as a saved search of Splunk, its schedule replayed: the same alerts as the reference engine.

Sources flow, Suricata and Zeek; raw events and the data model; context inline and from the lookup. Then faults put into
the emitter, each of which this suite must see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ewdetect.backends.splunk import stages
from ewdetect.backends.splunk.period import Run
from ewdetect.model import Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests.convert_world import SOURCES, office, pack, sayable, source
from tests.engines.ledger import Entry, Ledger
from tests.engines.spl_parity import CONTEXTS, DIALECTS, Parity, case_files, parity, plain, proved, saved

LANGUAGES = {"spl": "SPL", "tstats": "SPL tstats"}


def test_cases_are_flows_in_the_office() -> None:
    assert all(f.network == "office" and all(map(plain, f.cases)) for f in case_files()
               if sayable(pack().rules[f.rule]))


def test_every_rule_is_proved() -> None:
    assert {rule.name for _, rule in proved()} == {rule.name for rule in pack().alerting()}


def entry(found: Parity) -> Entry:
    refused = found.verdict == "refused"
    return Entry(found.rule, LANGUAGES[found.target], found.mode, found.source, found.cases, found.executions,
                 found.alerts, len(found.mismatches), not refused and bool(found.reasons),
                 found.reasons if refused else ())


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("source_name", SOURCES)
@pytest.mark.parametrize("pair", proved(), ids=lambda pair: pair[1].name)
def test_the_same_alerts(ledger: Ledger, pair: Any, source_name: str, dialect: str, context: str) -> None:
    found = parity(pair[0], pair[1], source_name, dialect, context)
    ledger.add(entry(found))
    assert not found.mismatches, f"{len(found.mismatches)} of {found.cases} cases, first: {found.mismatches[0]}"
    if found.verdict == "refused":
        assert found.reasons        # docs/parity.md has them, and a new one shows there
    else:
        assert found.cases and found.executions > found.cases


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("rule", pack().alerting(), ids=lambda r: r.name)
def test_one_line_of_allowed_commands(rule: Rule, dialect: str, context: str) -> None:
    try:
        search, query = saved(resolve_rule(rule, pack(), source("flow"), office()), dialect, context)
    except Rejected:
        return
    text = search.search
    assert text == query.text and "\n" not in text and text.count("| sort ") == text.count("| sort 0 ")
    assert text.endswith(f"| `ewdetect_{rule.name}_filter`")
    assert not {"join", "transaction", "append", "multisearch", "table", "time_window"} & set(text.split())


# ---------------------------------------------------------------- faults

SPLUNK = "ewdetect.backends.splunk."


def tumbling(window: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Rows in buckets of the timespan, in place of a sweep."""
    def faulty(stage: Any, inputs: Any) -> list[str]:
        made = window(stage, inputs)
        first = next(n for n, command in enumerate(made) if command.startswith("stats "))
        return [*made[:first], f"bin _time span={stages.seconds(stage.timespan)}s", *made[first:]]
    return faulty


def bare(operand: Callable[..., str]) -> Callable[..., str]:
    """AND and OR side by side, as the stock converter prints them."""
    assert callable(operand)
    return lambda self, arg, state: str(self.convert_condition(arg, state))


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tumbling bucket": ("search.window", tumbling),
    "dropped parenthesis": ("spl.SplPrinter._operand", bare),
    "threshold off by one": ("stages._number", lambda _: lambda value: str(value + 1)),
    "window closed on both sides": ("stages.seconds", lambda seconds: lambda span: f"{seconds(span)}.000001"),
    "look-back without the window": ("content.run_of", lambda run_of: lambda found, setting: _short(
        run_of(found, setting), found.window)),
    "no guard of the period": ("search.guard", lambda _: lambda run: []),
    "guard of two periods": ("search.guard", lambda guard: lambda run: guard(replace(run, period=2 * run.period))),
}
SEEN_BY = ("smb_fanout", "peer_workstation_admin", "db_unapproved_role")


def _short(run: Run, window: int) -> Run:
    return replace(run, earliest=run.earliest - window)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_emitter_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, change = FAULTS[fault]
    module, _, name = f"{SPLUNK}{place}".rpartition(".")
    holder: Any = __import__(SPLUNK + place.split(".")[0], fromlist=["x"])
    for part in place.split(".")[1:-1]:
        holder = getattr(holder, part)
    monkeypatch.setattr(holder, name, change(getattr(holder, name)))
    pairs = [pair for pair in proved() if pair[1].name in SEEN_BY]
    assert module and any(parity(pair[0], pair[1], name_, "spl", "enriched").mismatches for pair in pairs
                          for name_ in ("flow", "zeek_conn"))

"""Every rule as Splunk would run it, against the reference engine: what `--format rule` prints is read and replayed.

One execution for each period of the schedule, over the time range of the saved search, of the events that had come by
then; each row of a result is an alert. Periods without any event are quiet, so of a row of them only the first is run.
"""

from __future__ import annotations

import configparser
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.backends.splunk.events import setting_of
from ewdetect.backends.splunk.lookup import lookup_csv
from ewdetect.backends.splunk.query import SplunkBackend
from ewdetect.backends.splunk.search import columns_of
from ewdetect.cases import Case, CaseFile, cases_from, rules_under_test
from ewdetect.convert import convert_rule
from ewdetect.engine import open_flows
from ewdetect.load import load_orientation
from ewdetect.model import Alert, Rule
from ewdetect.network import Network
from ewdetect.plan import Selection, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from ewdetect.yamlfile import read_documents
from tests.convert_world import ROOT, fields, office, pack, source
from tests.engines.spl import Lookup, run
from tests.engines.spl.times import relative
from tests.engines.spl_documents import SECOND, Event, events_of, models

CONTEXTS = ("inline", "enriched")
DIALECTS = ("spl", "tstats")
Hit = tuple[tuple[str, ...], int, float]        # group values in the order of the keys, crossing in µs, value


@dataclass(frozen=True, slots=True)
class Parity:
    """What the replay of one rule shows. `skipped` are cases that the source cannot write."""

    rule: str
    source: str
    target: str
    mode: str
    verdict: str                    # exact, exact with caveat, refused
    reasons: tuple[str, ...]        # caveats, or why it is refused
    cases: int = 0
    skipped: int = 0
    executions: int = 0
    alerts: int = 0
    mismatches: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved search and its macros, as read from the .conf text."""

    search: str
    macros: Mapping[str, str]
    earliest: str
    latest: str
    first: int          # the minute of the cron, and the minutes between two runs
    every: int
    columns: tuple[str, ...]


# ---------------------------------------------------------------- what is replayed

def saved(resolved: ResolvedRule, dialect: str, context: str) -> tuple[Saved, Query]:
    """The saved search of a rule. Raises Rejected."""
    backend = SplunkBackend()
    query = convert_rule(resolved, backend, context, dialect)
    stanzas = conf(backend.content(resolved, query))
    name, keys = next((n, s) for n, s in stanzas.items() if n.startswith("EW - "))
    minute = keys["cron_schedule"].split()[0]
    first, _, every = minute.replace("-59", "").partition("/")
    columns = columns_of(plan(resolved), setting_of(resolved, context, backend.target(dialect)))
    macros = {n: s["definition"] for n, s in stanzas.items() if n != name}
    macros["ewdetect_summaries"] = "summariesonly=false allow_old_summaries=true"
    return Saved(keys["search"], macros, keys["dispatch.earliest_time"], keys["dispatch.latest_time"], int(first),
                 int(every or 60), columns), query


def conf(text: str) -> dict[str, dict[str, str]]:
    """Stanzas of .conf text, by an independent reader."""
    reader = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",), interpolation=None, strict=True)
    reader.optionxform = str        # type: ignore[assignment,method-assign]
    reader.read_string(text)
    return {name: dict(reader[name]) for name in reader.sections()}


def lookup(network: Network) -> Mapping[str, Lookup]:
    """The context lookup, from the file that users are given."""
    rows = list(csv.DictReader(io.StringIO(lookup_csv(network, "cidr", "inside"))))
    return {"ewdetect_context": Lookup(rows, {"cidr": "CIDR"}, max_matches=1)}


@cache
def office_lookup() -> Mapping[str, Lookup]:
    return lookup(office())


def runs(search: Saved, starts: Sequence[Decimal], delay: int) -> Iterator[int]:
    """The epoch seconds of the runs that judge a period with a flow in it, and of the first quiet one after each."""
    period = search.every * 60
    offset = search.first * 60
    judged = {int(-(-(start + delay - offset + Decimal("0.0000001")) // period)) * period + offset for start in starts}
    yield from sorted(judged | {now + period for now in judged} | {now - period for now in judged})


def replay(search: Saved, events: Sequence[Event], starts: Sequence[Decimal], delay: int, name: str,
           lookups: Mapping[str, Lookup], seed: int | None = 7) -> tuple[int, list[Hit]]:
    """How many executions there were, and the alerts of all of them."""
    executions, rows = replayed(search, events, starts, delay, name, lookups, seed)
    return executions, sorted((tuple(str(row[c]) for c in search.columns), int(row["window_end"] * SECOND),
                               float(row["value"])) for row in rows)


def replayed(search: Saved, events: Sequence[Event], starts: Sequence[Decimal], delay: int, name: str,
             lookups: Mapping[str, Lookup], seed: int | None = 7) -> tuple[int, list[Mapping[str, Any]]]:
    """How many executions there were, and the rows of all of them."""
    executions = 0
    rows: list[Mapping[str, Any]] = []
    for now in runs(search, starts, delay):
        earliest, latest = relative(search.earliest, now), relative(search.latest, now)
        there = [e.fields for e in events if e.seen <= now and earliest <= e.fields["_time"] < latest]
        executions += 1
        rows += run(search.search, there, lookups=lookups, macros=search.macros, datamodels=models(name),
                    earliest=earliest, latest=latest, now=now, shuffle=seed)
    return executions, rows


# ---------------------------------------------------------------- the pack

@cache
def case_files() -> tuple[CaseFile, ...]:
    paths = sorted((ROOT / "rules").rglob("*.test.yaml"))
    return tuple(cases_from(read_documents(path)[0], fields()) for path in paths)


def windowed(case_file: CaseFile) -> tuple[Rule, ...]:
    """The alerting rules of a test file that have windows or steps, suppression among them."""
    return tuple(rule for rule in rules_under_test(case_file, pack())
                 if rule.alerts and not isinstance(plan(resolve_rule(rule, pack()))[-1], Selection))


def proved() -> tuple[tuple[CaseFile, Rule], ...]:
    return tuple((f, rule) for f in case_files() for rule in windowed(f))


def told(alerts: Sequence[Alert]) -> list[Hit]:
    """The alerts of the reference engine in the same form."""
    return sorted((tuple(str(value) for value in alert.group.values()), alert.crossing, float(alert.value or 0))
                  for alert in alerts)


@cache
def expected(path: str, name: str, whole_seconds: bool) -> dict[str, list[Hit]]:
    """What the reference engine says of one case, by rule."""
    case_file = next(f for f in case_files() if f.path == path)
    case = next(c for c in case_file.cases if c.name == name)
    flows = [floored(flow) for flow in case.flows] if whole_seconds else case.flows
    with open_flows(flows, office(), source("flow"), fields(), load_orientation()) as engine:
        return {rule.name: told(engine.alerts(resolve_rule(rule, pack()))) for rule in windowed(case_file)}


def floored(flow: Mapping[str, Any]) -> dict[str, Any]:
    return {**flow, "event.start": flow["event.start"] // SECOND * SECOND}


@cache
def case_events(path: str, name: str, source_name: str) -> tuple[Event, ...] | None:
    case_file = next(f for f in case_files() if f.path == path)
    return events_of(source_name, next(c for c in case_file.cases if c.name == name).flows)


def parity(case_file: CaseFile, rule: Rule, source_name: str, dialect: str, context: str) -> Parity:
    """The replay of every case of a rule's test file."""
    resolved = resolve_rule(rule, pack(), source(source_name), office())
    try:
        search, query = saved(resolved, dialect, context)
    except Rejected as rejected:
        return Parity(rule.name, source_name, dialect, context, "refused", tuple(p.message for p in rejected.problems))
    assert query.schedule is not None
    done, skipped, executions, alerts, wrong = 0, 0, 0, 0, []
    for case in case_file.cases:
        events = case_events(case_file.path, case.name, source_name)
        if events is None:
            skipped += 1
            continue
        split = dialect == "tstats" and any(flow["event.start"] % SECOND for flow in case.flows)
        wanted = expected(case_file.path, case.name, split)[rule.name]
        starts = [Decimal(flow["event.start"]) / SECOND for flow in case.flows]
        ran, found = replay(search, events, starts, query.schedule.delay, source_name,
                            office_lookup() if context == "enriched" else {})
        done, executions, alerts = done + 1, executions + ran, alerts + len(wanted)
        if found != wanted:
            wrong.append((case.name, wanted, found))
    verdict = "exact with caveat" if query.caveats else "exact"
    return Parity(rule.name, source_name, dialect, context, verdict, query.caveats, done, skipped, executions, alerts,
                  tuple(wrong))


def plain(case: Case) -> bool:
    """Whether a case is flows alone, in the office network."""
    return case.on is None and case.recording is None

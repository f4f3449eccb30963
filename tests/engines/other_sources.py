"""The sources beside flow, Zeek and Suricata, executed: flows of the rules' cases as records of each, in both SIEMs.

Every source with a mapping is found by itself. What its records cannot tell is taken off the flows for the reference
engine as well, and a flow that they do not show is none of its account. Beside some records stand others of the
sensor's that the mapping must pass over; where records may repeat, some do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.cases import Case
from ewdetect.convert import backend, convert_rule
from ewdetect.load import load_sources
from ewdetect.model import Rule
from ewdetect.plan import seconds as timespan
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from ewdetect.schedule import LASTING_KEY, lasting
from tests.convert_world import REPRESENTATIVE, ROOT, SOURCES, derived, office, pack
from tests.engines.elastic_world import context, properties
from tests.engines.elasticsearch.client import Client
from tests.engines.esql_parity import judged, replayed
from tests.engines.kibana import Flow as Document
from tests.engines.ledger import Entry
from tests.engines.spl.times import SEARCHER, strftime
from tests.engines.spl_documents import SECOND, Event
from tests.engines.spl_parity import case_files, office_lookup, replay, saved
from tests.engines.writer import DURATION, SHARED, START, Flow, Shape, beside, written

MAPPED = tuple((s.name, siem) for siem in SHARED for s in load_sources()
               if s.name not in SOURCES and (ROOT / "mappings" / s.name / f"{siem}.yml").is_file())
# One rule for each thing that conversion does, and some that stand on denials, refusals, durations and long flows.
RULES = (*REPRESENTATIVE, "auth_spray_short", "deny_breadth", "log_path_broken", "long_session", "scan_hosts_failed")
ENRICHED = ("db_unapproved_role", "env_crossing")       # rules that are run with the SIEM's own context too
ALERTING, QUIET = 3, 2              # cases of a rule: all of them on all sources would take an hour
BESIDE = 3                          # of so many flows, one has another record of the sensor beside it
AGAIN = 2 * SECOND                  # after which a record is written once more
LANGUAGES = {"elastic": "ES|QL", "splunk": "SPL"}
Hit = tuple[int, tuple[str, ...], int]          # number of the case, group values, crossing in ms or µs


@dataclass(frozen=True, slots=True)
class Laid:
    """A record where it lies. `told` is its flow, None where no query may find it; `start` is what the SIEM takes for
    the start of the flow, times are in microseconds."""

    told: Flow | None
    record: Mapping[str, Any]
    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class Ran:
    """One rule on one source: what the ledger keeps, alerts that differ, and groups that repetition has lost."""

    entry: Entry
    wrong: tuple[Hit, ...] = ()
    lost: tuple[Any, ...] = ()


# ---------------------------------------------------------------- records

def cases_of(rule: str) -> tuple[Case, ...]:
    """Some cases of a rule's own file, spread over it: those that alert and those that must not."""
    case_file = next(file for file in case_files() if file.rule == rule)
    alerting, quiet = ([c for c in case_file.cases if bool(c.expected) is alerts] for alerts in (True, False))
    return (*_spread(alerting, ALERTING), *_spread(quiet, QUIET))


def _spread(cases: Sequence[Case], most: int) -> Sequence[Case]:
    return cases[::max(1, -(-len(cases) // most))]


def laid(flows: Sequence[Flow], made: Shape) -> Iterator[Laid]:
    """The records of flows, some of them written again where the mapping says that they may be, and others beside."""
    for number, flow in enumerate(_repeated(flows) if made.vocabulary.repeats else flows):
        if (found := written(flow, made, number)) is None:
            continue
        lasted = round(((found.flow or flow).get(DURATION) or flow.get(DURATION) or 0) * SECOND)
        start = _cut(flow[START] + (lasted if _has_ends(made) else 0), made)
        end = start if _has_ends(made) else start + lasted
        yield Laid(found.flow and {**found.flow, START: start}, found.record, start, end, number)
        if number % BESIDE == 0 and (other := beside(found.record, made, number // BESIDE)):
            yield Laid(None, other, start, end, number)


def _repeated(flows: Sequence[Flow]) -> list[Flow]:
    return [*flows, *({**flow, START: flow[START] + AGAIN, "event.id": f"{flow['event.id']} again"}
                      for flow in flows[::2])]


def _has_ends(made: Shape) -> bool:
    """Whether the SIEM has the end of a flow for its time: where only ewdetect's reader takes the duration off."""
    own = made.vocabulary.start or made.names.get(START, "@timestamp") != "@timestamp"
    return bool(made.source.fields[START].minus and DURATION in made.names and not own)


def _cut(time: int, made: Shape) -> int:
    """A time as fine as the SIEM has it."""
    layout = made.vocabulary.start.get("format", "%N")
    grain = 1_000 if made.siem == "elastic" else 1 if {"f", "N", "Q"} & set(layout) else SECOND
    return time // grain * grain


def account(case: Sequence[Laid]) -> list[Flow]:
    """The flows of a case as its records tell them."""
    return [record.told for record in case if record.told is not None]


def _ways(rule: Rule) -> tuple[str, ...]:
    return ("inline", "enriched") if rule.name in ENRICHED else ("inline",)


# ---------------------------------------------------------------- Elastic

def documents(records: Sequence[Laid], made: Shape, rule: Rule, delay: int) -> list[Document]:
    """Records as Elastic has them, with what our enrichment says of their addresses; some arrive late (seconds)."""
    ends = made.names[START] != "@timestamp"
    return [Document(r.start // 1000, arrived, _enriched(r), min(r.end // 1000, arrived) if ends else None)
            for r in records for arrived in [_due(r, rule) // 1000 + (r.number * 7919 % 4) * delay * 1000 // 3]]


def _due(record: Laid, rule: Rule) -> int:
    """When a record is written at the earliest, in microseconds: when its flow ends. Of flows longer than its rule
    says a query promises less, so they end sooner here, and for a rule that does not say as soon as they begin."""
    longest = lasting(rule) * SECOND if LASTING_KEY in rule.meta else 0
    return min(record.end, record.start + longest)


def _enriched(placed: Laid) -> dict[str, Any]:
    """The record with the context of the addresses in ECS's fields, whichever of them began."""
    sides = {side: context(placed.record[f"{side}.ip"]) for side in ("source", "destination")
             if f"{side}.ip" in placed.record}
    added = {f"{side}.{key}": value for side, has in sides.items() for key, value in has.items()}
    if len(sides) == 2:
        added |= derived({f"{side}.ip": placed.record[f"{side}.ip"] for side in sides}, sides)
    # One enrichment writes the defaults, another leaves them out.
    left = (False, "unknown", None) if placed.number % 2 else (None,)
    whole = {**placed.record, **{f"ew.{key}": value for key, value in added.items() if value not in left}}
    return {key: value for key, value in whole.items() if value is not None}


def on_elastic(client: Client, made: Shape, rule: Rule) -> list[Ran]:
    """A rule's queries on Elasticsearch, for each way of context."""
    asked = resolve_rule(rule, pack(), made.source, office())
    queries: dict[str, Query] = {}
    refused = []
    for way in _ways(rule):
        try:
            queries[way] = convert_rule(asked, backend("elastic"), way, "esql")
        except Rejected as rejected:
            refused.append(Ran(_refused(rule, made, way, rejected)))
    if not queries:
        return refused
    cases = [list(laid(case.flows, made)) for case in cases_of(rule.name)]
    when = next(iter(queries.values())).schedule
    assert when is not None
    held = [documents(case, made, rule, when.delay) for case in cases]
    types = properties([document.fields for case in held for document in case], made.source.name)
    hits, runs = replayed(client, held, types, made.names[START], asked, *queries.values())
    wanted, once = expected(cases, rule, 1000)
    return [*refused, *(_ran(rule, made, way, queries[way], cases, runs, wanted, found, once)
                        for way, found in zip(queries, hits, strict=True))]


# ---------------------------------------------------------------- Splunk

def events(records: Sequence[Laid], made: Shape, rule: Rule, delay: int) -> list[Event]:
    """Records as Splunk has them; some come late. Where a field has the time of the flow, `_time` is later."""
    found = []
    for r in records:
        seen = Decimal(_due(r, rule)) / SECOND + r.number * 37 % max(delay, 1)
        start = made.vocabulary.start
        when = {start["field"]: strftime(Decimal(r.start) / SECOND, start["format"])} if start else {}
        time = min(Decimal(r.end) / SECOND, seen) if start else Decimal(r.start) / SECOND
        found.append(Event({key: value for key, value in {"_time": time, **r.record, **when}.items()
                            if value is not None}, seen))
    return found


def on_splunk(made: Shape, rule: Rule) -> list[Ran]:
    """A rule's saved searches, their schedules replayed."""
    return [_on_splunk(made, rule, way) for way in _ways(rule)]


def _on_splunk(made: Shape, rule: Rule, way: str) -> Ran:
    try:
        search, query = saved(resolve_rule(rule, pack(), made.source, office()), "spl", way)
    except Rejected as rejected:
        return Ran(_refused(rule, made, way, rejected))
    assert query.schedule is not None
    delay, lookups = query.schedule.delay, office_lookup() if way == "enriched" else {}
    late = min(delay, timespan(made.source.traits.delay))
    cases = [list(laid(case.flows, made)) for case in cases_of(rule.name)]
    # Who searches may matter where the conversion says so, and nowhere else.
    token = SEARCHER.set("+0000" if any("time zone" in caveat for caveat in query.caveats) else "")
    found, runs = [], 0
    for number, case in enumerate(cases):
        starts = [Decimal(flow[START]) / SECOND for flow in account(case)]
        if not starts:
            continue
        ran, hits = replay(search, events(case, made, rule, late), starts, delay, made.source.name, lookups)
        runs += ran
        found += [(number, group, crossing) for group, crossing, _ in hits]
    SEARCHER.reset(token)
    wanted, once = expected(cases, rule, 1)
    return _ran(rule, made, way, query, cases, runs, wanted, found, once)


# ---------------------------------------------------------------- what comes of it

def expected(cases: Sequence[Sequence[Laid]], rule: Rule, grain: int) -> tuple[list[Hit], set[Any]]:
    """The reference engine's alerts on the records, each a flow of its own, in times of `grain` microseconds; and the
    groups that alert in each case where no record is written again."""
    accounts, asked = [account(case) for case in cases], resolve_rule(rule, pack())

    def hits(flows: Sequence[Sequence[Flow]]) -> list[Hit]:
        return sorted((number, tuple(str(value) for value in alert.group.values()), crossing // grain)
                      for number, alert, crossing in judged(flows, asked))

    once = [[flow for flow in flows if not str(flow["event.id"]).endswith(" again")] for flows in accounts]
    wanted = hits(accounts)
    return wanted, {hit[:2] for hit in (wanted if once == accounts else hits(once))}


def _ran(rule: Rule, made: Shape, way: str, query: Query, cases: Sequence[Sequence[Laid]], runs: int,
         wanted: Sequence[Hit], found: Sequence[Hit], once: set[Any]) -> Ran:
    """A case of which the records show no flow is skipped."""
    done = sum(bool(account(case)) for case in cases)
    extra, missing = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    wrong = tuple(sorted([*extra.elements(), *missing.elements()]))
    entry = Entry(rule.name, LANGUAGES[made.siem], way, made.source.name, done, runs, len(wanted), len(wrong),
                  bool(query.caveats), skipped=len(cases) - done)
    return Ran(entry, wrong, tuple(sorted(once - {hit[:2] for hit in found})))


def _refused(rule: Rule, made: Shape, way: str, rejected: Rejected) -> Entry:
    return Entry(rule.name, LANGUAGES[made.siem], way, made.source.name,
                 refused=tuple(problem.message for problem in rejected.problems))

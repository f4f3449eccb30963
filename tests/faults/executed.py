"""Runs of faults.yml on every engine that can execute what was converted, ours and theirs.

SPL runs in the executor of tests/engines/spl, single flows in the readers of tests/siem_readers, and every rule in the
reference engine. ES|QL correlations need a real Elasticsearch, which is not asked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.cases.table import read_table
from ewdetect.model import Kind
from ewdetect.problems import Location, Rejected
from ewdetect.resolve import ResolvedRule
from tests import siem_readers
from tests.convert_world import derived, document
from tests.engines.elastic_world import context
from tests.engines.spl import SplSyntaxError
from tests.engines.spl import run as run_spl
from tests.engines.spl_documents import events_of
from tests.engines.spl_parity import Hit, office_lookup, replay, replayed, saved, told
from tests.faults import ours
from tests.faults.catalogue import Run, Stock
from tests.world import fields, open_office

Flow = Mapping[str, Any]
SECOND = 1_000_000


class Spl2(siem_readers.Spl):
    """The condition of an SPL2 `FROM … WHERE …`: AND binds tighter than OR, as in `where` and `eval`.

    https://help.splunk.com/en/splunk-enterprise/search/search-manual/9.3/expressions-and-predicates
    """

    def expression(self) -> siem_readers.Test:
        alternatives = [self._all()]
        while self.peek() == "OR":
            self.take()
            alternatives.append(self._all())
        return lambda flow: any(test(flow) for test in alternatives)

    def _all(self) -> siem_readers.Test:
        terms = [self.unit()]
        while self.peek() == "AND":
            self.take()
            terms.append(self.unit())
        return lambda flow: all(test(flow) for test in terms)

    def comparison(self) -> siem_readers.Test:
        if self.peek() != "cidrmatch":
            return super().comparison()
        self.take()
        network, name = self.listed(lambda token: token.strip('"'))
        return lambda flow: siem_readers.in_network(flow.get(name), network)


def flows(run: Run) -> list[Flow]:
    """The canonical flows of a run."""
    table = read_table(run.flows, fields(), lambda line, column: Location("faults.yml", line + 1, column + 1))
    if table.problems:
        raise Rejected(table.problems)
    return [flow for row in table.rows for flow in row.flows]


@cache
def reference(run: Run) -> list[Hit]:
    """The alerts of the reference engine."""
    with open_office(flows(run)) as engine:
        return told(engine.alerts(ours.resolved(run.rule, filters=run.filters)))


def ours_on(run: Run, to: str) -> int | None:
    """How many alerts our text gives; None where it is refused, or where nothing here executes it."""
    rule = ours.resolved(run.rule, filters=run.filters)
    try:
        query = ours.converted(rule, to, run.context)
    except Rejected:
        return None
    if to == "spl":
        return _spl(query, rule, run)
    if rule.rule.kind is not Kind.EVENT:
        return None
    test = getattr(siem_readers, to)(query.text)
    return sum(bool(test(event)) for event in _documents(run, "elastic"))


def _spl(query: Query, rule: ResolvedRule, run: Run) -> int:
    """The alerts of the saved search, replayed by its schedule."""
    assert query.schedule
    search, _ = saved(rule, "spl", run.context)
    events = events_of("flow", flows(run))
    assert events is not None
    starts = [Decimal(flow["event.start"]) / SECOND for flow in flows(run)]
    if rule.rule.kind is Kind.EVENT:
        return len(replayed(search, events, starts, query.schedule.delay, "flow", office_lookup())[1])
    _, found = replay(search, events, starts, query.schedule.delay, "flow", office_lookup())
    if found != reference(run):
        raise AssertionError(f"{run.name}: Splunk finds {found}, the reference engine {reference(run)}")
    return len(found)


def _documents(run: Run, siem: str) -> list[dict[str, Any]]:
    """The flows as the SIEM holds them. An enrichment leaves out what the network file does not say."""
    return [{**document("flow", {"id": 1}, whole, siem, run.context == "enriched"),
             "_time": Decimal(whole["event.start"]) / SECOND} for whole in map(_whole, flows(run))]


def _whole(flow: Flow) -> dict[str, Any]:
    sides = {side: context(flow[f"{side}.ip"]) for side in ("source", "destination")}
    whole = {**flow, **{f"{side}.{key}": value for side, has in sides.items() for key, value in has.items()}}
    return whole | derived(whole, sides)


def stock_on(run: Run, made: Sequence[Stock], to: str) -> int | str:
    """How many rows the first stock output for `to` gives on the same flows, or the name of its error."""
    text = next(item for item in made if item.to == to).outputs()[-1]
    events = [_firewall(_whole(flow)) for flow in flows(run)]
    if to == "splunk":
        try:
            return len(run_spl(f"search {text}", events, shuffle=1))
        except SplSyntaxError as error:
            return type(error).__name__
    return sum(bool(_READERS[to](text)(event)) for event in events)


def _firewall(flow: Flow) -> dict[str, Any]:
    """A flow in the field names of stock.yml; a zone that nobody described is missing."""
    named = {"src_ip": "source.ip", "dst_ip": "destination.ip", "dst_port": "destination.port", "bytes": "source.bytes",
             "src_zone": "source.zone", "dst_zone": "destination.zone"}
    event = {name: flow.get(field) for name, field in named.items() if flow.get(field) not in (None, "unknown")}
    action = "allow" if flow["flow.outcome"] == "established" else "deny"
    return {**event, "action": action, "_time": Decimal(flow["event.start"]) / SECOND}


def _stock_esql(text: str) -> siem_readers.Test:
    """Keywords of ES|QL are the same in both cases; the reader knows ours."""
    condition = text.partition(" | where ")[2].replace(" and ", " AND ").replace("not ", "NOT ")
    test = siem_readers.Esql(condition).whole()
    return lambda flow: test(flow) is True


def _stock_spl2(text: str) -> siem_readers.Test:
    return Spl2(text.removeprefix("FROM main WHERE ")).whole()


_READERS = {"esql": _stock_esql, "spl2": _stock_spl2}

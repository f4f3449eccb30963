"""A rule in ES|QL on a real Elasticsearch against the reference engine: the same groups, each episode once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.backends.vocabulary import load_vocabulary
from ewdetect.cases import CaseFile
from ewdetect.engine import open_flows
from ewdetect.load import load_orientation
from ewdetect.model import Alert as Judged
from ewdetect.plan import Key, plan
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.convert_world import fields, office, pack, source
from tests.engines.elastic_world import TIME_FIELD, account, indexed, properties
from tests.engines.elasticsearch.client import Client
from tests.engines.kibana import Alert, Flow, alerts, documents, worlds
from tests.engines.spl_parity import case_files

Hit = tuple[int, tuple[str, ...], int]          # number of the case, group values, crossing in ms
Flows = Sequence[Mapping[str, Any]]
APART = 400 * 86_400_000_000     # microseconds; no case lasts so long, and no window


@cache
def expected(path: str, rule: str, name: str) -> tuple[Hit, ...]:
    """What the reference engine says of all cases of a file, as the sensor tells them."""
    case_file = next(f for f in case_files() if f.path == path)
    return tuple(reference(cases_of(case_file, name), resolve_rule(pack().rules[rule], pack())))


def reference(cases: Sequence[Flows], resolved: ResolvedRule) -> list[Hit]:
    """What the reference engine says of cases."""
    return sorted((number, tuple(str(value) for value in alert.group.values()), crossing // 1000)
                  for number, alert, crossing in judged(cases, resolved))


def judged(cases: Sequence[Flows], resolved: ResolvedRule) -> list[tuple[int, Judged, int]]:
    """The reference engine's alerts, each with the number of its case and its crossing there in microseconds. All cases
    are read at once, each in a time of its own."""
    flows = [{**flow, "event.id": f"{number} {flow['event.id']}", "event.start": flow["event.start"] + number * APART}
             for number, case in enumerate(cases) for flow in case]
    if not flows:
        return []
    # From the cases' own times, not the shifted ones: the first case may be empty.
    first = min(flow["event.start"] for case in cases for flow in case) - APART // 2
    with open_flows(flows, office(), source("flow"), fields(), load_orientation()) as engine:
        found = engine.alerts(resolved)
    numbered = [((alert.crossing - first) // APART, alert) for alert in found]
    return [(number, alert, alert.crossing - number * APART) for number, alert in numbered]


def cases_of(case_file: CaseFile, name: str) -> list[list[dict[str, Any]]]:
    """The flows of a file's cases, as the sensor tells them."""
    return [account(case, name) for case in case_file.cases]


def executed(client: Client, cases: Sequence[Flows], resolved: ResolvedRule,
             *queries: Query) -> tuple[list[list[Hit]], int]:
    """The alerts of all runs of all cases, for each query from one request, and the number of the runs.

    The queries are of one source and have one schedule.
    """
    (when,), (name,) = {query.schedule for query in queries}, {query.source for query in queries}
    assert when is not None
    held = [indexed(flows, name, when.delay) for flows in cases]
    types = properties((flow.fields for flows in held for flow in flows), name)
    return replayed(client, held, types, TIME_FIELD[name], resolved, *queries)


def replayed(client: Client, cases: Sequence[Sequence[Flow]], types: Mapping[str, Any], time_field: str,
             resolved: ResolvedRule, *queries: Query) -> tuple[list[list[Hit]], int]:
    """The same, from documents and the mapping of their index."""
    (when,) = {query.schedule for query in queries}
    assert when is not None
    made, length = worlds(cases, when)
    index = f"parity-{os.getpid()}"
    client.delete(index)
    client.create(index, types)
    client.load(index, documents(made, length, time_field))
    try:
        found = [alerts(client, query.text, index, made, length) for query in queries]
        return [_hits(rows, resolved, query.source) for rows, query in zip(found, queries, strict=True)], len(made)
    finally:
        client.delete(index)


def _hits(found: Sequence[Alert], resolved: ResolvedRule, name: str) -> list[Hit]:
    keys: Sequence[Key] = plan(resolved)[-1].keys           # type: ignore[union-attr]
    names = load_vocabulary("ecs", "elastic", source(name)).names(fields(), enriched=True)
    return sorted((a.case, tuple(_group(names.get(key.name, key.name), a.row) for key in keys), a.at) for a in found)


def _group(key: str, row: Mapping[str, Any]) -> str:
    """A key of the group: a field, or one made of several fields."""
    return str(row[key] if key in row else row[f"Esql.{key}"])

"""A rule in ES|QL on a real Elasticsearch against the reference engine: the same groups, each episode once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.cases import CaseFile
from ewdetect.engine import open_flows
from ewdetect.load import load_orientation
from ewdetect.plan import Key, plan
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.convert_world import fields, office, pack, source
from tests.engines.elastic_world import TIME_FIELD, account, indexed, properties
from tests.engines.elasticsearch.client import Client
from tests.engines.kibana import alerts, documents, worlds
from tests.engines.spl_parity import case_files

Hit = tuple[int, tuple[str, ...], int]          # number of the case, group values, crossing in ms
Flows = Sequence[Mapping[str, Any]]


@cache
def expected(path: str, rule: str, name: str) -> tuple[Hit, ...]:
    """What the reference engine says of all cases of a file, as the sensor tells them."""
    case_file = next(f for f in case_files() if f.path == path)
    found = []
    for number, case in enumerate(case_file.cases):
        found += reference(number, account(case, name), resolve_rule(pack().rules[rule], pack()))
    return tuple(sorted(found))


def reference(number: int, flows: Flows, resolved: ResolvedRule) -> list[Hit]:
    """What the reference engine says of one case."""
    with open_flows(flows, office(), source("flow"), fields(), load_orientation()) as engine:
        return [(number, tuple(str(value) for value in alert.group.values()), alert.crossing // 1000)
                for alert in engine.alerts(resolved)]


def cases_of(case_file: CaseFile, name: str) -> list[list[dict[str, Any]]]:
    """The flows of a file's cases, as the sensor tells them."""
    return [account(case, name) for case in case_file.cases]


def executed(client: Client, cases: Sequence[Flows], resolved: ResolvedRule, query: Query) -> tuple[list[Hit], int]:
    """The alerts of all runs of all cases, from one request, and the number of the runs."""
    assert query.schedule is not None
    made, length = worlds([indexed(flows, query.source, query.schedule.delay) for flows in cases], query.schedule)
    index = f"parity-{query.rule.replace('_', '-')}-{query.source.replace('_', '-')}"
    held = list(documents(made, length, TIME_FIELD[query.source]))
    client.delete(index)
    client.create(index, properties(held, query.source))
    client.load(index, held)
    try:
        found = alerts(client, query.text, index, made, length)
    finally:
        client.delete(index)
    keys: Sequence[Key] = plan(resolved)[-1].keys           # type: ignore[union-attr]
    return sorted((a.case, tuple(_group(key.name, a.row) for key in keys), a.at) for a in found), len(made)


def _group(key: str, row: Mapping[str, Any]) -> str:
    return str(row[key] if key in row else row[f"Esql.{key}"])

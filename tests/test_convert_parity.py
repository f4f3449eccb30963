"""A converted query says of a SIEM's document what the rule says of the flow: run, not read.

Every rule of the pack on single flows, and small rules for each thing that conversion replaces, on random flows whose
addresses stand on the edges of the network's segments, in every dialect, source and context.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR
from sigma.types import SigmaBool, SigmaCompareExpression, SigmaExists, SigmaNull, SigmaNumber, SigmaString

from ewdetect.backends.sigma import hydrate
from ewdetect.model import Kind, Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests import siem_readers
from tests.convert_world import (
    DIALECTS,
    SOURCES,
    bare,
    canonical,
    converted,
    document,
    flow_part,
    network,
    office,
    pack,
    raw_flows,
    rule,
    source,
)

PROBES: Mapping[str, Any] = {
    "zone": {"source.zone": "workstations"},
    "several zones": {"destination.zone": ["servers", "data", "ot"]},
    "zone neq": {"source.zone|neq": "workstations"},
    "zones neq": {"source.zone|neq": ["workstations", "servers"]},
    "default zone": {"source.zone": "unknown"},
    "default among zones": {"source.zone": ["unknown", "guest"]},
    "default neq": {"destination.zone|neq": "unknown"},
    "letters": {"source.zone": "WorkStations"},
    "flag": {"destination.is_decoy": True},
    "flag off": {"source.is_scanner": False},
    "flag neq": {"source.is_scanner|neq": True},
    "known": {"source.known": True},
    "not known": {"source.known": False},
    "inherited": {"source.tier": 0, "source.env": "prod"},
    "role": {"destination.role": ["database", "file_server"]},
    "compared": {"source.tier|lte": 1},
    "missing": {"source.env": None},
    "present": {"source.env|exists": True},
    "criticality": {"destination.criticality": "high"},
    "internal": {"network.scope": "internal"},
    "scopes": {"network.scope": ["inbound", "outbound"]},
    "external": {"network.scope|neq": "external"},
    "cross zone": {"network.cross_zone": True},
    "same zone": {"network.cross_zone": False},
    "cross env": {"network.cross_env": True},
    "same env": {"network.cross_env|neq": True},
    "ipv4": {"network.type": "ipv4"},
    "ipv6": {"network.type": "ipv6"},
    "established": {"flow.outcome": "established"},
    "failed": {"flow.outcome": "failed"},
    "unknown outcome": {"flow.outcome": "unknown"},
    "not established": {"flow.outcome|neq": "established"},
    "failed or unknown": {"flow.outcome": ["failed", "unknown"]},
    "port": {"destination.port": 22},
    "ports": {"destination.port": [3, 8, 445]},
    "port neq": {"destination.port|neq": 3},
    "port range": {"destination.port|gte": 1433, "source.port|lt": 49152},
    "no port": {"destination.port": None},
    "icmp": {"network.transport": "icmp"},
    "icmp v6": {"network.transport": ["ipv6-icmp", "udp"]},
    "icmp neq": {"network.transport|neq": "icmp"},
    "icmp type": {"icmp.type": 8},
    "seconds": {"event.duration|gte": 3600},
    "bytes": {"source.bytes|gt": 100},
    "state": {"network.state": ["SF", "established"]},
    "start of state": {"network.state|startswith": "RST"},
    "state neq": {"network.state|neq": "sf"},
    "list of maps": [{"source.zone": "guest"}, {"destination.port": 22, "flow.outcome": "failed"}],
}
# What a sensor or a SIEM does not have, and rightly refuses.
REFUSED = {("suricata_eve", "spl", "seconds")}

SMALL = """
name: small
networks:
  - {cidr: 10.0.0.0/8, zone: a}
  - {cidr: 10.1.0.0/16, zone: b, env: prod}
  - {cidr: 10.1.1.0/24, zone: a, env: dev}
  - {cidr: "fd00::/8", zone: b, env: prod}
"""


def means(asked: Rule) -> Any:
    """What the rule says of a canonical flow, straight from pySigma's tree."""
    tree = hydrate(resolve_rule(asked, pack()))[asked.name].detection.parsed_condition[0].parsed
    return lambda flow: _holds(tree, flow)


def _holds(node: Any, flow: Mapping[str, Any]) -> bool:
    match node:
        case ConditionAND():
            return all(_holds(arg, flow) for arg in node.args)
        case ConditionOR():
            return any(_holds(arg, flow) for arg in node.args)
        case ConditionNOT():
            return not _holds(node.args[0], flow)
    return _compare(flow.get(node.field), node.value)


def _compare(have: Any, value: Any) -> bool:
    match value:
        case SigmaNull():
            return have is None
        case SigmaExists():
            return (have is not None) == value.exists
        case SigmaCompareExpression():
            order = {"LT": operator.lt, "LTE": operator.le, "GT": operator.gt, "GTE": operator.ge}[value.op.name]
            return have is not None and bool(order(have, value.number.number))
        case SigmaNumber():
            return bool(have == value.number)
        case SigmaBool():
            return have is value.boolean
        case SigmaString():
            return have is not None and bool(siem_readers.wild(str(value).lower()).fullmatch(have))
    raise AssertionError(value)


@cache
def world(name: str, where: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    place = office() if where == "office" else network(SMALL)
    return [(raw, canonical(name, raw, place)) for raw in raw_flows(name, place, 200)]


def differences(asked: Rule, name: str, dialect: str, context: str, where: str = "office") -> tuple[int, list[Any]]:
    """How many flows match, and those on which the query and the rule disagree."""
    place = office() if where == "office" else network(SMALL)
    text = converted(asked, dialect, source_name=name, context=context, where=place).text
    query, meaning = getattr(siem_readers, dialect)(flow_part(text, dialect)), means(asked)
    wrong, hits = [], 0
    for raw, flow in world(name, where):
        expected = meaning(flow)
        hits += expected
        found = query(document(name, raw, flow, DIALECTS[dialect], context == "enriched"))
        if bool(found) != expected:
            wrong.append((flow, expected))
    return hits, wrong


@pytest.mark.parametrize("context", ["inline", "enriched"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("probe", PROBES)
def test_probes_agree(probe: str, name: str, dialect: str, context: str) -> None:
    asked = rule(PROBES[probe])
    if (name, dialect, probe) in REFUSED:
        with pytest.raises(Rejected):
            converted(asked, dialect, source_name=name, context=context)
        return
    hits, wrong = differences(asked, name, dialect, context)
    assert not wrong, f"{len(wrong)} wrong, first: {wrong[0]}"
    assert hits or (probe in ("state", "start of state", "failed or unknown", "criticality") and name != "zeek_conn")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("probe", PROBES)
def test_probes_agree_inside_not(probe: str, dialect: str) -> None:
    asked = rule(PROBES[probe], "other and not selection", other={"destination.port": [22, 445, 3, 8]})
    assert differences(asked, "zeek_conn", dialect, "inline")[1] == []
    assert differences(rule(PROBES[probe], "not selection or other", other={"destination.port": 22}),
                       "zeek_conn", dialect, "inline")[1] == []


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("probe", ["cross zone", "same zone", "cross env", "default zone", "not known"])
def test_few_values_and_nested_prefixes(probe: str, dialect: str) -> None:
    hits, wrong = differences(rule(PROBES[probe]), "zeek_conn", dialect, "inline", "small")
    assert hits
    assert not wrong


@pytest.mark.parametrize("context", ["inline", "enriched"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("asked", [r for r in pack().rules.values() if r.kind is Kind.EVENT and r.alerts],
                         ids=lambda r: r.name)
def test_the_pack_agrees(asked: Rule, name: str, dialect: str, context: str) -> None:
    try:
        wrong = differences(bare(asked), name, dialect, context)[1]
    except Rejected as refused:
        pytest.skip(refused.problems[0].message)        # the golden file says so too
    assert wrong == []


def test_the_sources_tell_every_outcome_of_their_traits() -> None:
    for name in SOURCES:
        told = {flow["flow.outcome"] for _, flow in world(name, "office")}
        assert told == set(source(name).traits.outcomes)

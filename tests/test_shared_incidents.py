"""One incident, three sensors (../shared/data/mordor, third-party): the same alerts, or the reason why not.

The rules here are looser than those that ship, which ask for bytes or for several hosts: any session on a port of
administration, and a call of the RPC mapper that leads to a dynamic port.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from ewdetect.engine import Engine
from ewdetect.model import Alert
from ewdetect.resolve import resolve_rule
from tests.test_shared_data import world
from tests.world import SHARED, correlation, event_rule, fields, orientation, pack, source

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")

RULES = pack(
    event_rule("admin_session", {"network.transport": "tcp", "destination.port": [135, 445, 3389, 5985, 5986]})
    | {"ewdetect": {"suppress": {"by": ["source.ip", "destination.ip", "destination.port"], "for": "1d"}}},
    event_rule("mapper", {"destination.port": 135}),
    event_rule("dynamic", {"network.transport": "tcp", "destination.port|gte": 49152}),
    correlation("rpc_call", "temporal_ordered", ["mapper", "dynamic"], "5m", group_by=["source.ip", "destination.ip"]),
)
ALERTING = ("admin_session", "rpc_call")
NETWORK = ("suricata_eve", "{}*.eve.jsonl.gz")
HOSTS = {"sysmon_3": ("sysmon_3", "{}.sysmon_3.jsonl.gz"),
         "windows_5156": ("windows_5156", "{}.security_5156_5157.jsonl.gz")}

Connection = tuple[Any, ...]        # addresses and ports


@dataclass(frozen=True)
class Seen:
    """What a sensor has of an incident: each connection's flow, and each alert by rule and group."""

    flows: Mapping[Connection, Mapping[str, Any]]
    ids: Mapping[str, Connection]
    alerts: Mapping[tuple[Any, ...], Alert]

    def connections(self, alert: Alert) -> Sequence[Connection]:
        return [self.ids[flow] for flow in alert.evidence]


def connection(flow: Mapping[str, Any]) -> Connection:
    return flow["source.ip"], flow.get("source.port"), flow["destination.ip"], flow.get("destination.port")


@cache
def seen(sensor: tuple[str, str], incident: str) -> Seen:
    name, pattern = sensor
    with Engine(fields(), orientation()) as engine:
        files = str(SHARED / "mordor" / pattern.format(incident))
        engine.read(source(name), [files], world("theshire.local"), fields())
        flows = engine.flows()
        alerts = engine.all_alerts([resolve_rule(RULES.rules[rule], RULES) for rule in ALERTING])
    first: dict[Connection, Mapping[str, Any]] = {}
    for flow in flows:
        first.setdefault(connection(flow), flow)
    return Seen(first, {flow["event.id"]: connection(flow) for flow in flows},
                {(alert.rule.name, *map(str, dict(alert.group).values())): alert for alert in alerts})


def incidents() -> list[str]:
    return sorted({path.name.partition(".")[0] for path in (SHARED / "mordor").glob("*.jsonl.gz")})


def why_missing(alert: Alert, network: Seen, host: Seen) -> str:
    """What keeps a host's sensor from an alert that the network's sensor has, or nothing."""
    began = min(flow["event.start"] for flow in host.flows.values())
    behind = network.connections(alert)
    lost = [each for each in behind if each not in host.flows]
    if any(network.flows[each]["event.start"] < began for each in lost):
        return "began before the log"
    if any(network.flows[each]["flow.outcome"] == "failed" for each in lost):
        return "nobody answered"
    if not lost and len({host.flows[each]["event.start"] for each in behind}) == 1 < len(behind):
        return "one instant for all"
    return ""


# Of each host's sensor, the alerts that it shares with the network's, and the reasons for those that it does not have.
# Sysmon tells of connections that stand. The log may put two connections at one instant, of which none is first.
MISSING = {"sysmon_3": (55, {"began before the log": 8, "nobody answered": 5}),
           "windows_5156": (59, {"began before the log": 7, "one instant for all": 2})}


@pytest.mark.parametrize("sensor", HOSTS)
def test_a_host_misses_only_what_its_log_cannot_have(sensor: str) -> None:
    reasons: Counter[str] = Counter()
    shared = 0
    for incident in incidents():
        network, host = seen(NETWORK, incident), seen(HOSTS[sensor], incident)
        shared += len(network.alerts.keys() & host.alerts.keys())
        for key in network.alerts.keys() - host.alerts.keys():
            reasons[why_missing(network.alerts[key], network, host) or f"{incident}: {key}"] += 1
    assert (shared, dict(reasons)) == MISSING[sensor]


@pytest.mark.parametrize("sensor", HOSTS)
def test_a_host_adds_only_what_the_capture_has_not(sensor: str) -> None:
    for incident in incidents():
        network, host = seen(NETWORK, incident), seen(HOSTS[sensor], incident)
        for key in host.alerts.keys() - network.alerts.keys():
            behind = host.connections(host.alerts[key])
            assert any(each not in network.flows for each in behind), (incident, key)

"""Canonical flows as each source's events lie in Splunk, with the time at which Splunk has them.

A flow of a case says what came of it, and not what the sensor wrote; so raw values are made that mean it, and are read
back by source.yml's own cases. A case that a sensor cannot write gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from tests.convert_world import fields, first_case, source
from tests.engines.spl import DataModel, network_traffic

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Flow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event, and when it came: epoch seconds."""

    fields: Mapping[str, Any]
    seen: Decimal


def events_of(name: str, flows: Sequence[Flow]) -> tuple[Event, ...] | None:
    """The flows as events of a source, each late by some of the time that the source takes."""
    made = []
    for number, flow in enumerate(flows):
        raw = _WRITERS[name](dict.fromkeys(fields()) | dict(flow), number)
        if raw is None:
            return None
        late = Decimal(number * 37 % 590) if name != "flow" else Decimal(0)
        start = Decimal(flow["event.start"]) / SECOND
        time = start + late if name == "suricata_eve" else start
        made.append(Event({"_time": time, **{k: v for k, v in raw.items() if v is not None}}, start + late))
    return tuple(made)


def _flow(flow: Flow, number: int) -> dict[str, Any]:
    return {**{key: value for key, value in flow.items() if key != "event.start" and fields()[key].origin == "record"},
            "index": "ewdetect",
            "sourcetype": "ewdetect:flow"}


def _told(name: str, flow: Flow, values: Mapping[str, Any]) -> bool:
    """Whether the raw values mean the outcome that the flow has."""
    spec = source(name).fields["flow.outcome"]
    found = first_case(spec, values)
    return bool(found == flow["flow.outcome"])


def _zeek(flow: Flow, number: int) -> dict[str, Any] | None:
    proto = "icmp" if flow["network.transport"] == "ipv6-icmp" else flow["network.transport"]
    state = {"established": "SF", "failed": "S0", "unknown": "OTH"}.get(flow["flow.outcome"])
    if proto not in ("tcp", "udp", "icmp") or not _told(
            "zeek_conn", flow, {"proto": proto, "conn_state": state, "resp_pkts": flow["destination.packets"]}):
        return None
    icmp = proto == "icmp"
    return {"index": "zeek", "sourcetype": "bro:conn:json", "uid": f"C{number}", "id.orig_h": flow["source.ip"],
            "id.orig_p": flow["icmp.type" if icmp else "source.port"], "id.resp_h": flow["destination.ip"],
            "id.resp_p": flow["icmp.code" if icmp else "destination.port"], "proto": proto, "conn_state": state,
            "orig_ip_bytes": flow["source.bytes"], "resp_ip_bytes": flow["destination.bytes"],
            "resp_pkts": flow["destination.packets"], "orig_pkts": flow["source.packets"],
            "service": flow["network.protocol"], "duration": flow["event.duration"]}


_FLAGS = {"established": (40, "1b", "1b"), "failed": (0, "02", "00"), "unknown": (0, "18", "00")}


def _suricata(flow: Flow, number: int) -> dict[str, Any] | None:
    if flow["flow.outcome"] not in _FLAGS or flow["network.transport"] is None:
        return None
    packets, to_server, to_client = _FLAGS[flow["flow.outcome"]]
    proto, tcp = flow["network.transport"].upper(), flow["network.transport"] == "tcp"
    values = {"proto": proto, "flow/pkts_toclient": packets, "tcp/tcp_flags_ts": to_server if tcp else None,
              "tcp/tcp_flags_tc": to_client if tcp else None}
    if not _told("suricata_eve", flow, values):
        return None
    start = _EPOCH + timedelta(microseconds=flow["event.start"])
    return {"index": "suricata", "sourcetype": "suricata", "event_type": "flow", "src_ip": flow["source.ip"],
            "src_port": flow["source.port"], "dest_ip": flow["destination.ip"], "dest_port": flow["destination.port"],
            "proto": proto, "app_proto": flow["network.protocol"], "icmp_type": flow["icmp.type"],
            "icmp_code": flow["icmp.code"], "flow.pkts_toclient": packets, "flow.pkts_toserver": flow["source.packets"],
            "flow.bytes_toserver": flow["source.bytes"], "flow.bytes_toclient": flow["destination.bytes"],
            "flow.start": f"{start:%Y-%m-%dT%H:%M:%S.%f}+0000", "flow_id": number,
            "tcp.tcp_flags_ts": values["tcp/tcp_flags_ts"], "tcp.tcp_flags_tc": values["tcp/tcp_flags_tc"]}


_WRITERS: Mapping[str, Callable[[Flow, int], dict[str, Any] | None]] = {
    "flow": _flow, "zeek_conn": _zeek, "suricata_eve": _suricata}
# What the add-on of a source, or docs/splunk.md, puts into the data model.
_MODELS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "flow": ({"src": "'source.ip'", "dest": "'destination.ip'", "src_port": "'source.port'",
              "dest_port": "'destination.port'", "transport": "'network.transport'", "app": "'network.protocol'",
              "bytes_out": "'source.bytes'", "bytes_in": "'destination.bytes'", "packets_out": "'source.packets'",
              "packets_in": "'destination.packets'", "icmp_type": "'icmp.type'", "icmp_code": "'icmp.code'",
              "bytes": "'source.bytes'+'destination.bytes'",
              "action": "case('event.action'=\"denied\",\"blocked\",true(),'event.action')"},
             'sourcetype="ewdetect:flow"'),
    "zeek_conn": ({"src": "'id.orig_h'", "dest": "'id.resp_h'", "src_port": "'id.orig_p'", "dest_port": "'id.resp_p'",
                   "transport": "proto", "app": "service"}, 'sourcetype="bro:conn:json"'),
    "suricata_eve": ({"src": "src_ip", "dest": "dest_ip"}, "sourcetype=suricata")}


@cache
def models(name: str) -> Mapping[str, DataModel]:
    """The data models of a search head that has this source; only those of some are known."""
    if name not in _MODELS:
        return {}
    fields, constraint = _MODELS[name]
    return network_traffic(fields, constraint)

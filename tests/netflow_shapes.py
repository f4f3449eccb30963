"""A NetFlow record of nfdump as SIEMs hold it: a document of Elastic's integration, and an event of Splunk Stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Record = dict[str, Any]
_TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}


def elastic(record: Mapping[str, Any]) -> Record:
    """As Beats and the ingest pipeline write it (elastic/beats, x-pack/filebeat/input/netflow/convert.go)."""
    first, last = (datetime.fromisoformat(record[key]) for key in ("first", "last"))
    source, destination, family = _ends(record)
    counted = {"bytes": record["in_bytes"], "packets": record["in_packets"]}
    return {
        "@timestamp": record.get("received", record["last"]) + "Z",
        "event": {"action": "netflow_flow", "start": f"{record['first']}Z", "end": f"{record['last']}Z",
                  "duration": round((last - first).total_seconds() * 1e9)},
        "netflow": {"type": "netflow_flow", "exporter": {"address": "10.0.0.1:2055"},
                    "tcp_control_bits": _flags(record), "protocol_identifier": record["proto"],
                    **_icmp(record, family)},
        "network": {"transport": _TRANSPORTS[record["proto"]], **counted},
        "source": {**source, **counted}, "destination": destination}


def stream(record: Mapping[str, Any]) -> Record:
    """As Splunk Stream writes it (the manual's "Splunk Stream search syntax", and published events)."""
    source, destination, _ = _ends(record)
    ports = {"src_port": source.get("port"), "dest_port": destination.get("port")}
    if "icmp_type" in record:
        ports = {"src_port": 0, "dest_port": record["icmp_type"] * 256 + record["icmp_code"]}
    return {"timestamp": f"{record['first']}000Z", "endtime": f"{record['last']}000Z", "event_name": "netFlowData",
            "exporter_ip": "10.0.0.1", "netflow_version": 9, "src_ip": source["ip"], "dest_ip": destination["ip"],
            **ports, "protoid": record["proto"], "bytes": record["in_bytes"], "packets": record["in_packets"],
            "tcp_flags": _flags(record)}


def _ends(record: Mapping[str, Any]) -> tuple[Record, Record, str]:
    family = "4" if "src4_addr" in record else "6"
    ends = [{"ip": record[f"{side}{family}_addr"],
             **({"port": record[f"{side}_port"]} if f"{side}_port" in record else {})} for side in ("src", "dst")]
    return ends[0], ends[1], family


def _icmp(record: Mapping[str, Any], family: str) -> Record:
    return {f"icmp_{part}_ipv{family}": record[f"icmp_{part}"] for part in ("type", "code") if f"icmp_{part}" in record}


def _flags(record: Mapping[str, Any]) -> int:
    """CEUAPRSF by position, a dot where one is not set."""
    return int("".join("0" if letter == "." else "1" for letter in record.get("tcp_flags", ".")), 2)

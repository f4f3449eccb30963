"""A case's flows as another sensor would have told them: the flow as that sensor knows it, and its raw values.

A sensor that decides nothing cannot say `denied`, and Suricata tells an outcome from packets and flags. So a case is
asked of a sensor's own account of it, and the reference engine judges that same account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.convert_world import by_path, fields, first_case, source

Flow = dict[str, Any]
_STATES = {"established": "SF", "failed": "S0", "unknown": "OTH"}
_ALWAYS = {"network.transport": "tcp", "flow.outcome": "unknown"}       # every record of a sensor says them


def told_by(name: str, flow: Mapping[str, Any]) -> Flow:
    """The flow without what the sensor cannot know."""
    whole = {f.name: flow.get(f.name) for f in fields().values() if f.origin == "record"}
    if name == "flow":
        return whole
    known = set(source(name).fields)
    told = {key: value if key in known else None for key, value in whole.items()}
    told |= {key: value for key, value in _ALWAYS.items() if told[key] is None}
    if told["flow.outcome"] == "denied":
        told["flow.outcome"] = "failed"
    if name == "suricata_eve":
        told |= _packets(told)
    return told


def _packets(told: Mapping[str, Any]) -> dict[str, Any]:
    """The responder's packets, where they are what Suricata's outcome is read from."""
    tcp = told["network.transport"] == "tcp"
    match told["flow.outcome"]:
        case "unknown":
            return {"destination.packets": 0 if tcp else None}
        case "failed" if not tcp:
            return {"destination.packets": 0}
        case "established" if not tcp and not told["destination.packets"]:
            return {"destination.packets": 1}
    return {}


def raw_of(name: str, told: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The raw values of a flow, in the words of tests.convert_world; its outcome is the flow's."""
    icmp = str(told["network.transport"]).endswith("icmp")
    raw = {"id": str(number), "src": told["source.ip"], "dst": told["destination.ip"],
           "sport": told.get("icmp.type") if icmp else told["source.port"],
           "dport": told.get("icmp.code") if icmp else told["destination.port"],
           "proto": "icmp" if icmp else told["network.transport"], "packets": told["destination.packets"],
           "bytes": told["source.bytes"], "duration": told["event.duration"],
           "state": _STATES[told["flow.outcome"]] if name == "zeek_conn" else "closed"}
    raw |= _flags(told)
    assert name == "flow" or outcome_of(name, raw) == told["flow.outcome"], f"{name} cannot tell {told}"
    return raw


def _flags(told: Mapping[str, Any]) -> dict[str, str]:
    """TCP flags of both sides as Suricata writes them: two hexadecimal digits."""
    answered = bool(told["destination.packets"])
    match told["flow.outcome"]:
        case "established":
            return {"ts": "1b", "tc": "1b" if answered else "00"}
        case "failed":
            return {"ts": "02", "tc": "14" if answered else "00"}
    return {"ts": "10", "tc": "00"}


def outcome_of(name: str, raw: Mapping[str, Any]) -> Any:
    """The outcome that source.yml reads out of raw values."""
    spec, values = source(name).fields["flow.outcome"], by_path(name, raw)
    return first_case(spec, values)

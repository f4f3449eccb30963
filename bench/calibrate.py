"""What ordinary flows of each service look like, taken from the recordings: `python -m bench.calibrate` writes
bench/calibration.json, from which bench/everyday.py draws sizes and times.

bench/everyday.yml says under `seen` of a service which recorded flows are its own: those to its port that ended well,
from the roles named, and outside every attack step of the recording.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bench.everyday import CALIBRATION, EVERYDAY
from ewdetect.engine import Engine
from ewdetect.load import load_fields, load_network, load_orientation, load_source
from ewdetect.network import Network, explain
from ewdetect.truth import SLACK, Truth, load_truth
from ewdetect.yamlfile import read_documents

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
MOST = 40           # samples of one service, evenly spread over its flows by size
FEWEST = 5          # fewer say nothing

Flow = Mapping[str, Any]


def calibrate(services: Mapping[str, Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Service → (bytes out, bytes in, seconds) of some of its flows, smallest first."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for flow, role in _quiet_flows():
        for name, service in services.items():
            if "seen" in service and _belongs(flow, role, service):
                found[name].append([flow["source.bytes"], flow["destination.bytes"], round(flow["event.duration"], 6)])
    return {name: _spread(sorted(rows)) for name, rows in sorted(found.items()) if len(rows) >= FEWEST}


def _quiet_flows() -> Iterator[tuple[Flow, str]]:
    """Flows of all recordings that belong to no attack, with the role of who began them."""
    fields = load_fields()
    for folder in sorted(path.parent for path in RECORDINGS.glob("*/truth.yml")):
        truth, network = load_truth(folder / "truth.yml"), load_network(folder / "network.yml", fields)
        with Engine(fields, load_orientation()) as engine:
            engine.read(load_source("suricata_eve"), [str(folder / "flows.eve.jsonl.gz")], network, fields)
            for flow in engine.flows():
                if not _in_attack(flow, truth):
                    yield flow, _role(network, flow["source.ip"])


def _role(network: Network, address: str) -> str:
    return next(str(each.value) for each in explain(network, address) if each.wins and each.attribute == "role")


def _in_attack(flow: Flow, truth: Truth) -> bool:
    source = ip_address(flow["source.ip"])
    return any(step.attack and step.start - SLACK <= flow["event.start"] <= step.end + SLACK and source in step.source
               for step in truth.steps)


def _belongs(flow: Flow, role: str, service: Mapping[str, Any]) -> bool:
    return (flow.get("destination.port") == service.get("port")
            and flow["network.transport"] == service.get("transport", "tcp")
            and flow["flow.outcome"] == "established" and service["seen"] in ("any", role))


def _spread(rows: Sequence[list[float]]) -> list[list[float]]:
    wanted = min(MOST, len(rows))
    return [rows[number * len(rows) // wanted] for number in range(wanted)]


def main() -> int:
    """Write the file and say how many samples each service has."""
    found = calibrate(read_documents(EVERYDAY)[0].data["services"])
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in found.items())
    CALIBRATION.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    sys.stdout.writelines(f"{name}: {len(rows)} flows\n" for name, rows in found.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One measurement in a process of its own, so that its peak memory is its own: prints one line of JSON.

`python -m bench.measure baseline|product LAYOUT FLOWS [NETWORK]`
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

MEMORY = "512MB"        # what the engine allows itself by default
_SOURCES = {"eve": "suricata_eve", "zeek": "zeek_conn", "parquet": "flow"}


def _baseline(layout: str, path: str) -> dict[str, Any]:
    from bench.baseline import read_alone

    read_alone(layout, path, MEMORY)
    return {}


def _product(layout: str, path: str, network: str) -> dict[str, Any]:
    """Everything that `ewdetect backtest` does between its start and its report."""
    from ewdetect.backtest import run_backtest
    from ewdetect.engine import Settings
    from ewdetect.load import (
        content_root,
        load_fields,
        load_network,
        load_orientation,
        load_pack,
        load_source,
    )

    begin = time.perf_counter()
    marks: list[tuple[str, float]] = []
    fields = load_fields()
    pack = load_pack([content_root() / "rules"], fields)
    found = run_backtest(
        pack,
        load_source(_SOURCES[layout]),
        [path],
        load_network(network, fields),
        fields,
        load_orientation(),
        settings=Settings(memory=MEMORY),
        progress=lambda what: marks.append((what, time.perf_counter())),
    )
    end = time.perf_counter()
    reading, running = marks[0][1], marks[1][1]
    return {
        "steps": {"loading rules and network": reading - begin, "reading flows": running - reading,
                  "running rules": end - running},
        "kept": found.report.kept,
        "skipped": [each.rule for each in found.skipped],
        "alerts": [{"rule": a.rule.name, "crossing": a.crossing, "named": [str(v) for v in a.group.values()]}
                   for a in found.alerts],
    }


_KINDS: dict[str, Callable[..., dict[str, Any]]] = {"baseline": _baseline, "product": _product}

if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    result = _KINDS[kind](*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss       # kB on Linux
    sys.stdout.write(json.dumps(result | {"peak_mb": peak / 1024}) + "\n")

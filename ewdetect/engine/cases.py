"""Flows from a table rather than from a file: they take the same road as any canonical JSONL."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ewdetect.engine.engine import Engine, Settings
from ewdetect.flows import Orientation, Source
from ewdetect.model import Field
from ewdetect.network import Network


def open_flows(flows: Sequence[Mapping[str, Any]], network: Network, source: Source, fields: Mapping[str, Field],
               orientation: Orientation) -> Engine:
    """An engine that has read `flows`: canonical fields, times in microseconds since 1970 UTC. The caller closes it."""
    engine = Engine(fields, orientation, Settings(threads=1, samples=0))
    with tempfile.TemporaryDirectory(prefix="ewdetect-") as folder:
        path = Path(folder, "flows.jsonl")
        path.write_text("".join(json.dumps(_row(flow)) + "\n" for flow in flows), encoding="utf-8")
        report = engine.read(source, [str(path)], network, fields)
    if report.kept != len(flows):
        engine.close()
        raise ValueError(f"of {len(flows)} flows {report.kept} were kept: {dict(report.dropped)}")
    return engine


def _row(flow: Mapping[str, Any]) -> dict[str, Any]:
    seconds, micros = divmod(flow["event.start"], 1_000_000)
    return {**flow, "event.start": f"{seconds}.{micros:06d}"}

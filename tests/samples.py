"""mappings/<source>/sample.* → sample.flows.jsonl: what each source's raw records must become, reviewed line by line.

`make golden` writes them; tests/test_samples.py compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ewdetect.engine import Engine
from tests.world import ROOT, fields, office, orientation, source

MAPPINGS = ROOT / "mappings"


def samples() -> Iterator[tuple[str, Path]]:
    """Source name and raw sample of every source."""
    for folder in sorted(p.parent for p in MAPPINGS.glob("*/source.yml")):
        raw = [p for p in folder.glob("sample.*") if p.name != "sample.flows.jsonl"]
        assert len(raw) == 1, f"{folder} needs one raw sample"
        yield folder.name, raw[0]


def became(name: str, raw: Path) -> str:
    """The canonical flows of a raw sample and, last, what was passed over, dropped and repaired, as JSON lines."""
    record = [f.name for f in fields().values() if f.origin == "record"]
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(raw)], office(), [*record, "flow.reversed", "flow.inferred"])
        flows = engine.flows()
    told = {
        "passed": report.passed,
        "dropped": {d: [p.line for p in report.places if p.damage == d] for d in report.dropped},
        "repaired": dict(report.repaired),
    }
    return "".join(json.dumps(row) + "\n" for row in [*map(_row, flows), told])


def _row(flow: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in flow.items() if v is not False}


def golden_samples() -> Iterator[tuple[Path, str]]:
    for name, raw in samples():
        yield raw.with_name("sample.flows.jsonl"), became(name, raw)

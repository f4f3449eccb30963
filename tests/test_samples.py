"""Every source's raw sample becomes exactly the flows beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ewdetect.engine import Engine
from tests.samples import became, samples
from tests.world import fields, office, orientation, source

# Fields that only another form of the source's records has than its sample: Traffic Analytics' CSV, Zeek's JSON.
OTHER_FORM = {"azure_flow": {"network.protocol"}, "zeek_conn": {"observer.name"}}


@pytest.mark.parametrize(("name", "raw"), list(samples()))
def test_a_sample_becomes_these_flows(name: str, raw: Path) -> None:
    assert became(name, raw) == raw.with_name("sample.flows.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "raw"), list(samples()))
def test_a_sample_has_records_of_every_kind(name: str, raw: Path) -> None:
    """A dozen at least, each outcome that the source tells apart, each field that it fills, IPv6, and damage."""
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(raw)], office(), source(name).fields)
        flows = list(engine.flows())
    assert report.read >= 12 and report.dropped
    assert set(source(name).traits.outcomes) <= {flow.get("flow.outcome") for flow in flows}
    filled = {field for flow in flows for field in flow}
    assert source(name).fields.keys() - filled == OTHER_FORM.get(name, set())
    assert any(":" in flow["source.ip"] for flow in flows)

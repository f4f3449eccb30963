"""Every source's raw sample becomes exactly the flows beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import became, samples


@pytest.mark.parametrize(("name", "raw"), list(samples()))
def test_a_sample_becomes_these_flows(name: str, raw: Path) -> None:
    assert became(name, raw) == raw.with_name("sample.flows.jsonl").read_text(encoding="utf-8")

"""Every source with a mapping, beside the three of the other suites, executed in the shape of its integration."""

from __future__ import annotations

import pytest

from tests.convert_world import pack
from tests.engines.elasticsearch.client import Client
from tests.engines.ledger import Ledger
from tests.engines.other_sources import MAPPED, RULES, Ran, on_elastic, on_splunk
from tests.engines.writer import shape

ELASTIC, SPLUNK = ([name for name, siem in MAPPED if siem == wanted] for wanted in ("elastic", "splunk"))


@pytest.mark.parametrize("name", ELASTIC)
def test_the_same_alerts_in_elastic(node: Client, ledger: Ledger, name: str) -> None:
    judge([ran for rule in RULES for ran in on_elastic(node, shape(name, "elastic"), pack().rules[rule])], ledger)


@pytest.mark.parametrize("name", SPLUNK)
def test_the_same_alerts_in_splunk(ledger: Ledger, name: str) -> None:
    judge([ran for rule in RULES for ran in on_splunk(shape(name, "splunk"), pack().rules[rule])], ledger)


def judge(found: list[Ran], ledger: Ledger) -> None:
    """No alert differs, none is lost to repetition, and some alerts were there to be found."""
    for ran in found:
        ledger.add(ran.entry)
    assert not {(r.entry.rule, r.entry.context): r.wrong[:4] for r in found if r.wrong}
    assert not {(r.entry.rule, r.entry.context): r.lost[:4] for r in found if r.lost}
    assert sum(ran.entry.alerts for ran in found)

"""Every source with a mapping, beside the three of the other suites, executed in the shape of its integration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from tests.convert_world import pack, source
from tests.engines.elasticsearch.client import Client
from tests.engines.ledger import Ledger
from tests.engines.other_sources import MAPPED, RULES, Ran, on_elastic, on_splunk
from tests.engines.writer import SHARED, shape, shaped

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


# ---------------------------------------------------------------- faults

ENDS = {f"{side}.{part}": f"{side}.{part}" for side in ("source", "destination") for part in ("ip", "port")}
READ_BY = ("ewdetect.backends.predicate", "tests.engines.elastic_world", "tests.engines.esql_parity")


def unconditioned(vocabulary: Vocabulary, *names: str) -> Vocabulary:
    """The vocabulary without some conditions; without all of them where none is named."""
    def kept(step: Mapping[str, Any]) -> Mapping[str, Any]:
        if step["type"] != "add_condition" or not names:
            return step
        return {**step, "conditions": {k: v for k, v in step["conditions"].items() if k not in names}}

    return replace(vocabulary, transformations=tuple(
        kept(step) for step in vocabulary.transformations if names or step["type"] != "add_condition"))


# Both the query and the writer read a faulty mapping, but for the last fault, where the query alone does.
FAULTS: dict[str, tuple[str, str, Callable[[Vocabulary], Vocabulary], bool]] = {
    "an answer's source for who began": ("aws_vpc_flow", "db_unapproved_role", lambda vocabulary: replace(
        vocabulary, fields={**vocabulary.fields, **ENDS}), True),
    "any flags for a SYN-ACK": ("aws_vpc_flow", "smb_fanout", lambda vocabulary: unconditioned(
        vocabulary, "aws.vpcflow.tcp_flags"), True),
    "seconds for milliseconds": ("istio_access", "long_session", lambda vocabulary: replace(
        vocabulary, scale={**vocabulary.scale, "event.duration": 1}), True),
    "any record of the sensor": ("juniper_srx", "log_path_broken", unconditioned, False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_mapping_is_seen(node: Client, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, rule, change, written = FAULTS[fault]
    right = load_vocabulary(SHARED["elastic"], "elastic", source(name))
    for module in READ_BY:
        monkeypatch.setattr(f"{module}.load_vocabulary", lambda *_: change(right))
    found = on_elastic(node, shaped("elastic", source(name), change(right) if written else right), pack().rules[rule])
    assert any(ran.wrong for ran in found)


def test_the_end_of_a_session_for_its_start_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ewdetect.backends.splunk.events.started", lambda setting: [])
    assert any(ran.wrong for ran in on_splunk(shape("palo_alto", "splunk"), pack().rules["scan_hosts_failed"]))

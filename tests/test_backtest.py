"""Which rules run on which telemetry, and the order of what they find."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ewdetect.backtest import Backtest, run_backtest
from ewdetect.coverage import lack
from ewdetect.engine import Settings
from ewdetect.model import Pack
from ewdetect.problems import Rejected
from ewdetect.resolve import chosen_rules, resolve_rule
from tests.world import correlation, event_rule, fields, office, orientation, own_rule, pack, source

SSH = event_rule("ssh", {"destination.port": 22, "network.scope": "internal"})
DECOY = event_rule("decoy", {"destination.is_decoy": True})
FANOUT = correlation("fanout", "value_count", ["ssh"], "10m", group_by=["source.ip"],
                     condition={"field": "destination.ip", "gte": 2})


def flow(minute: int, destination: str, **more: Any) -> dict[str, Any]:
    return {"event.start": f"2026-01-15T10:{minute:02d}:00Z", "source.ip": "10.10.4.17", "source.port": 50000 + minute,
            "destination.ip": destination, "destination.port": 22, "network.transport": "tcp",
            "flow.outcome": "established", **more}


def backtest(folder: Path, rules: Pack, *flows: Mapping[str, Any], **more: Any) -> Backtest:
    path = folder / "flows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in flows), encoding="utf-8")
    return run_backtest(rules, source("flow"), [str(path)], office(), fields(), orientation(), **more)


def test_alerts_of_all_rules_come_in_the_order_of_their_crossings(tmp_path: Path) -> None:
    result = backtest(tmp_path, pack(SSH, FANOUT, DECOY), flow(1, "10.30.0.11"), flow(3, "10.30.0.250"),
                      flow(2, "10.30.0.12"))
    assert [alert.rule.name for alert in result.alerts] == ["ssh", "fanout", "ssh", "decoy", "ssh"]
    assert result.rules == ("ssh", "fanout", "decoy")
    assert (result.report.read, result.report.kept, result.skipped) == (3, 3, ())


def test_only_the_rules_that_are_asked_for(tmp_path: Path) -> None:
    result = backtest(tmp_path, pack(SSH, FANOUT, DECOY), flow(1, "10.30.0.250"), only=["decoy", "decoy"])
    assert [alert.rule.name for alert in result.alerts] == ["decoy"]
    assert result.rules == ("decoy",)


def test_what_goes_on_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    backtest(tmp_path, pack(SSH, DECOY), flow(1, "10.30.0.250"), progress=told.append, settings=Settings(threads=1))
    assert told == ["reading flows", "ssh", "decoy"]


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(Rejected) as caught:
        chosen_rules(pack(SSH, DECOY), ["decoi", "ssh", "nothing_like_it"])
    assert [(p.code, p.fix) for p in caught.value.problems] == [
        ("rule/unknown", "did you mean `decoy`?"), ("rule/unknown", "use one of: decoy, ssh")]


def test_a_rule_may_be_named_by_its_id_and_need_not_alert() -> None:
    rules = pack(SSH)
    silent = Pack({"ssh": replace(rules.rules["ssh"], id="some-id", alerts=False)})
    assert chosen_rules(silent, []) == ()
    assert [rule.name for rule in chosen_rules(silent, ["some-id"])] == ["ssh"]


def lacking(rule: dict[str, Any], source_name: str = "zeek_conn", **needs: Any) -> str:
    document = {**rule, "ewdetect": {"needs": needs}} if needs else rule
    rules = pack(document)
    return lack(resolve_rule(rules.rules[rule["name"]], rules), source(source_name), fields())


def test_a_field_that_the_source_does_not_fill_skips_the_rule() -> None:
    action = event_rule("denied", {"event.action": "denied"})
    assert lacking(action) == "zeek_conn does not tell event.action"
    assert lacking(action, "flow") == ""


def test_what_is_declared_counts_rather_than_what_is_read() -> None:
    either = event_rule("either", [{"event.action": "denied"}, {"flow.outcome": "failed"}])
    assert lacking(either, telemetry=["flow.outcome"]) == ""
    assert lacking(either, telemetry=["event.action"]) == "zeek_conn does not tell event.action"


def test_traits_can_be_needed_too() -> None:
    one_way = replace(source("flow"), traits=replace(source("flow").traits, bidirectional=False))
    rules = pack({**SSH, "ewdetect": {"needs": {"telemetry": ["bidirectional"]}}})
    resolved = resolve_rule(rules.rules["ssh"], rules)
    assert lack(resolved, one_way, fields()) == "flow is not bidirectional"
    assert lack(resolved, source("flow"), fields()) == ""


def test_a_beacon_needs_the_intervals_of_the_traffic() -> None:
    beat = own_rule("beat", "beacon", "ssh", group_by=["source.ip"], timespan="1h", size="source.bytes", minimum=5,
                    lasting="5m", score=0.8)
    rules = pack(SSH, beat)
    resolved, traits = resolve_rule(rules.rules["beat"], rules), source("flow").traits
    assert lack(resolved, source("flow"), fields()) == ""
    for changed, word in (({"sampled": True}, "sampled"), ({"timing": "aggregated"}, "aggregated times")):
        unfit = replace(source("flow"), traits=replace(traits, **changed))
        assert word in lack(resolved, unfit, fields())
        assert lack(resolve_rule(rules.rules["ssh"], rules), unfit, fields()) == ""


def test_an_outcome_that_the_source_never_reports_skips_the_rule() -> None:
    assert lacking(event_rule("refused", {"flow.outcome": "denied"})) == (
        "zeek_conn cannot tell whether a connection was denied")
    assert lacking(event_rule("refused", {"flow.outcome": ["denied", "failed"]})) == ""


def test_an_exception_that_can_never_hit_skips_nothing() -> None:
    assert lacking(event_rule("allowed", {"destination.port": 22}, "selection and not filter_denied",
                              filter_denied={"flow.outcome": "denied"})) == ""


def test_context_and_derived_fields_are_always_there() -> None:
    assert lacking(event_rule("context", {"destination.is_decoy": True, "network.scope": "internal"})) == ""


def test_a_skipped_rule_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    record = {"ts": 1768471200.5, "uid": "C1", "id.orig_h": "10.10.4.17", "id.orig_p": 50000,
              "id.resp_h": "10.30.0.250", "id.resp_p": 22, "proto": "tcp", "conn_state": "SF"}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    result = run_backtest(pack(event_rule("denied", {"event.action": "denied"}), DECOY), source("zeek_conn"),
                          [str(path)], office(), fields(), orientation())
    assert [(skipped.rule, skipped.reason) for skipped in result.skipped] == [
        ("denied", "zeek_conn does not tell event.action")]
    assert result.rules == ("decoy",) and len(result.alerts) == 1


def test_a_field_of_one_side_brings_the_other(tmp_path: Path) -> None:
    """A flow that is turned round needs both sides, whichever of them the rule reads."""
    record = {
        "event_type": "flow",
        "flow_id": 1,
        "src_ip": "10.30.0.1",
        "src_port": 445,
        "dest_ip": "10.10.0.1",
        "dest_port": 56575,
        "proto": "TCP",
        "tcp": {"tcp_flags_ts": "00", "tcp_flags_tc": "00"},
        "flow": {
            "start": "2026-01-15T10:00:00Z",
            "end": "2026-01-15T10:00:01Z",
            "state": "new",
            "pkts_toserver": 3,
            "pkts_toclient": 7,
            "bytes_toserver": 30,
            "bytes_toclient": 70,
        },
    }
    flows = tmp_path / "eve.json"
    flows.write_text(json.dumps(record), encoding="utf-8")
    made = pack(event_rule("chatty", {"source.packets": 7}))
    found = run_backtest(made, source("suricata_eve"), [str(flows)], office(), fields(), orientation())
    assert [(a.samples[0]["source.packets"], a.samples[0]["flow.reversed"]) for a in found.alerts] == [(7, True)]

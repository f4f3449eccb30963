"""The policy checks, and `check` over a folder: each code where it belongs, and nothing on a good rule."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ewdetect.check import check_paths
from ewdetect.checks import CHECKS, page_of
from ewdetect.problems import Problem, Severity

SWEEP = """\
title: Suspicious Host Sweep
id: 11111111-1111-4111-8111-111111111111
name: sweep
status: experimental
description: Detects one host that tries many others.
references: [https://attack.mitre.org/techniques/T1046/]
author: ewdetect
date: 2026-11-23
tags: [attack.discovery, attack.t1046]
correlation:
    type: value_count
    rules: [sweep_try]
    group-by: [source.ip]
    timespan: 10m
    condition: {gte: 20, field: destination.ip}
falsepositives: [Scanners that the network context does not mark]
level: high
ewdetect:
    guide: |
        1. Read the source.
        2. Read the targets.
        3. Ask the owner.
        4. Look for logons.
        5. Isolate it.
    tuning: Mark scanners with `is_scanner`.
    needs: {telemetry: [flow.outcome], context: [zone]}
---
title: Failed Connection From a Client
id: 22222222-2222-4222-8222-222222222222
name: sweep_try
logsource: {category: network, service: connection}
detection:
    selection:
        source.zone: clients
        flow.outcome: failed
    condition: selection
level: informational
"""

TEST = """\
network: office
cases:
  - name: fires
    flows: |
      id   at     source.ip  destination.ip  destination.port
      try  09:00  10.1.0.1   10.2.0.1..30    22
    alerts: [{source.ip: 10.1.0.1}]
  - name: quiet
    flows: |
      id   at     source.ip  destination.ip  destination.port
      try  09:00  10.1.0.1   10.2.0.1        22
    alerts: []
"""

NETWORK = """\
name: office
description: A small one.
networks:
  - {cidr: 10.1.0.0/16, zone: clients}
"""

Checked = Callable[..., list[Problem]]


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Checks a folder with one rule file, its test file and a network file, as texts."""
    monkeypatch.chdir(tmp_path)

    def run(rule: str = SWEEP, test: str | None = TEST, network: str | None = None) -> list[Problem]:
        Path("rules").mkdir()
        Path("rules/sweep.yml").write_text(rule, encoding="utf-8")
        if test is not None:
            Path("rules/sweep.test.yaml").write_text(test, encoding="utf-8")
        if network is not None:
            Path("office.yml").write_text(network, encoding="utf-8")
        return check_paths(["rules"], None if network is None else "office.yml")
    return run


def shown(found: list[Problem]) -> list[str]:
    return [f"{p.location} {p.code}".removeprefix("rules/") for p in found]


def test_a_good_rule_has_no_problems(checked: Checked) -> None:
    assert checked(network=NETWORK) == []


# Each: what is replaced in the rule by what, and the one problem: place and code, and a part of what it says.
EDITS = {
    "technique that never was": ("attack.t1046", "attack.t9046", "sweep.yml:9:26 rule/unknown-technique", "T9046"),
    "revoked technique": ("attack.t1046", "attack.t1562.004", "sweep.yml:9:26 rule/retired-technique", "attack.t1686"),
    "revoked with its parent": ("attack.t1046", "attack.t1562.001", "sweep.yml:9:26 rule/retired-technique",
                                "attack.t1685"),
    "deprecated technique": ("attack.t1046", "attack.t1043", "sweep.yml:9:26 rule/retired-technique", "deprecated"),
    "tactic of before v19": ("attack.discovery", "attack.defense-evasion", "sweep.yml:9:8 rule/unknown-tactic",
                             "defense-"),
    "technique alone": ("attack.discovery, ", "", "sweep.yml:9:8 rule/technique-without-tactic", "`attack.discovery`"),
    "tactic of no technique": ("attack.discovery", "attack.discovery, attack.impact",
                               "sweep.yml:9:26 rule/tactic-mismatch", "`impact`"),
    "no author": ("author: ewdetect\n", "", "sweep.yml:1:1 rule/incomplete-head", "`author`"),
    "no references": ("[https://attack.mitre.org/techniques/T1046/]", "[]", "sweep.yml:6:1 rule/incomplete-head",
                      "`references`"),
    "no tuning": ("    tuning: Mark scanners with `is_scanner`.\n", "", "sweep.yml:18:1 rule/incomplete-head",
                  "`ewdetect.tuning`"),
    "description": ("Detects one host", "One host", "sweep.yml:5:1 rule/description-style", "starts with `Detects`"),
    "short guide": ("        5. Isolate it.\n", "", "sweep.yml:19:5 rule/short-guide", "4 numbered steps"),
    "title": ("title: Suspicious", "title: Detects Suspicious", "sweep.yml:1:1 rule/title-style", "Detects"),
    "long title": ("Host Sweep", "Host Sweep" * 12, "sweep.yml:1:1 rule/long-title", "131 characters"),
    "address": ("source.zone: clients", "source.ip|cidr: 10.1.0.0/16", "sweep.yml:34:9 rule/tests-address",
                "source.ip"),
    "long flows": ("source.zone: clients", "event.duration|gte: 3600", "sweep.yml:34:9 rule/long-flows",
                   "`ewdetect.flows-last`"),
    "log source": ("category: network, service: connection", "category: firewall",
                   "sweep.yml:31:1 rule/other-logsource", "category: network"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_rule_that_breaks_policy_is_told(edit: tuple[str, str, str, str], checked: Checked) -> None:
    old, new, expected, said = edit
    assert old in SWEEP
    found = checked(SWEEP.replace(old, new, 1))
    assert shown(found) == [expected]
    assert said in f"{found[0].message} {found[0].fix}"


def test_a_base_rule_that_nobody_uses_is_told(checked: Checked) -> None:
    more = SWEEP.split("---\n")[1].replace("22222222-", "33333333-").replace("sweep_try", "sweep_other")
    assert shown(checked(f"{SWEEP}---\n{more}")) == ["sweep.yml:48:1 rule/unused-base"]


@pytest.mark.parametrize("item", ["event.duration|gte: 3599", "event.duration|lt: 9000", "event.duration|gte: 86399"])
def test_flows_that_a_schedule_waits_for(item: str, checked: Checked) -> None:
    long = "86399" in item
    found = checked(SWEEP.replace("source.zone: clients", item).replace(
        "    tuning:", "    flows-last: 1d\n    tuning:" if long else "    tuning:", 1))
    assert shown(found) == []


def test_groups_and_software_are_tags_too(checked: Checked) -> None:
    assert checked(SWEEP.replace("attack.t1046", "attack.t1046, attack.g0007, attack.s0002, tlp.clear")) == []


def test_base_rules_need_no_full_head(checked: Checked) -> None:
    assert "rule/incomplete-head" not in {p.code for p in checked(SWEEP.replace("level: high", "level: informational"))}


def test_presence_of_an_address_is_not_a_test_of_it(checked: Checked) -> None:
    assert checked(SWEEP.replace("source.zone: clients", "source.ip|exists: true")) == []


def test_a_rule_without_proof(checked: Checked) -> None:
    found = checked(test=None)
    assert shown(found) == ["sweep.yml:3:1 test/missing"]
    assert found[0].fix == "write `sweep.test.yaml` beside it"


TESTS = {
    "only quiet": (TEST.replace("[{source.ip: 10.1.0.1}]", "[]"), ["sweep.test.yaml:2:1 test/never-fires"]),
    "only firing": (TEST.replace("alerts: []", "alerts: [{rule: sweep}]"), ["sweep.test.yaml:2:1 test/never-quiet"]),
    "another rule": (TEST.replace("{source.ip", "{rule: sweep_try, source.ip"),
                     ["sweep.test.yaml:2:1 test/never-fires"]),
    "bad key": (TEST.replace("flows", "flow", 1), ["sweep.test.yaml:3:5 test/missing-key",
                                                   "sweep.test.yaml:4:5 test/unknown-key"]),
    "bad table": (TEST.replace("destination.port\n", "destination.prt\n", 1),
                  ["sweep.test.yaml:5:46 test/unknown-column"]),
    "not YAML": ("cases: [", ["sweep.test.yaml:2:1 yaml/syntax"]),
    "two documents": (f"{TEST}---\n{TEST}", ["sweep.test.yaml:14:1 test/one-document"]),
}


@pytest.mark.parametrize("case", TESTS.values(), ids=TESTS.keys())
def test_a_proof_that_proves_too_little(case: tuple[str, list[str]], checked: Checked) -> None:
    text, expected = case
    assert shown(checked(test=text)) == expected


def test_a_zone_that_no_entry_has_is_a_warning_where_the_rule_names_it(checked: Checked) -> None:
    found = checked(SWEEP.replace("source.zone: clients", "source.zone: [unknown, clints, CLIENTS]"), network=NETWORK)
    assert shown(found) == ["sweep.yml:34:32 network/unused-value"]
    assert (found[0].severity, found[0].fix) == (Severity.WARNING, "did you mean `clients`?")


@pytest.mark.parametrize(("item", "known"), [("source.zone|startswith: cli", True), ("source.zone|contains: x", False),
                                             ("source.zone: 'cl*'", True), ("source.zone: 'x*'", False),
                                             ("source.zone|re: x", True), ("source.is_decoy: true", True)])
def test_parts_of_zone_names_are_understood(item: str, known: bool, checked: Checked) -> None:
    found = checked(SWEEP.replace("source.zone: clients", item), network=NETWORK)
    assert [p.code for p in found] == ([] if known else ["network/unused-value"])


def test_the_network_file_is_checked_too(checked: Checked) -> None:
    found = checked(network=NETWORK.replace("10.1.0.0/16", "10.1.0.5/16"))
    assert [(str(p.location)[:10], p.code) for p in found] == [("office.yml", "network/host-bits-set")]


def test_entries_of_the_network_that_change_nothing_are_warnings(checked: Checked) -> None:
    found = checked(network=f"{NETWORK}  - {{cidr: 10.1.2.0/24, zone: clients}}\n")
    assert [(str(p.location), p.severity) for p in found] == [("office.yml:5:6", Severity.WARNING)]


def test_problems_of_rules_tests_and_network_come_together_in_reading_order(checked: Checked) -> None:
    found = checked(SWEEP.replace("flow.outcome: failed", "flow.outcom: failed").replace("author: ewdetect\n", ""),
                    TEST.replace("network:", "net:"), NETWORK.replace("zone:", "zones:"))
    assert shown(found) == [
        "office.yml:4:25 network/unknown-key", "sweep.test.yaml:1:1 test/missing-key",
        "sweep.test.yaml:1:1 test/unknown-key", "sweep.yml:1:1 rule/incomplete-head",
        "sweep.yml:34:9 rule/unknown-field"]


def test_a_condition_that_does_not_parse_is_found(checked: Checked) -> None:
    assert shown(checked(SWEEP.replace("condition: selection", "condition: (selection"))) == [
        "sweep.yml:32:1 rule/not-sigma"]


def test_a_path_that_does_not_exist_is_a_problem() -> None:
    assert [p.code for p in check_paths(["nowhere"])] == ["path/missing"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__module__.rpartition(".")[2])
def test_every_check_has_a_user_page(check: Callable[..., object]) -> None:
    page = sys.modules[check.__module__].__doc__ or ""
    code = page.partition("- `")[2].partition("`")[0]
    assert "\n\n" in page
    assert page_of(code) == page


def test_a_code_without_a_check_has_no_page() -> None:
    assert page_of("rule/no-such-code") == ""

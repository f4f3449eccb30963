"""Real flows of real attacks (../shared/data, third-party): everything reads, and what the rules find is written down.

The table in tests/golden/shared_data.txt is the judgement: one line for each capture with what its labels say, the
rules that fired, and why the others did not. Refresh it with `make golden` and read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from ewdetect.engine import Engine
from ewdetect.load import load_pack
from ewdetect.network import Network
from ewdetect.plan import fields_used
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from tests.world import ROOT, SHARED, fields, network, orientation, source

GOLDEN = ROOT / "tests" / "golden" / "shared_data.txt"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")

# folder or file → source, flows that its README promises
COUNTS = {
    "lab/lab.eve.jsonl.gz": ("suricata_eve", 354),
    "mordor/*.eve.jsonl.gz": ("suricata_eve", 255),
    "zeek_btest/eve": ("suricata_eve", 722),
    "zeek_apt29_day1/*.conn.log.gz": ("zeek_conn", 613),
    "zeek_zat/conn.log": ("zeek_conn", 50),
}

# What keeps the rest of each set below every threshold.
WHY_NOT = {
    "lab": "six SSH passwords are too few to be guessing; the hops go to one host each",
    "mordor": "one workstation administers one host in each capture; most rules ask for two or more",
    "apt29": "one workstation administers one other; the way from there leads to the domain controller only",
    "zat": "benign",
}


@cache
def rules() -> tuple[ResolvedRule, ...]:
    pack = load_pack([ROOT / "rules"], fields())
    return tuple(resolve_rule(rule, pack) for rule in pack.alerting())


def fired(name: str, pattern: str, world: Network) -> tuple[int, set[str]]:
    """Flows kept, and the rules that alerted."""
    used = frozenset().union(*map(fields_used, rules()))
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(SHARED / pattern)], world, used)
        return report.kept, {r.rule.name for r in rules() if engine.alerts(r)}


def world(environment: str) -> Network:
    """The hosts of one environment as hosts.tsv names them."""
    lines = [line.split("\t") for line in (SHARED / "hosts.tsv").read_text().splitlines()[1:]]
    mine = [(address, role) for _, where, address, _, role, _ in lines if where == environment]
    entries = [
        f"  - {{cidr: {a}, role: {'dc' if 'domain controller' in r else r.split(',')[0].split(':')[0]!r}}}"
        for a, r in mine
    ]
    return network("name: shared\nnetworks:\n" + "\n".join(entries) + "\n")


@pytest.mark.parametrize("pattern", COUNTS)
def test_every_flow_that_the_readme_promises_is_read(pattern: str) -> None:
    name, flows = COUNTS[pattern]
    with Engine(fields(), orientation()) as engine:
        assert engine.read(source(name), [str(SHARED / pattern)], network("name: n\nnetworks: []\n"), ()).kept == flows


@pytest.mark.parametrize("name", ["flow", "suricata_eve", "zeek_conn"])
@pytest.mark.parametrize("folder", sorted(p.name for p in SHARED.glob("*/")) if SHARED.is_dir() else [])
def test_every_source_survives_every_file(folder: str, name: str) -> None:
    """What another sensor wrote is refused, or counted as damage; it never crashes and nothing is lost."""
    codes: set[str] = set()
    lost = 0
    with Engine(fields(), orientation()) as engine:
        try:
            report = engine.read(source(name), [str(SHARED / folder)], network("name: n\nnetworks: []\n"), ())
            lost = report.read - report.kept - report.passed - sum(report.dropped.values())
        except Rejected as refused:
            codes = {p.code for p in refused.problems}
    assert codes <= {"flows/wrong-source", "flows/unknown-column", "path/missing"} and lost == 0


def test_masked_times_are_refused_record_by_record() -> None:
    with Engine(fields(), orientation()) as engine:
        report = engine.read(
            source("zeek_conn"), [str(SHARED / "zeek_btest/conn")], network("name: n\nnetworks: []\n"), ()
        )
    assert (report.kept, report.dropped) == (3, {"bad-time": 674})


def rows() -> Iterator[tuple[str, str, str, set[str]]]:
    """Set, capture, what the labels say, rules that fired."""
    yield "lab", "lab.eve", "T1046 scans, T1110 SSH guessing, T1021 one SSH and one SMB hop", fired(
        "suricata_eve", "lab/lab.eve.jsonl.gz", world("lab"))[1]
    captures: list[dict[str, Any]] = json.loads((SHARED / "mordor/labels.json").read_text())["captures"]
    for capture in captures:
        for sensor in capture["sensors"]:
            name = sensor["file"].removesuffix(".eve.jsonl.gz")
            said = f"{capture['behaviour']}, {capture['attacker']} to {capture['target']}"
            yield (
                "mordor",
                name,
                said,
                fired("suricata_eve", f"mordor/{sensor['file']}", world(capture["environment"]))[1],
            )
    steps = json.loads((SHARED / "zeek_apt29_day1/labels.json").read_text())["steps"]
    said = ", ".join(dict.fromkeys(step["behaviour"] for step in steps))
    yield "apt29", "both sensors", said, fired("zeek_conn", "zeek_apt29_day1/*.conn.log.gz", world("dmevals.local"))[1]
    yield (
        "zat",
        "conn.log",
        "domain logon",
        fired("zeek_conn", "zeek_zat/conn.log", network("name: n\nnetworks: []\n"))[1],
    )


def table() -> str:
    lines = [f"{where:<7} {name:<78} {said:<60} {', '.join(sorted(found)) or '-':<12} {WHY_NOT[where]}"
             for where, name, said, found in rows()]
    return "\n".join(lines) + "\n"


def test_each_labelled_behaviour_with_a_rule_is_found() -> None:
    """What was found and missed, line by line, is a golden file."""
    assert table() == GOLDEN.read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for where, _, _, names in rows():
        found.setdefault(where, set()).update(names)
    assert found == {"lab": {"admin_not_from_jump", "scan_ports", "scan_service_probe"}, "mordor": {"smb_then_exec"},
                     "apt29": {"smb_then_exec"}, "zat": set()}

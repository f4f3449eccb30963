"""Real records of other sensors (../shared/data, third-party): each folder reads, and sensors of one incident agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ewdetect.backtest import run_backtest
from ewdetect.engine import Engine, ReadReport
from ewdetect.load import load_pack
from tests.test_shared_data import world
from tests.world import ROOT, SHARED, fields, network, orientation, source

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")

# Source, files, records that the README promises; then what became of them: flows, and records of other kinds.
READ: dict[str, tuple[str, int, int, int]] = {
    "mordor/*sysmon_3*": ("sysmon_3", 725, 539, 0),
    "mordor/*5156*": ("windows_5156", 2066, 1281, 0),
    "hubble/tcp_400.jsonl.gz": ("cilium_hubble", 400, 57, 0),
    "hubble/udp_400.jsonl.gz": ("cilium_hubble", 400, 111, 0),
    "hubble/dns_330.jsonl.gz": ("cilium_hubble", 330, 67, 0),
    "netobserv/flow_records.json": ("openshift_netobserv", 50, 17, 0),
    "netobserv/flow_records_has_dropped.json.gz": ("openshift_netobserv", 50, 45, 0),
    "netobserv/flow_records_sent.json": ("openshift_netobserv", 50, 24, 4),
    "azure_nsg/az_net_flows.csv.gz": ("azure_flow", 460, 371, 0),
    "netflow/tools/lab.nfdump.json.gz": ("netflow", 702, 356, 0),
    "netflow/tools/lab.nfdump.csv.gz": ("netflow", 702 + 3, 356, 3),
    "netflow/tools/lab.pmacct.jsonl.gz": ("netflow", 698, 356, 0),
    "netflow/tools/empire*.nfdump.json": ("netflow", 16, 8, 0),
}
# Vendor and sourcetype of the firewall lines → source, lines that are records of flows. Two of Check Point have no
# source address.
LINES: dict[tuple[str, str], tuple[str, int]] = {
    ("Check Point", "cp_log"): ("check_point", 7), ("Check Point", "cp_log:syslog"): ("check_point", 2),
    ("Cisco ASA", "cisco:asa"): ("cisco_asa", 5), ("Cisco ASA", "cisco:ftd"): ("cisco_ftd", 3),
    ("Fortinet", "fgt_traffic"): ("fortinet_fortigate", 4),
    ("Juniper Junos", "juniper:junos:firewall"): ("juniper_srx", 2),
    ("Juniper Junos", "juniper:junos:firewall:structured"): ("juniper_srx", 1),
    ("Palo Alto Networks", "pan:traffic"): ("palo_alto", 6), ("Ubiquiti", "ubnt:fw"): ("iptables", 2),
    ("pfSense", "pfsense:filterlog"): ("pfsense", 1),
}


def read(name: str, *paths: Path | str) -> tuple[ReadReport, list[dict[str, Any]]]:
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(p) for p in paths], network("name: n\nnetworks: []\n"), fields())
        assert report.read == report.kept + report.joined + report.passed + sum(report.dropped.values())
        return report, engine.flows()


@pytest.mark.parametrize("pattern", READ)
def test_every_record_that_the_readme_promises_is_read(pattern: str) -> None:
    name, records, flows, others = READ[pattern]
    report, _ = read(name, SHARED / pattern)
    assert (report.read, report.kept, report.passed, report.dropped) == (records, flows, others, {})


@pytest.mark.parametrize(("vendor", "sourcetype"), LINES)
def test_firewall_lines_as_their_vendors_write_them(tmp_path: Path, vendor: str, sourcetype: str) -> None:
    name, flows = LINES[vendor, sourcetype]
    rows = map(json.loads, (SHARED / "syslog_firewalls" / "samples.jsonl").read_text().splitlines())
    lines = [row["line"] for row in rows if (row["vendor"], row["sourcetype"]) == (vendor, sourcetype)]
    path = tmp_path / "lines.log"
    path.write_text("".join(line + "\n" for line in lines))
    report, _ = read(name, path)
    assert report.kept + report.joined + report.dropped.get("duplicate", 0) == flows, (len(lines), report)


def outcomes(flows: list[dict[str, Any]]) -> dict[tuple[Any, ...], str]:
    return {(f["source.ip"], f.get("source.port"), f["destination.ip"], f.get("destination.port")): f["flow.outcome"]
            for f in flows if f["network.transport"] == "tcp"}


@pytest.mark.parametrize("collector", ["nfdump.json.gz", "nfdump.csv.gz", "pmacct.jsonl.gz"])
def test_netflow_says_of_tcp_what_suricata_says(collector: str) -> None:
    """One capture, exported and collected: the same connections, the same way round, with the same outcome."""
    _, seen = read("suricata_eve", SHARED / "lab/lab.eve.jsonl.gz")
    _, exported = read("netflow", SHARED / f"netflow/tools/lab.{collector}")
    assert outcomes(exported) == outcomes(seen) and len(outcomes(seen)) == 342


def test_hosts_and_network_agree_on_who_began() -> None:
    """Where Suricata saw the SYN, Sysmon and the filtering platform never name the other side as the initiator."""
    _, network_flows = read("suricata_eve", SHARED / "mordor/*.eve.jsonl.gz")
    proved = set(outcomes([f for f in network_flows if not f["flow.inferred"]]))
    turned = {(d, dp, s, sp) for s, sp, d, dp in proved}
    for name, pattern in (("sysmon_3", "mordor/*sysmon_3*"), ("windows_5156", "mordor/*5156*")):
        host = set(outcomes(read(name, SHARED / pattern)[1]))
        assert len(host & proved) > 50 and not host & turned


# Incidents of which the network's sensor raises an alert, and what host sensors lack for that rule.
ALERTED = {"covenant_dcom_iertutil_dll_hijack": "smb_then_exec", "covenant_wmi_wbemcomn_dll_hijack": "smb_then_exec"}


def alerted(name: str, pattern: str) -> tuple[set[tuple[str, str]], dict[str, str]]:
    """Rule and group of each alert of the whole pack, and why rules were left out."""
    rules = load_pack([ROOT / "rules"], fields())
    result = run_backtest(rules, source(name), [str(SHARED / "mordor" / pattern)], world("theshire.local"), fields(),
                          orientation())
    return ({(a.rule.name, str(sorted(dict(a.group).items()))) for a in result.alerts},
            {s.rule: s.reason for s in result.skipped})


@pytest.mark.parametrize("incident", ALERTED)
def test_sensors_of_one_incident_raise_the_same_alerts_but_for_what_traits_say(incident: str) -> None:
    seen, _ = alerted("suricata_eve", f"{incident}*.eve.jsonl.gz")
    assert {rule for rule, _ in seen} == {ALERTED[incident]}
    for name, kind in (("sysmon_3", "sysmon_3"), ("windows_5156", "security_5156_5157")):
        found, lacking = alerted(name, f"{incident}.{kind}.jsonl.gz")
        assert found == {(rule, group) for rule, group in seen if rule not in lacking}
        assert "bytes" in lacking[ALERTED[incident]]

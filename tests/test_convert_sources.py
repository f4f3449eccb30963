"""Every rule on every source becomes a query, or is refused with a reason. tests/golden holds a few for review."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ewdetect.backends import vocabulary
from ewdetect.backends.repeats import refuse_counts
from ewdetect.backends.vocabulary import load_vocabulary
from ewdetect.convert import backend, convert_rule
from ewdetect.coverage import Grade, cover
from ewdetect.load import load_sources
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests.convert_world import DIALECTS, ROOT, anywhere, bare, converted, fields, office, pack
from tests.convert_world import rule as asking
from tests.convert_world import source as source_of

SOURCES = [source.name for source in load_sources()]
MAPPED = [*((name, dialect) for name in ("aws_vpc_flow", "check_point", "cisco_ftd", "corelight", "fortinet_fortigate",
                                         "gcp_vpc_flow", "juniper_srx", "ocsf_4001", "palo_alto", "sysmon_3",
                                         "windows_5156")
            for dialect in ("esql", "spl")),
          ("istio_access", "esql"), ("packetbeat_flow", "esql")]

# Exporters of NetFlow: a record for each direction, interval and exporter.
EXPORTED = [("netflow_elastic", "esql"), ("netflow_stream", "spl")]
# Packet filters: a record for each packet that a rule logged, and no answers.
PACKETS = [(name, dialect) for name in ("iptables", "pfsense") for dialect in ("esql", "spl")]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SOURCES)
def test_every_rule_converts_or_says_why_not(name: str, dialect: str) -> None:
    told = next(s for s in load_sources() if s.name == name)
    for asked in pack().alerting():
        covered = cover(resolve_rule(asked, pack()), told, fields())
        try:
            query = converted(asked, dialect, source_name=name)
        except Rejected as rejected:
            refusals = [(p.code, p.message, p.fix) for p in rejected.problems]
        else:
            refusals = []
        assert all(code.startswith("convert/") and message and fix for code, message, fix in refusals)
        if refusals:
            continue
        assert covered.grade is not Grade.IMPOSSIBLE
        assert any(c.startswith("Degraded: ") for c in query.caveats) is (covered.grade is Grade.DEGRADED)


@pytest.mark.parametrize("siem", ["elastic", "splunk"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_queries_or_says_why_not(name: str, siem: str) -> None:
    mapped = (ROOT / "mappings" / name / f"{siem}.yml").is_file()
    why = source_of(name).unqueried.get(siem)
    assert mapped is not bool(why)
    if why:
        with pytest.raises(Rejected) as refused:
            converted(pack().rules["smb_fanout"], "esql" if siem == "elastic" else "spl", source_name=name)
        assert [p.code for p in refused.value.problems] == ["convert/no-mapping"]
        assert refused.value.problems[0].message == f"`{name}` has no queries in {siem}: {why}"


@pytest.mark.parametrize(("name", "dialect"), MAPPED)
def test_a_mapped_source_converts_what_it_can_tell(name: str, dialect: str) -> None:
    assert "445" in converted(pack().rules["smb_fanout"], dialect, source_name=name).text


@pytest.mark.parametrize(("name", "dialect"), PACKETS)
def test_a_repeated_packet_changes_no_count_of_different_values(name: str, dialect: str) -> None:
    for found in ("deny_breadth", "scan_icmp_sweep", "scan_ports"):
        query = converted(pack().rules[found], dialect, source_name=name)
        assert any("a connection may alert again" in caveat for caveat in query.caveats)
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["log_path_broken"], dialect, source_name=name)
    assert [p.code for p in refused.value.problems] == ["convert/several-records"]


@pytest.mark.parametrize(("name", "dialect"), EXPORTED)
def test_of_netflow_ports_tell_who_began(name: str, dialect: str) -> None:
    query = converted(pack().rules["ssh_fanout"], dialect, source_name=name)
    assert any("at 32768 or above" in caveat for caveat in query.caveats)
    assert {"esql": "source.port >= 32768 AND destination.port < 32768", "spl": "src_port>=32768 AND dest_port<32768"}[
        dialect] in query.text
    for refused in ("scan_icmp_sweep", "auth_brute_short", "large_internal_transfer", "long_session"):
        with pytest.raises(Rejected):
            converted(pack().rules[refused], dialect, source_name=name)


def test_a_time_that_ends_in_z_is_read_in_utc_whoever_searches() -> None:
    text = converted(pack().rules["ssh_fanout"], "spl", source_name="netflow_stream").text
    assert """eval _time=strptime('timestamp'."+0000","%Y-%m-%dT%H:%M:%S.%6NZ%z")""" in text


@pytest.mark.parametrize(("name", "dialect", "delay"),
                         [("netflow_elastic", "esql", 60), ("netflow_stream", "spl", 2100)])
def test_where_a_siem_has_the_time_of_the_export_a_run_waits_no_longer(name: str, dialect: str, delay: int) -> None:
    when = converted(pack().rules["ssh_fanout"], dialect, source_name=name).schedule
    assert when and when.delay == delay


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pfsense_keeps_first_packets_and_its_words_for_icmp(dialect: str) -> None:
    """The default rule also logs answers whose state is gone: `A`, `FA`, `RA` and their like."""
    echo = replace(bare(pack().rules["scan_icmp_sweep_echo"]), name="echo")
    text = converted(echo, dialect, source_name="pfsense").text
    assert "NOT" in text and "*A*" in text
    assert "request" in text and "ipv6-icmp" in text and "icmpv6" in text


@pytest.mark.parametrize("dialect", ["lucene", "esql"])
def test_a_number_for_which_the_siem_has_no_word_is_refused(dialect: str) -> None:
    """FTD writes Destination Unreachable for 3 of IPv4 and 1 of IPv6, so the numbers of errors are not asked for."""
    echo = converted(asking({"icmp.type": 128}), dialect, source_name="cisco_ftd").text
    assert "ipv6-icmp" in echo and ("echo request" in echo or "[Ee][Cc][Hh][Oo]" in echo)
    for number in (3, [8, 3]):
        with pytest.raises(Rejected) as refused:
            converted(asking({"icmp.type": number}), dialect, source_name="cisco_ftd")
        [problem] = refused.value.problems
        assert problem.code == "convert/unsupported" and problem.message.endswith("has no word for 3")
        assert problem.fix.startswith("write some of 0, 8, 128, 129")


def test_a_part_of_a_line_is_found_by_esql_and_not_by_lucene() -> None:
    """What became of the packet stands in its prefix, which Elastic keeps as a text: Lucene knows its words alone."""
    denied = asking({"flow.outcome": "denied"})
    assert 'TO_LOWER(message) LIKE "*-d]*"' in converted(denied, "esql", source_name="iptables").text
    assert "log_prefix IN" in converted(denied, "spl", source_name="iptables").text
    with pytest.raises(Rejected) as refused:
        converted(denied, "lucene", source_name="iptables")
    assert ["full text" in p.message for p in refused.value.problems] == [True]


def test_what_a_mesh_denied_has_no_destination_in_elastic() -> None:
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["deny_breadth"], "esql", source_name="istio_access")
    assert "tell established, failed, unknown and nothing else" in refused.value.problems[0].message
    long = converted(pack().rules["long_session"], "esql", source_name="istio_access").text
    assert "istio.access.duration >= 28800000 " in long and "destination.ip IS NOT NULL" in long


def test_a_whole_rule_names_the_fields_of_its_source_once() -> None:
    """Where a condition of the mapping is a list, or compares numbers, its fields are still fields."""
    resolved = resolve_rule(pack().rules["deny_breadth"], pack(), source_of("iptables"), office())
    made = backend("elastic")
    said = json.loads(made.content(resolved, convert_rule(resolved, made, "inline", "esql")))
    types = {field["name"]: field["type"] for field in said["required_fields"]}
    assert {"iptables.tcp.flags": "keyword", "iptables.icmp.type": "long", "message": "match_only_text",
            "source.port": "long"}.items() <= types.items()
    assert not any("|" in name for name in types)


@pytest.mark.parametrize("dialect", ["lucene", "esql"])
def test_of_netfilter_only_a_syn_alone_begins_a_connection(dialect: str) -> None:
    """The flags are a list. ES|QL compares lists of one; Lucene finds a word in any, so ACK is ruled out as well."""
    text = converted(asking({"destination.port": 22}), dialect, source_name="iptables").text
    syn, ack = {"lucene": (':"SYN"', 'NOT iptables.tcp.flags:"ACK"'),
                "esql": (' == "SYN"', 'NOT iptables.tcp.flags == "ACK"')}[dialect]
    assert f"iptables.tcp.flags{syn}" in text and ack in text


@pytest.mark.parametrize("name", ["decoy_touch", "deny_breadth", "new_admin_pair", "smb_then_exec"])
def test_what_asks_whether_there_is_a_flow_takes_repeats(name: str) -> None:
    refuse_counts(resolve_rule(pack().rules[name], pack()), source_of("pfsense"))


@pytest.mark.parametrize("name", ["log_path_broken", "large_internal_transfer", "pivot_chain", "internal_beacon",
                                  "flow_silence"])
def test_what_counts_or_orders_flows_takes_no_repeats(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        refuse_counts(resolve_rule(pack().rules[name], pack()), source_of("pfsense"))
    assert {p.code for p in refused.value.problems} == {"convert/several-records"}


def test_a_word_of_the_log_line_is_compared_as_elastic_keeps_it() -> None:
    """Juniper's line says RT_FLOW_SESSION_DENY; the integration keeps that as the tag, and the reason apart."""
    query = converted(pack().rules["deny_breadth"], "esql", source_name="juniper_srx").text
    assert 'juniper.srx.tag LIKE "RT_FLOW_SESSION_DENY*"' in query
    failed = converted(pack().rules["scan_hosts_failed"], "esql", source_name="juniper_srx").text
    assert 'TO_LOWER(juniper.srx.reason) LIKE "tcp server rst*" AND destination.packets <= 1' in failed


def test_of_two_events_of_a_connection_one_counts() -> None:
    """FTD logs what it blocks at its beginning only, and everything else at its end too; so a blocked start counts."""
    query = converted(pack().rules["deny_breadth"], "esql", source_name="cisco_ftd").text
    action = "cisco.ftd.security_event.access_control_rule_action"
    start = f'event.code == "430002" AND ({action} IS NULL OR NOT TO_LOWER({action}) LIKE "block*")'
    assert f"NOT COALESCE({start}, false)" in query
    assert f'TO_LOWER({action}) LIKE "block*" AND NOT COALESCE(' in query
    splunk = converted(pack().rules["smb_fanout"], "spl", source_name="cisco_ftd").text
    assert splunk.startswith('search NOT (NOT ConnectionDuration=* AND NOT AC_RuleAction="block*") AND ')
    assert 'ResponderPackets>0 AND NOT AC_RuleAction="block*" AND ConnectionDuration=*' in splunk


@pytest.mark.parametrize(("dialect", "denied"), [("esql", 'event.outcome == "failure"'), ("spl", 'action="blocked"')])
def test_of_an_asa_only_what_says_who_began_counts(dialect: str, denied: str) -> None:
    """The message of a connection's end has its outcome, and addresses by the side of the firewall."""
    assert f"AND {denied} AND NOT" in converted(pack().rules["deny_breadth"], dialect, source_name="cisco_asa").text
    touched = converted(pack().rules["decoy_touch"], dialect, source_name="cisco_asa").text
    assert "302013" in touched and "302014" not in touched
    for name in ("smb_fanout", "long_session"):
        with pytest.raises(Rejected) as refused:
            converted(pack().rules[name], dialect, source_name="cisco_asa")
        assert {p.code for p in refused.value.problems} == {"convert/unsupported"}


def test_a_word_of_the_reader_becomes_the_conditions_that_the_mapping_names() -> None:
    """`kind` of Cisco ASA is no field anywhere: the reader tells it from the message."""
    asked = converted(asking({"flow.outcome": "denied"}), "lucene", source_name="cisco_asa").text
    assert asked.endswith('AND event.outcome:"failure"')
    unknown = converted(asking({"flow.outcome": "unknown"}), "lucene", source_name="cisco_asa").text
    assert 'NOT event.outcome:"failure"' in unknown and 'event.action:"flow-expiration"' in unknown


def test_corelight_counts_the_bytes_on_the_wire_and_each_connection_once() -> None:
    """In Elastic source.bytes is payload, and conn_long and conn_red are in the same data stream."""
    query = converted(pack().rules["large_internal_transfer"], "esql", source_name="corelight").text
    assert "source.ip_bytes" in query or "network.ip_bytes" in query
    assert 'labels.corelight.event_sub_type == "conn"' in query and "source.bytes" not in query


def test_a_word_of_the_log_is_compared_in_the_type_of_the_field() -> None:
    """Packetbeat's record has `true` as text for the reader, and Elastic a boolean."""
    query = converted(asking({"flow.outcome": "failed"}), "esql", source_name="packetbeat_flow").text
    assert "flow.final == true" in query and "TO_LOWER(flow.final)" not in query


def test_what_a_source_does_not_tell_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["large_internal_transfer"], "esql", source_name="sysmon_3")
    assert {p.code for p in refused.value.problems} == {"convert/not-told"}


def test_a_mapping_must_say_which_of_several_records_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    read = vocabulary._vocabulary
    monkeypatch.setattr(vocabulary, "_vocabulary", lambda *files: replace(read(*files), once=False, repeats=""))
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["db_unapproved_role"], "lucene", source_name="fortinet_fortigate")
    [problem] = refused.value.problems
    assert problem.code == "convert/several-records" and "only ewdetect's reader joins" in problem.message


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a mapping say that its records show only some outcomes, or some protocols."""
    def narrow(**only: Any) -> None:
        monkeypatch.setattr("ewdetect.backends.predicate.load_vocabulary",
                            lambda *which: replace(load_vocabulary(*which), **only))
    return narrow


def test_an_outcome_that_the_records_taken_never_have_is_refused(narrowed: Any) -> None:
    narrowed(outcomes=("established", "unknown"))
    with pytest.raises(Rejected) as refused:
        converted(asking({"flow.outcome": "failed"}), "esql", source_name="zeek_conn")
    [problem] = refused.value.problems
    assert anywhere(problem.message) == ("`probe`: `flow.outcome`: the records of `zeek_conn` that mappings/zeek_conn/"
                                         "elastic.yml takes tell established, unknown and nothing else")
    query = converted(asking({"flow.outcome": ["established", "failed"]}), "esql", source_name="zeek_conn")
    assert "The records of `zeek_conn` that the query takes never tell the outcome `failed`" in query.caveats[0]


def test_a_single_outcome_is_no_condition(narrowed: Any) -> None:
    narrowed(outcomes=("established",))
    asked = {"destination.port": 445, "flow.outcome": "established"}
    for dialect in ("spl", "lucene"):       # one conversion leaves nothing behind for the next
        query = converted(asking(asked), dialect, source_name="zeek_conn")
    assert query.text == 'data_stream.dataset:"zeek.connection" AND destination.port:445'
    with pytest.raises(Rejected) as refused:
        converted(asking({"destination.port": 445}, "selection and not other", other={"flow.outcome": "established"}),
                  "lucene", source_name="zeek_conn")
    assert {p.code for p in refused.value.problems} == {"convert/never-matches"}


def test_a_protocol_that_the_records_taken_never_have(narrowed: Any) -> None:
    narrowed(transports=("tcp",))
    query = converted(asking({"network.transport": ["udp", "tcp"]}), "lucene", source_name="zeek_conn")
    assert query.text.endswith('AND network.transport:"tcp"') and "never udp" in query.caveats[0]
    with pytest.raises(Rejected) as refused:
        converted(asking({"network.transport": "udp"}), "lucene", source_name="zeek_conn")
    assert {p.code for p in refused.value.problems} == {"convert/never-matches"}


def test_a_mapping_adds_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mappings" / "zeek_conn").mkdir(parents=True)
    (tmp_path / "mappings" / "ecs.yml").write_text("name: x\ntransformations: []\n")
    (tmp_path / "mappings" / "zeek_conn" / "elastic.yml").write_text(
        "name: x\ntransformations: []\newdetect: {outcomes: [denied]}\n")
    monkeypatch.setattr("ewdetect.backends.vocabulary.content_root", lambda: tmp_path)
    with pytest.raises(Rejected) as refused:
        load_vocabulary("ecs", "elastic", source_of("zeek_conn"))
    assert {p.code for p in refused.value.problems} == {"mapping/bad-outcome"}


def test_the_answer_of_a_one_way_record_is_read_from_its_end() -> None:
    """AWS's record of a SYN-ACK goes from the responder: sides change places, also those that the enrichment fills."""
    asked = asking({"source.ip": "10.0.0.1", "destination.port": 22, "destination.role": "database",
                    "network.scope": "outbound", "flow.outcome": "established"})
    text = converted(asked, "lucene", source_name="aws_vpc_flow", context="enriched").text
    assert text == (
        'data_stream.dataset:"aws.vpcflow" AND aws.vpcflow.action:"ACCEPT" AND network.transport:"tcp" AND '
        'aws.vpcflow.tcp_flags:("18" OR "19" OR "22" OR "23") AND network.direction:"egress" AND '
        'destination.ip:"10.0.0.1/32" AND source.port:22 AND ew.source.role:"database" AND ew.network.scope:"inbound"')
    text = converted(asked, "spl", source_name="aws_vpc_flow", context="enriched").text
    assert ('vpcflow_action="ACCEPT" AND protocol_code=6 AND tcp_flags IN (18, 19, 22, 23) AND '
            'flow_direction="egress" AND dest_ip="10.0.0.1" AND src_port=22 AND ') in text
    assert 'ew_src_role="database" AND ew_scope="inbound"' in text


@pytest.mark.parametrize(("dialect", "protocol", "port"), [
    ("esql", 'ocsf.connection_info.protocol_num == "6"', "source.port == 22"),
    ("spl", "connection_info.protocol_num=6", "src_endpoint.port=22")])
def test_the_answer_of_a_flow_log_in_ocsf_is_read_from_its_end(dialect: str, protocol: str, port: str) -> None:
    """The number of the protocol is a column of an alert: no flow log has its name, so that may be none."""
    asked = asking({"destination.port": 22, "network.transport": "tcp", "flow.outcome": "established"})
    text = converted(asked, dialect, source_name="ocsf_4001").text
    assert protocol in text and port in text and "network.transport" not in text
    assert "(18, 19, 22, 23)" in text
    if dialect == "esql":
        assert text.endswith(" | KEEP _id, _index, _version, @timestamp, source.ip, source.port, destination.ip, "
                             "destination.port, ocsf.connection_info.protocol_num")


def test_a_columns_list_of_a_source_takes_the_place_of_the_shared_one() -> None:
    shared = load_vocabulary("ecs", "elastic", source_of("aws_vpc_flow")).keep
    own = load_vocabulary("ecs", "elastic", source_of("ocsf_4001")).keep
    assert (*shared[:-1], "ocsf.connection_info.protocol_num") == own


@pytest.mark.parametrize(("dialect", "ports"), [("esql", "source.port >= 32768 AND destination.port < 32768"),
                                                ("spl", "src_port>=32768 AND dest_port<32768")])
def test_of_one_way_records_those_from_a_client_s_port_are_taken(dialect: str, ports: str) -> None:
    """Google's records do not say who began. Each end reports, in each interval, so nothing is counted."""
    query = converted(pack().rules["smb_fanout"], dialect, source_name="gcp_vpc_flow")
    assert ports in query.text and any("told by the ports alone" in caveat for caveat in query.caveats)
    for name, code in (("log_path_broken", "convert/several-records"), ("long_session", "convert/unsupported")):
        with pytest.raises(Rejected) as refused:
            converted(pack().rules[name], dialect, source_name="gcp_vpc_flow")
        assert code in {p.code for p in refused.value.problems}


def test_of_a_check_point_firewall_updates_and_strays_count_nothing() -> None:
    """Each update is a record; in raw read mode it has no addresses. A packet out of state may be an answer."""
    text = converted(pack().rules["deny_breadth"], "esql", source_name="check_point").text
    assert "source.ip IS NOT NULL AND destination.ip IS NOT NULL AND checkpoint.tcp_packet_out_of_state IS NULL" in text
    assert 'TO_LOWER(observer.product) IN ("vpn-1 & firewall-1", ' in text
    assert 'TO_LOWER(event.action) IN ("drop", "reject", "block", "prevent")' in text
    text = converted(pack().rules["deny_breadth"], "spl", source_name="check_point").text
    assert "src_ip=* AND dest_ip=* AND NOT tcp_packet_out_of_state=*" in text
    for dialect in ("esql", "spl"):
        with pytest.raises(Rejected) as refused:
            converted(pack().rules["log_path_broken"], dialect, source_name="check_point")
        assert [p.code for p in refused.value.problems] == ["convert/several-records"]


def test_of_juniper_s_zeros_for_icmp_types_only_those_of_icmp_are_taken() -> None:
    text = converted(asking({"icmp.type": 0}), "spl", source_name="juniper_srx").text
    assert 'icmp_type=0 AND protocol_id IN ("1", "58")' in text


def test_what_the_answer_does_not_count_is_refused_with_the_reason() -> None:
    for name in ("large_internal_transfer", "smb_write_burst"):     # a sum, and a condition
        with pytest.raises(Rejected) as refused:
            converted(pack().rules[name], "esql", source_name="aws_vpc_flow")
        assert any("in its first interval" in p.message for p in refused.value.problems)


def test_events_that_repeat_with_each_packet_are_left_out() -> None:
    """Windows writes 5157 for each SYN that is sent again, so denials are refused there."""
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["deny_breadth"], "spl", source_name="windows_5156")
    assert "tell established and nothing else" in refused.value.problems[0].message
    text = converted(pack().rules["smb_fanout"], "spl", source_name="windows_5156").text
    assert 'EventCode=5156 AND Direction="%%14592" AND Protocol=6' in text

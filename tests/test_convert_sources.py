"""Every rule on every source becomes a query, or is refused with a reason. tests/golden holds a few for review."""

from __future__ import annotations

import pytest

from ewdetect.coverage import Grade, cover
from ewdetect.load import load_sources
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests.convert_world import DIALECTS, converted, fields, pack

SOURCES = [source.name for source in load_sources()]
MAPPED = [*((name, dialect) for name in ("fortinet_fortigate", "palo_alto", "sysmon_3") for dialect in ("esql", "spl")),
          ("cisco_ftd", "esql"), ("juniper_srx", "esql"), ("packetbeat_flow", "esql")]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SOURCES)
def test_every_rule_converts_or_says_why_not(name: str, dialect: str) -> None:
    source = next(s for s in load_sources() if s.name == name)
    for rule in pack().alerting():
        covered = cover(resolve_rule(rule, pack()), source, fields())
        try:
            query = converted(rule, dialect, source_name=name)
        except Rejected as rejected:
            refusals = [(p.code, p.message, p.fix) for p in rejected.problems]
        else:
            refusals = []
        assert all(code.startswith("convert/") and message and fix for code, message, fix in refusals)
        if refusals:
            continue
        assert covered.grade is not Grade.IMPOSSIBLE
        assert any(c.startswith("Degraded: ") for c in query.caveats) is (covered.grade is Grade.DEGRADED)


@pytest.mark.parametrize(("name", "dialect"), MAPPED)
def test_a_mapped_source_converts_what_it_can_tell(name: str, dialect: str) -> None:
    assert "445" in converted(pack().rules["smb_fanout"], dialect, source_name=name).text


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
    assert (f'NOT COALESCE(event.code == "430002" AND ({action} IS NULL OR NOT TO_LOWER({action}) LIKE "block*"), false)'
            in query)
    assert f'TO_LOWER({action}) LIKE "block*" AND NOT COALESCE(' in query


def test_what_a_source_does_not_tell_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["large_internal_transfer"], "esql", source_name="sysmon_3")
    assert {p.code for p in refused.value.problems} == {"convert/not-told"}


def test_one_way_records_are_refused() -> None:
    with pytest.raises(Rejected) as refused:
        converted(pack().rules["db_unapproved_role"], "lucene", source_name="netflow")
    assert "only ewdetect's reader joins" in refused.value.problems[0].message

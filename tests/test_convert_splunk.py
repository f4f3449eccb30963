"""Conversion to SPL: each known fault of the stock converter, the refusals, and literals that hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sigma.backends.splunk.splunk import SplunkBackend as StockBackend
from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression
from sigma.conversion.state import ConversionState
from sigma.types import SigmaNumber, SigmaString, SpecialChars

from ewdetect.backends.splunk.spl import SplPrinter
from ewdetect.backends.vocabulary import start_of
from ewdetect.convert import backend, convert_rule
from ewdetect.model import Kind
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from ewdetect.yamlfile import dump, parse_documents
from tests import siem_readers
from tests.convert_world import converted, flow_part, office, pack, predicate, rule, source
from tests.test_convert_elastic import TEXTS, codes, stock


def test_or_inside_and_has_parentheses() -> None:
    """Gap 7: stock SPL leaves it to precedence, which `search` and `where` do not share."""
    networks = {"source.ip|cidr": ["10.10.0.0/16", "10.20.0.0/16"], "destination.port": [1433, 3306]}
    bare = 'source.ip="10.10.0.0/16" OR source.ip="10.20.0.0/16" destination.port'
    assert stock(StockBackend, networks).startswith(bare)
    assert predicate(rule(networks), "spl") == (
        '(source.ip="10.10.0.0/16" OR source.ip="10.20.0.0/16") AND destination.port IN (1433, 3306)')


def test_no_level_mixes_operators() -> None:
    asked = rule({"source.port": 1}, "selection and b or c and not d or not e", b={"source.bytes": 2},
                 c={"destination.port": 3}, d={"destination.bytes": 4}, e={"source.packets": 5, "source.bytes": 6})
    assert predicate(asked, "spl") == (
        "((source.port=1 AND source.bytes=2) OR (destination.port=3 AND NOT destination.bytes=4) "
        "OR NOT (source.packets=5 AND source.bytes=6))")


def test_fieldref_is_refused() -> None:
    """Gap 9: stock SPL appends `| where`, which loses flows under NOT and stands after `by` in tstats."""
    reference = {"source.bytes|fieldref": "destination.bytes"}
    assert "| where " in stock(StockBackend, reference)
    assert codes(rule(reference), "spl") == {"convert/unsupported"}


def test_fields_make_no_table() -> None:
    asked = next(r for r in pack().rules.values() if r.kind is Kind.EVENT and r.alerts)
    assert "| table" not in converted(asked, "spl").text


def test_one_line() -> None:
    assert "\n" not in converted(rule({"network.state": "new"}), "spl").text


def test_search_ignores_case_and_keeps_missing_fields() -> None:
    test = siem_readers.spl(flow_part(converted(rule({"network.state": "NEW"}, "not selection"), "spl").text, "spl"))
    record = {"index": "ewdetect", "sourcetype": "ewdetect:flow"}
    assert test(record)
    assert not test({**record, "network.state": "New"})


def test_single_addresses() -> None:
    assert predicate(rule({"source.ip": "10.0.0.1"}), "spl") == 'source.ip="10.0.0.1"'
    assert predicate(rule({"source.ip": "fd00:0:0::1"}), "spl") == 'source.ip="fd00::1/128"'


def test_zeek_ports_are_not_icmp_types() -> None:
    text = converted(rule({"destination.port": 8}), "spl", source_name="zeek_conn").text
    assert 'id.resp_p=8 AND NOT proto="icmp"' in text


@pytest.mark.parametrize(("value", "word"), [
    (r"a\*b", "literal asterisk"), ("a?b", "single wildcard"), ("a`b", "backtick"), ("a\x01b", "control character"),
    ("a\nb", "control character"), ("10.0.0.0/8", "text that is a network")])
def test_texts_without_a_literal(value: str, word: str) -> None:
    with pytest.raises(Rejected) as caught:
        converted(rule({"network.state": value}), "spl")
    assert f"cannot say {word}" in caught.value.problems[0].message


@pytest.mark.parametrize("selection", [["text"], {"network.state|re": "^a"}, {"network.state|cased": "A"}])
def test_constructs_are_refused(selection: Any) -> None:
    assert codes(rule(selection), "spl") == {"convert/unsupported"}


def test_suricata_duration_has_no_field() -> None:
    assert codes(rule({"event.duration|gte": 60}), "spl", source_name="suricata_eve") == {"convert/unmapped-field"}


def test_every_refusal_has_a_reason() -> None:
    for name in ("elastic", "splunk"):
        assert all(reason and not reason.endswith(".") for reason in backend(name).cannot.values())


def test_base_rules_are_refused() -> None:
    base = next(r for r in pack().rules.values() if r.kind is Kind.EVENT and not r.alerts)
    assert codes(base, "spl") == {"convert/unsupported"}


@pytest.mark.parametrize("start", ["flow.start", {"field": "flow.start"}, {"field": "a", "format": ""},
                                   {"field": "a", "format": "%s", "more": 1}])
def test_a_start_without_its_format_is_a_problem(start: Any) -> None:
    body = {"name": "x", "transformations": [], "ewdetect": {"start": start}}
    document = parse_documents(dump(body), "splunk.yml")[0]
    with pytest.raises(Rejected) as caught:
        start_of(document)
    assert caught.value.problems[0].code == "mapping/bad-start" and caught.value.problems[0].location


@pytest.mark.parametrize(("source_name", "selection", "word"), [
    ("zeek_conn", {"flow.outcome": "failed"}, "conn_state is no field"),
    ("zeek_conn", {"source.bytes|gte": 5}, "bytes_in and bytes_out count"),
    ("zeek_conn", {"icmp.type": 8}, "icmp_type"),
    ("suricata_eve", {"destination.port": 22}, "the time at which Suricata wrote the flow"),
    ("flow", {"flow.outcome": "established"}, "nothing of answers")])
def test_what_the_data_model_lacks_is_refused_with_the_reason(source_name: str, selection: Any, word: str) -> None:
    asked = rule(selection)
    resolved = resolve_rule(asked, pack(), source(source_name), office())
    with pytest.raises(Rejected) as caught:
        convert_rule(resolved, backend("splunk"), "inline", "tstats")
    [problem] = caught.value.problems
    assert problem.code == "convert/unsupported" and word in problem.message


def test_tstats_asks_only_what_is_exact_there() -> None:
    """No network, no NOT, no presence before BY; all of it again behind it."""
    asked = rule({"destination.port": [22, 445], "network.transport": "tcp", "source.ip|cidr": "10.0.0.0/8"},
                 "selection and not other", other={"source.port": 22})
    resolved = resolve_rule(asked, pack(), source("flow"), office())
    text = convert_rule(resolved, backend("splunk"), "inline", "tstats").text
    where, _, rest = text.partition(" where ")[2].partition(" by _time span=1s ")
    assert where == ('sourcetype="ewdetect:flow" AND All_Traffic.dest_port IN (22, 445) '
                     'AND All_Traffic.transport="tcp"')
    assert 'src="10.0.0.0/8"' in rest and "NOT src_port=22" in rest and "dest_port=if(dest_port=0,null()" in rest


def test_unknown_target() -> None:
    with pytest.raises(Rejected) as caught:
        backend("splnk")
    assert caught.value.problems[0].fix == "did you mean `splunk`?"


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS.filter(bool) | st.just(SpecialChars.WILDCARD_MULTI), min_size=1), TEXTS)
@example(["0/0"], "")
def test_a_value_never_leaves_its_literal(parts: list[Any], other: str) -> None:
    value = SigmaString()
    value.s = [part if isinstance(part, SpecialChars) else part.lower() for part in parts]
    printer = SplPrinter()
    if printer.unsayable(value):
        return
    field = ConditionFieldEqualsValueExpression
    tree = ConditionAND([field("f", value), field("g", SigmaNumber(1))])
    test = siem_readers.Spl(str(printer.convert_condition(tree, ConversionState()))).whole()
    body = "".join("*" if isinstance(p, SpecialChars) else "".join("\\" + c for c in str(p)) for p in value.s)
    own = "".join("x" if isinstance(p, SpecialChars) else str(p) for p in value.s)
    for candidate in (own, other.lower()):
        assert bool(test({"f": candidate, "g": 1})) == bool(siem_readers.wild(body).fullmatch(candidate))
        assert not test({"f": candidate, "g": 2})


@pytest.mark.parametrize(("source_name", "depends"), [
    ("palo_alto", True), ("cisco_ftd", False), ("netflow_stream", False), ("suricata_eve", False),
    ("zeek_conn", False)])
def test_a_start_without_a_zone_depends_on_who_searches(source_name: str, depends: bool) -> None:
    """Page "Date and time format variables": without a zone, strptime takes that of the search's owner."""
    query = converted(pack().rules["smb_fanout"], "spl", source_name=source_name)
    assert any("time zone" in caveat for caveat in query.caveats) is depends

"""Conversion to Lucene and ES|QL: each known fault of the stock converters, the refusals, and literals that hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sigma.backends.elasticsearch.elasticsearch_esql import ESQLBackend
from sigma.backends.elasticsearch.elasticsearch_lucene import LuceneBackend
from sigma.collection import SigmaCollection
from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression
from sigma.conversion.state import ConversionState
from sigma.types import SigmaNumber, SigmaString, SpecialChars

from ewdetect.backends.elastic import ElasticBackend
from ewdetect.backends.elastic.esql import EsqlPrinter
from ewdetect.backends.elastic.lucene import LucenePrinter
from ewdetect.model import Kind, Pack, Rule
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests import siem_readers
from tests.convert_world import converted, network, office, pack, predicate, rule, sayable, sigma_filter, source
from tests.golden_files import stale


def stock(backend: Any, selection: Any, condition: str = "selection", **others: Any) -> str:
    """What the official converter makes of the same detection."""
    rules = SigmaCollection.from_dicts([{
        "title": "Stock", "logsource": {"category": "network", "service": "connection"},
        "detection": {"selection": selection, **others, "condition": condition}}])
    return str(backend().convert(rules)[0])


def codes(asked: Rule, dialect: str = "lucene", **how: Any) -> set[str]:
    with pytest.raises(Rejected) as caught:
        converted(asked, dialect, **how)
    return {problem.code for problem in caught.value.problems}


def test_goldens_are_fresh() -> None:
    """All but the table of third-party captures, which test_shared_data compares."""
    assert stale(shared=False) == [], "run `make golden`, and read the diff"


# ---------------------------------------------------------------- faults of the stock converters

def test_esql_not_keeps_flows_that_lack_the_field() -> None:
    """Gap 6: `not x == y` is null where x is missing, and WHERE drops it."""
    asked = ({"source.bytes|gt": 5}, "selection and not other")
    assert stock(ESQLBackend, *asked, other={"network.transport": "udp"}).endswith('and not network.transport=="udp"')
    text = predicate(rule(*asked, other={"network.transport": "udp"}), "esql")
    assert text == 'source.bytes > 5 AND (network.transport IS NULL OR NOT network.transport == "udp")'
    assert siem_readers.esql(converted(rule(*asked, other={"network.transport": "udp"}), "esql").text)(
        {"data_stream.dataset": "ewdetect.flow", "source.bytes": 6})


def test_esql_not_over_several_fields() -> None:
    other = {"network.transport": "udp", "source.bytes": 1}
    assert "not" in stock(ESQLBackend, {"source.port": 1}, "selection and not other", other=other)
    text = predicate(rule({"source.port": 1}, "selection and not other", other=other), "esql")
    assert 'NOT COALESCE(network.transport == "udp" AND source.bytes == 1, false)' in text


def test_lucene_not_has_something_to_take_away_from() -> None:
    """A NOT alone in an OR finds nothing in plain Lucene."""
    asked = ({"source.bytes": 1}, "selection or not other")
    assert "OR (NOT " in stock(LuceneBackend, *asked, other={"network.transport": "udp"})
    text = predicate(rule(*asked, other={"network.transport": "udp"}), "lucene")
    assert text == '(source.bytes:1 OR (*:* AND NOT network.transport:"udp"))'


def test_context_cidrs_are_typed() -> None:
    """Gap 15: `expand` makes strings of networks, and `cidr|expand` fails."""
    asked = rule({"source.zone": "workstations"})
    assert predicate(asked, "esql") == 'CIDR_MATCH(source.ip, "10.10.0.0/16", "fd00:10::/32")'
    assert predicate(asked, "lucene") == 'source.ip:("10.10.0.0/16" OR "fd00:10::/32")'


def test_addresses_are_networks_and_ports_are_numbers() -> None:
    assert stock(ESQLBackend, {"source.ip": "10.0.0.1"}).endswith('source.ip=="10.0.0.1"')
    assert predicate(rule({"source.ip": "10.0.0.1"}), "esql") == 'CIDR_MATCH(source.ip, "10.0.0.1/32")'
    assert predicate(rule({"destination.port": "445"}), "esql") == "destination.port == 445"
    assert stock(ESQLBackend, {"destination.port": "445"}).endswith('destination.port=="445"')
    assert "convert/unsupported" in codes(rule({"source.ip|startswith": "10."}), "esql")


def test_neq_survives_the_context() -> None:
    assert predicate(rule({"source.zone|neq": "workstations"}), "lucene") == (
        'NOT source.ip:("10.10.0.0/16" OR "fd00:10::/32")')


def test_a_filter_reaches_every_rule_once() -> None:
    """Gap 8: pySigma 1.5 shares a filter's detections, so that they are transformed once for each rule."""
    less = sigma_filter({"source.zone": "guest"})
    for _ in range(2):
        assert "10.19.0.0/16" in predicate(rule({"destination.port": 22}), "lucene", filters=(less,))


def test_case_in_esql_and_lucene() -> None:
    assert 'network.state=="new"' in stock(ESQLBackend, {"network.state": "new"})
    assert predicate(rule({"network.state": "NEW"}), "esql") == 'TO_LOWER(network.state) == "new"'
    assert predicate(rule({"network.state": "NEW"}), "lucene") == "network.state:/[Nn][Ee][Ww]/"
    assert predicate(rule({"network.transport": "TCP"}), "esql") == 'network.transport == "tcp"'


def test_escapes_that_elasticsearch_does_not_know() -> None:
    r"""Stock ES|QL writes `\*` into a string, which is no escape there."""
    assert stock(ESQLBackend, {"event.action": r"a\*b"}).endswith(r'=="a\*b"')
    assert predicate(rule({"event.action": r"a\*b"}), "esql") == 'event.action == "a*b"'
    assert predicate(rule({"event.action": r"a\*b*"}), "esql") == r'event.action LIKE "a\\*b*"'


def test_seconds_become_nanoseconds() -> None:
    hour = {"event.duration|gte": 3600}
    assert stock(ESQLBackend, hour).endswith("event.duration>=3600")
    assert predicate(rule(hour), "esql", source_name="zeek_conn") == "event.duration >= 3600000000000"


def test_and_inside_or_has_parentheses() -> None:
    asked = rule({"source.port": 1}, "selection and b or c and not d", b={"source.bytes": 2}, c={"icmp.type": 3},
                 d={"icmp.code": 4})
    assert predicate(asked, "lucene") == (
        "((source.port:1 AND source.bytes:2) OR (icmp.type:3 AND NOT icmp.code:4))")


def test_esql_shape() -> None:
    text = converted(rule({"source.port": 1}), "esql").text
    assert text.startswith("FROM logs-ewdetect.flow-* METADATA _id, _index, _version | WHERE ")
    assert " | KEEP _id, _index, _version, @timestamp, " in text


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize(("selection", "word"), [
    (["text"], "keywords"), ({"network.state|re": "^a"}, "re"), ({"network.state|cased": "A"}, "cased"),
    ({"event.start|hour": 3}, "time parts"), ({"network.state|expand": "%x%"}, "expand"),
    ({"network.state|windash": "-a"}, "encodings"),
    ({"source.bytes|fieldref": "destination.bytes"}, "fieldref")])
def test_constructs_are_refused_by_name(selection: Any, word: str) -> None:
    with pytest.raises(Rejected) as caught:
        converted(rule(selection), "lucene")
    assert [p.code for p in caught.value.problems] == ["convert/unsupported"]
    assert f"cannot say {word}" in caught.value.problems[0].message


def test_esql_compares_two_fields() -> None:
    asked = rule({"source.bytes|fieldref": "destination.bytes"})
    assert predicate(asked, "esql") == "source.bytes == destination.bytes"


def test_several_conditions_are_refused() -> None:
    assert codes(rule({"source.port": 1}, ["selection", "not selection"])) == {"convert/unsupported"}


def test_every_problem_at_once() -> None:
    asked = rule({"network.state|re": "x", "network.transport|re": "y"})
    with pytest.raises(Rejected) as caught:
        converted(asked, "lucene")
    assert [p.location.line for p in caught.value.problems if p.location] == [11, 12]


def test_unmapped_field() -> None:
    assert codes(rule({"event.action": "allowed"}), source_name="zeek_conn") == {"convert/unmapped-field"}
    assert codes(rule({"event.action": "x", "source.zone": "nowhere"}), source_name="zeek_conn") == {
        "convert/unmapped-field", "convert/unknown-context-value"}


def test_unknown_context_value_suggests() -> None:
    with pytest.raises(Rejected) as caught:
        converted(rule({"source.zone": "workstation"}), "lucene")
    assert caught.value.problems[0].fix == "did you mean `workstations`?"


def test_an_absent_value_among_others_is_a_caveat() -> None:
    query = converted(rule({"source.zone": ["workstations", "lab"]}), "lucene")
    assert any("`lab`" in caveat for caveat in query.caveats)


def test_a_rule_that_can_never_match_is_refused() -> None:
    nothing = network("name: n\nnetworks: [{cidr: 10.0.0.0/8, zone: a}]")
    assert codes(rule({"source.is_decoy": True}), where=nothing) == {"convert/never-matches"}
    assert predicate(rule({"source.port": 1}, "selection and not other", other={"source.is_decoy": True}), "lucene",
                     where=nothing) == "source.port:1"


def test_context_is_compared_as_a_whole() -> None:
    assert codes(rule({"source.zone|startswith": "work"})) == {"convert/unsupported"}
    assert codes(rule({"source.zone|fieldref": "destination.zone"}), "esql") == {"convert/unsupported"}


def test_outcome_that_the_source_never_tells() -> None:
    assert codes(rule({"flow.outcome": "denied"}), source_name="zeek_conn") == {"convert/unsupported"}
    query = converted(rule({"flow.outcome": ["denied", "failed"]}), "lucene", source_name="zeek_conn")
    assert any("`denied`" in caveat for caveat in query.caveats)


def test_lucene_refuses_correlations_by_name() -> None:
    found = next(r for r in pack().rules.values() if r.kind is Kind.CORRELATION and sayable(r))
    with pytest.raises(Rejected) as caught:
        ElasticBackend().render(resolve_rule(found, pack(), source("flow"), office()), "inline", "lucene")
    assert f"`{found.body['correlation']['type']}`" in caught.value.problems[0].message


def test_words_outside_the_vocabularies() -> None:
    resolved = resolve_rule(rule({"source.port": 1}), Pack({}), source("flow"), office())
    with pytest.raises(Rejected) as caught:
        ElasticBackend().render(resolved, "inline", "esq")
    assert caught.value.problems[0].fix == "did you mean `esql`?"


def test_context_without_network() -> None:
    resolved = resolve_rule(rule({"source.zone": "a"}), Pack({}), source("flow"), None)
    with pytest.raises(Rejected, match="convert/no-network"):
        ElasticBackend().render(resolved, "inline", None)
    assert "ew.source.zone" in ElasticBackend().render(resolved, "enriched", None).text


# ---------------------------------------------------------------- caveats

def test_suppression_is_a_caveat() -> None:
    query = converted(rule({"source.port": 1}, ewdetect={"suppress": {"by": ["source.ip"], "for": "24h"}}), "lucene")
    assert "set suppression by source.ip for 24h" in query.caveats[0]


def test_a_query_past_the_limit_says_so() -> None:
    many = "\n".join(f"  - {{cidr: 10.{i // 128}.{i % 128 * 2}.1, zone: a}}" for i in range(1100))
    query = converted(rule({"source.zone": "a"}), "lucene", where=network(f"name: n\nnetworks:\n{many}"))
    assert any("1101 clauses" in caveat for caveat in query.caveats)
    assert query.text.count('"') > 2200
    assert siem_readers.lucene(query.text)({"data_stream.dataset": "ewdetect.flow", "source.ip": "10.0.2.1"})


# ---------------------------------------------------------------- literals hold

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])
                | st.sampled_from('\\"*?/`|&![](){}^~:<>=\n\r\t #@.-'))
WILD = st.sampled_from([SpecialChars.WILDCARD_MULTI, SpecialChars.WILDCARD_SINGLE])
PARTS = st.lists(TEXTS.filter(bool) | WILD, min_size=1)


def printed(printer: Any, value: SigmaString, letters: str) -> str:
    made = printer()
    made.letters = {"f": letters}
    if made.unsayable(value):
        return ""
    field = ConditionFieldEqualsValueExpression
    tree = ConditionAND([field("f", value), field("g", SigmaNumber(1))])
    return str(made.convert_condition(tree, ConversionState()))


def as_sigma(parts: list[Any]) -> SigmaString:
    value = SigmaString()
    value.s = [part if isinstance(part, SpecialChars) else part.lower() for part in parts]
    return value


def expected(value: SigmaString, text: str) -> bool:
    body = "".join("*" if p is SpecialChars.WILDCARD_MULTI else "?" if p is SpecialChars.WILDCARD_SINGLE else
                   "".join("\\" + c for c in str(p)) for p in value.s)
    return bool(siem_readers.wild(body).fullmatch(text))


@settings(max_examples=300, deadline=None)
@given(PARTS, st.sampled_from(["lower", "mixed"]), TEXTS)
def test_a_value_never_leaves_its_literal_in_esql(parts: list[Any], letters: str, other: str) -> None:
    value = as_sigma(parts)
    text = printed(EsqlPrinter, value, letters)
    if not text:
        return
    test = siem_readers.Esql(text).whole()
    own = "".join("x" if isinstance(p, SpecialChars) else str(p) for p in value.s)
    for candidate in (own, other.lower()):
        assert bool(test({"f": candidate, "g": 1})) == (expected(value, candidate) if letters == "lower" else
                                                        expected(value, candidate.lower()))
        assert not test({"f": candidate, "g": 2})


@settings(max_examples=300, deadline=None)
@given(PARTS, st.sampled_from(["lower", "mixed"]), TEXTS)
@example(["'", SpecialChars.WILDCARD_MULTI], "lower", "")
def test_a_value_never_leaves_its_literal_in_lucene(parts: list[Any], letters: str, other: str) -> None:
    value = as_sigma(parts)
    text = printed(LucenePrinter, value, letters)
    if not text:
        return
    test = siem_readers.lucene(text)
    own = "".join("x" if isinstance(p, SpecialChars) else str(p) for p in value.s)
    for candidate in (own, other.lower()):
        assert bool(test({"f": candidate, "g": 1})) == expected(value, candidate)
        assert not test({"f": candidate, "g": 2})

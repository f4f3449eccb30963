"""Random rules say the same in every dialect as in the reference engine, flow by flow.

Selections over every kind of field, with every modifier that a query can say; lists, nulls, lists of mappings, letters
in any case; conditions that nest `not`, `1 of` and `all of`. A refusal must be true: a rule that "can never match" must
match nothing in the engine.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ewdetect.engine import Engine
from ewdetect.model import Rule
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import resolve_rule
from tests import siem_readers
from tests.convert_world import (
    DIALECTS,
    PORTS,
    SOURCES,
    STATES,
    canonical,
    converted,
    document,
    fields,
    flow_part,
    office,
    pack,
    raw_flows,
    rule,
)
from tests.world import DAY, open_office

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
COUNT = 150
Items = st.SearchStrategy[dict[str, Any]]
ORDER = st.sampled_from(["gt", "gte", "lt", "lte"])


# ---------------------------------------------------------------- random rules

def any_case(words: list[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda word, how: str(how(word)), st.sampled_from(words),
                     st.sampled_from([str.lower, str.upper, str.title]))


def plain(field: str, values: st.SearchStrategy[Any], missing: bool = True) -> Items:
    """Equal, unequal, one of several; with `missing`, null and presence too."""
    several = st.lists(values | st.none() if missing else values, min_size=1, max_size=3, unique_by=str)
    keys = st.sampled_from([field, f"{field}|neq"])
    made: Items = st.builds(lambda key, value: {key: value}, keys, values | several)
    asked: Items = st.sampled_from([{field: None}, {f"{field}|neq": None}, {f"{field}|exists": True},
                             {f"{field}|exists": False}])
    return made | asked if missing else made


def number(field: str, values: list[int]) -> Items:
    chosen = st.sampled_from(values)
    return plain(field, chosen) | st.builds(lambda op, value: {f"{field}|{op}": value}, ORDER, chosen)


def word(field: str, words: list[str]) -> Items:
    """Text with its modifiers, and wildcards inside."""
    part = any_case(words).flatmap(lambda w: st.integers(1, len(w)).map(lambda n: w[:n]))
    ends = st.builds(lambda how, value: {f"{field}|{how}": value},
                     st.sampled_from(["contains", "startswith", "endswith", "contains|neq"]),
                     part | st.lists(part, min_size=1, max_size=2, unique=True))
    every = st.lists(part, min_size=2, max_size=2, unique=True).map(lambda found: {f"{field}|contains|all": found})
    return plain(field, any_case(words) | part.map(lambda w: w + "*")) | ends | every


NETWORKS = ["10.10.0.0/16", "10.0.0.0/8", "10.30.8.0/24", "10.20.0.5/32", "fd00:10::/32", "fc00::/7", "10.60.0.10/31"]
ADDRESSES = ["10.20.0.5", "10.10.0.0", "fd00:20::5", "FD00:20:0:0::5", "10.30.0.250", "8.8.8.8"]


def side(name: str) -> Items:
    """What one end of a flow may be asked."""
    networks = st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3, unique=True)
    flag = st.builds(lambda what, value: {f"{name}.{what}": value},
                     st.sampled_from(["is_decoy", "is_scanner", "known", "is_jump", "is_internal", "is_scanner|neq"]),
                     st.booleans())
    return st.one_of(
        st.builds(lambda key, value: {f"{name}.ip|{key}": value}, st.sampled_from(["cidr", "cidr|neq"]), networks),
        plain(f"{name}.ip", st.sampled_from(ADDRESSES), missing=False), flag,
        plain(f"{name}.zone", any_case(["workstations", "servers", "data", "guest", "unknown"]), missing=False),
        plain(f"{name}.role", any_case(["database", "file_server", "unknown"]), missing=False),
        plain(f"{name}.env", any_case(["prod", "dev"])), number(f"{name}.tier", [0, 1]))


ITEMS = st.one_of(
    number("destination.port", list(PORTS)), number("source.port", list(PORTS)), number("icmp.type", list(PORTS)),
    number("source.bytes", [0, 100, 9000]), number("destination.packets", [0, 1, 5]),
    number("event.duration", [0, 1, 3600]),
    plain("network.transport", any_case(["tcp", "udp", "icmp", "ipv6-icmp"]), missing=False),
    plain("flow.outcome", any_case(["established", "failed", "denied", "unknown"]), missing=False),
    plain("network.type", any_case(["ipv4", "ipv6"]), missing=False),
    word("network.state", [state for state in STATES if state] + ["new", "established", "closed"]),
    plain("network.scope", any_case(["internal", "inbound", "outbound", "external"]), missing=False),
    st.builds(lambda key, value: {key: value}, st.sampled_from(["network.cross_zone", "network.cross_env|neq"]),
              st.booleans()),
    side("source"), side("destination"))
MAPPING = st.lists(ITEMS, min_size=1, max_size=3).map(
    lambda items: {key: value for item in items for key, value in item.items()})
SELECTION = MAPPING | st.lists(MAPPING, min_size=1, max_size=2)
NAMES = ("selection", "sel_b", "filter_main_c")
CONDITION = st.recursive(
    st.sampled_from([*NAMES, "1 of sel*", "all of sel*", "1 of filter_main_*", "1 of them", "all of them"]),
    lambda inner: inner.map(lambda part: f"not ({part})") | st.lists(inner, min_size=2, max_size=3).flatmap(
        lambda parts: st.sampled_from([" and ", " or "]).map(lambda joint: "(" + joint.join(parts) + ")")),
    max_leaves=5)
RULES = st.tuples(st.fixed_dictionaries(dict.fromkeys(NAMES, SELECTION)), CONDITION)
Asked = tuple[dict[str, Any], str]


def as_rule(asked: Asked) -> Rule:
    selections, condition = asked
    return rule(selections["selection"], condition, **{name: selections[name] for name in NAMES[1:]})


# ---------------------------------------------------------------- the same flows, here and there

@cache
def world(name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Raw records of a sensor, and the flows that they are."""
    raw = [{**record, "id": str(n)} for n, record in enumerate(raw_flows(name, office(), COUNT, seed=11))]
    return raw, [canonical(name, record, office()) for record in raw]


@cache
def engine(name: str) -> Engine:
    """The reference engine over a source's flows. It lives as long as the tests do."""
    record = {key for key, spec in fields().items() if spec.origin == "record"}
    made = open_office([{key: value for key, value in flow.items() if key in record and value is not None}
                        | {"event.start": DAY + n} for n, flow in enumerate(world(name)[1])])
    atexit.register(made.close)
    return made


def expected(asked: Rule, name: str) -> set[int]:
    """The flows that match, as the engine has it."""
    alerts = engine(name).alerts(resolve_rule(asked, pack()))
    return {int(flow) for alert in alerts for flow in alert.evidence}


def found(asked: Rule, name: str, dialect: str, context: str) -> set[int]:
    """The flows whose documents the converted query matches. Raises Rejected."""
    text = converted(asked, dialect, source_name=name, context=context).text
    query = getattr(siem_readers, dialect)(flow_part(text, dialect))
    return {n for n, (raw, flow) in enumerate(zip(*world(name), strict=True))
            if query(document(name, raw, flow, DIALECTS[dialect], context == "enriched"))}


def is_true(problem: Problem, matches: set[int]) -> bool:
    """Whether a refusal holds: what is constant matches nothing or all; else a sensor has no such field or outcome."""
    if problem.code == "convert/unsupported":
        return "established, failed, unknown and nothing else" in problem.message
    if problem.code == "convert/never-matches":
        return len(matches) == (COUNT if "always true" in problem.message else 0)
    return problem.code == "convert/unmapped-field" and "event.duration" in problem.message


def refusals(asked: Rule, name: str, dialect: str, context: str, matches: set[int]) -> tuple[Problem, ...]:
    """Why there is no query; nothing where there is one that agrees."""
    try:
        assert found(asked, name, dialect, context) == matches, (dialect, context)
    except Rejected as rejected:
        return rejected.problems
    return ()


@pytest.mark.parametrize("name", SOURCES)
@SETTINGS
@given(asked=RULES)
def test_random_rules(name: str, asked: Asked) -> None:
    made = as_rule(asked)
    matches = expected(made, name)
    for dialect in DIALECTS:
        for context in ("inline", "enriched"):
            problems = refusals(made, name, dialect, context, matches)
            assert all(is_true(problem, matches) for problem in problems), (dialect, context, problems)


@pytest.mark.parametrize("condition", ["1 of them", "not all of them", "dataset and not records", "1 of d* or 1 of r*"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_conditions_of_a_source_are_no_selections(dialect: str, condition: str) -> None:
    """`dataset` and `records` are names that mapping files give to what they add."""
    asked = rule({"destination.port": 22}, condition, dataset={"source.bytes|gt": 0},
                 records={"network.transport": "udp"})
    matches = expected(asked, "zeek_conn")
    assert 0 < len(matches) < COUNT
    assert refusals(asked, "zeek_conn", dialect, "inline", matches) == ()


@pytest.mark.parametrize("condition", ["selection", "not selection", "records and not selection"])
@pytest.mark.parametrize("name", ["destination.port", "source.port", "icmp.type", "icmp.code"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_source_keeps_elsewhere_is_missing_all_the_same(dialect: str, name: str, condition: str) -> None:
    """Zeek has ICMP types in its port columns: there is a value, and no port."""
    for selection in ({f"{name}|exists": False}, {f"{name}|neq": None}, {name: None}):
        asked = rule(selection, condition, records={"source.bytes|gte": 0})
        matches = expected(asked, "zeek_conn")
        assert 0 < len(matches) < COUNT
        assert refusals(asked, "zeek_conn", dialect, "inline", matches) == ()

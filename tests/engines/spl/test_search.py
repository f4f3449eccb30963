"""`search`: the pages "search", "Boolean expressions" and "Difference between != and NOT" of Splunk 9.4."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.spl import Refused, SplSyntaxError, Undocumented, UnknownSpl, run
from tests.engines.spl.tables_of import column, table

BITS = [dict(zip("abcd", map(str, bits), strict=True)) for bits in product((0, 1), repeat=4)]
PONIES = table("""
id  place
1   marin
2   bay
3   .
4   Farms
5   farms
""")


def ids(spl: str, events: list[dict[str, Any]] = PONIES) -> list[str]:
    return column(run(spl, events), "id")


def same(one: str, other: str) -> bool:
    return run(one, BITS) == run(other, BITS) != []


def test_or_binds_tighter_than_and() -> None:
    """Page "Boolean expressions": A AND B OR C is A AND (B OR C); without AND the same."""
    assert same("a=1 AND b=1 OR c=1", "a=1 AND (b=1 OR c=1)")
    assert same("a=1 b=1 OR c=1", "a=1 AND (b=1 OR c=1)")
    assert not same("a=1 AND b=1 OR c=1", "(a=1 AND b=1) OR c=1")


def test_not_takes_one_term() -> None:
    """The same page: in `x NOT y OR z`, NOT takes y alone."""
    assert same("a=1 NOT b=1 OR c=1", "a=1 AND ((NOT b=1) OR c=1)")
    assert same("a=1 NOT (b=1 OR c=1)", "a=1 AND NOT (b=1 OR c=1)")


def test_where_binds_and_tighter() -> None:
    """The same page: `where` and `eval` take AND before OR."""
    assert same("* | where a=1 OR b=1 AND c=1", "* | where a=1 OR (b=1 AND c=1)")
    assert run("* | where a=1 OR b=1 AND c=1", BITS) != run("search a=1 OR b=1 AND c=1", BITS)


def test_unequal_needs_the_field_and_not_does_not() -> None:
    """Page "Difference between != and NOT"."""
    assert ids('place!="farms"') == ["1", "2"]
    assert ids('NOT place="farms"') == ["1", "2", "3"]
    assert ids("place=*") == ["1", "2", "4", "5"]
    assert ids("NOT place=*") == ["3"]
    assert ids("place!=*") == []        # the page "Use fields to retrieve events"
    assert ids('place!="nowhere"') == ["1", "2", "4", "5"]


def test_wildcards_case_and_in() -> None:
    """Page "search": values ignore case, IN takes several, wildcards also work in IN and in quotes."""
    assert ids('place IN ("BAY", "mar*")') == ["1", "2"]
    assert ids("place=*a*") == ["1", "2", "4", "5"]


def test_networks() -> None:
    """Page "search": a value with a prefix length matches addresses, IPv4 and IPv6; elsewhere it is text."""
    events = table("""
    id ip
    1  10.1.2.3
    2  10.2.2.3
    3  fd00::5
    4  host
    5  .
    """)
    assert ids('ip="10.1.0.0/16"', events) == ["1"]
    assert ids('ip="fd00::/8" OR ip="10.2.0.0/16"', events) == ["2", "3"]
    assert ids('NOT ip="10.0.0.0/8"', events) == ["3", "4", "5"]
    assert ids('* | where ip="10.1.0.0/16"', events) == []


def test_numbers() -> None:
    """Page "search": < and > compare numbers as numbers; a number against a text is not described."""
    events = table("id n\n1 9\n2 10\n3 .\n4 100")
    assert ids("n>9", events) == ["2", "4"]
    assert ids("n<=10", events) == ["1", "2"]
    with pytest.raises(Undocumented):
        run("n>9", [{"n": "many"}])


def test_multivalue() -> None:
    events = table("id v\n1 a|b\n2 b|c\n3 c")
    assert ids("v=a", events) == ["1"]
    assert ids("NOT v=a", events) == ["2", "3"]
    with pytest.raises(Undocumented):
        run("v!=a", events)


def test_newest_first_and_time_range() -> None:
    """Pages "search" and "Specify time modifiers in your search": newest first, latest is not included."""
    events = [{"_time": t, "id": str(t)} for t in (100, 200, 300.000001, 400)]
    assert ids("*", events) == ["400", "300.000001", "200", "100"]
    assert ids("earliest=200 latest=400", events) == ["300.000001", "200"]
    assert column(run("* earliest=-200s@s latest=now", events, now=400), "id") == ["300.000001", "200"]
    assert column(run("* earliest=0 latest=150", events, earliest=200, latest=400), "id") == ["100"]
    with pytest.raises(Undocumented):
        run("* earliest=0", events, latest=150)
    assert column(run("*", events, earliest="-100s", latest=400, now=400), "id") == ["300.000001"]


def test_index_time() -> None:
    """Page "Time modifiers": _index_earliest and _index_latest narrow by the time of indexing, beside event time."""
    events = [{"_time": 10, "_indextime": i, "id": str(i)} for i in (15, 20, 25)]
    assert ids("_index_earliest=20 _index_latest=25 earliest=10 latest=11", events) == ["20"]
    assert ids("_index_earliest=0 latest=10", events) == []


@pytest.mark.parametrize(("spl", "error"), [
    ("a=1 and b=2", SplSyntaxError), ("(a=1", SplSyntaxError), ("a=1)", SplSyntaxError), ("a=1 OR", SplSyntaxError),
    ("()", SplSyntaxError), ("failed", UnknownSpl), ('"failed login"', SplSyntaxError), ("[search b=1]", Refused),
    ("(earliest=-1h a=1)", SplSyntaxError), ("NOT earliest=-1h", SplSyntaxError), ("a=1 | nonsense", UnknownSpl),
    ("a=1 | where b", SplSyntaxError), ("a=1 | eval b=c=1", SplSyntaxError), ("a=1 | eval b=nope(1)", UnknownSpl),
    ("a=1 | where source.ip=1 and b=2", SplSyntaxError), ("a=1 | stats", SplSyntaxError),
    ("a=1 | stats nope(x)", UnknownSpl), ("a=1 | stats sum(x*)", UnknownSpl), ("| where a=1", SplSyntaxError),
    ("a=1 | tstats count from datamodel=X", SplSyntaxError), ("a=1 | join a [search b=1]", Refused),
    ("a=1 | transaction a", Refused), ("a=1 | sort 0 a limit=3", SplSyntaxError), ("`unknown`", UnknownSpl),
    ("a=1 | bin span=1mon _time", UnknownSpl), ("a=1 | streamstats allnum=t count", UnknownSpl),
    ("| multisearch [search a=1] [search b=1 | stats count]", SplSyntaxError), ("a=1 | eval x=b.c+1", SplSyntaxError),
])
def test_what_is_not_known_is_an_error(spl: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(spl, [])


Tree = Any
LEAVES = st.tuples(st.sampled_from("abcd"), st.booleans())
TREES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.tuples(st.just("NOT"), inner), st.tuples(st.sampled_from(("AND", "OR")), inner, inner)), max_leaves=8)
FLAT = st.lists(st.tuples(st.sampled_from(("AND", "OR")), st.booleans(), LEAVES), min_size=1, max_size=6)


def written(tree: Tree) -> str:
    if tree[0] == "NOT":
        return f"NOT ({written(tree[1])})"
    if len(tree) == 3:
        return f"({written(tree[1])}) {tree[0]} ({written(tree[2])})"
    return f"{tree[0]}={int(tree[1])}"


def holds(tree: Tree, event: dict[str, str]) -> bool:
    if tree[0] == "NOT":
        return not holds(tree[1], event)
    if len(tree) == 3:
        parts = (holds(tree[1], event), holds(tree[2], event))
        return all(parts) if tree[0] == "AND" else any(parts)
    return event.get(tree[0]) == str(int(tree[1]))


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_parentheses_leave_no_doubt(tree: Tree) -> None:
    wanted = [e for e in BITS if holds(tree, e)]
    assert run(f"search {written(tree)}", BITS) == wanted
    assert run(f"search * | where {written(tree)}", BITS) == wanted


@given(TREES, st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("01")), max_size=6))
@settings(max_examples=100, deadline=None)
def test_search_takes_a_missing_field_for_false(tree: Tree, events: list[dict[str, str]]) -> None:
    assert run(f"search {written(tree)}", events) == [e for e in events if holds(tree, e)]


@given(FLAT)
@settings(max_examples=200, deadline=None)
def test_precedence(terms: list[tuple[str, bool, tuple[str, bool]]]) -> None:
    """Without parentheses: split at the weakest operator first, AND in `search`, OR in `where`."""
    text = " ".join(f"{op if i else ''} {'NOT' if no else ''} {leaf[0]}={int(leaf[1])}"
                    for i, (op, no, leaf) in enumerate(terms))

    def value(weak: str, event: dict[str, str]) -> bool:
        groups: list[list[bool]] = [[]]
        for place, (op, no, leaf) in enumerate(terms):
            if place and op == weak:
                groups.append([])
            groups[-1].append(holds(leaf, event) is not no)
        inner, outer = (any, all) if weak == "AND" else (all, any)
        return outer(map(inner, groups))
    assert run(f"search {text}", BITS) == [e for e in BITS if value("AND", e)]
    assert run(f"search * | where {text}", BITS) == [e for e in BITS if value("OR", e)]

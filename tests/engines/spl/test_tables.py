"""`sort`, `dedup`, `bin`, `mvexpand`, `rename`, `fields`, `lookup`, macros and the rest, by their pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.spl import (
    Captured,
    Limits,
    Lookup,
    Macro,
    SplError,
    SplSyntaxError,
    SplunkLimit,
    Undocumented,
    UnknownSpl,
    run,
)
from tests.engines.spl.tables_of import column, table

ZONES = Lookup(table("""
cidr          zone  owner
10.1.2.0/24   lab   eve
10.1.0.0/16   office .
10.0.0.0/8    any   bob
fd00::/8      six   kim
"""), match_type={"cidr": "CIDR"}, max_matches=1)


def values(spl: str, name: str, events: list[dict[str, Any]], **more: Any) -> list[Any]:
    return column(run(spl, events, **more), name)


def test_sort() -> None:
    """Page "sort": numbers by value, addresses by value, rows without the field last in both directions."""
    events = table("id n ip\n1 10 10.0.0.10\n2 9 10.0.0.9\n3 . .\n4 100 10.0.0.100")
    assert values("* | sort 0 n", "id", events) == ["2", "1", "4", "3"]
    assert values("* | sort 0 - n", "id", events) == ["4", "1", "2", "3"]
    assert values("* | sort 0 str(n)", "id", events) == ["1", "4", "2", "3"]
    assert values("* | sort 0 ip", "id", events) == ["2", "1", "4", "3"]
    assert values("* | sort 2 -n, +id", "id", events) == ["4", "1"]
    assert values("* | sort 0 n desc", "id", events) == ["4", "1", "2", "3"]


def test_sort_by_two_fields() -> None:
    """Page "sort", an example with a descending and an ascending field."""
    events = table("a b\nx 1\ny 2\nx 3\ny 1")
    assert [(r["a"], r["b"]) for r in run("* | sort 0 a, -b", events)] == [
        ("x", "3"), ("x", "1"), ("y", "2"), ("y", "1")]


def test_sort_without_count_is_cut() -> None:
    """Page "sort": without a count 10000 rows are returned; `sort 0` returns all."""
    events = [{"n": n} for n in range(10_001)]
    with pytest.raises(SplunkLimit, match="sort"):
        run("* | sort n", events)
    assert len(run("* | sort 0 n", events)) == 10_001
    assert len(run("* | sort 10 n", events)) == 10


def test_dedup() -> None:
    """Page "dedup"."""
    events = table("a b\nx 1\nx 2\ny 3\n. 4\nx 5")
    assert values("* | dedup a", "b", events) == ["1", "3"]
    assert values("* | dedup 2 a", "b", events) == ["1", "2", "3"]
    assert values("* | dedup a keepempty=t", "b", events) == ["1", "3", "4"]
    assert values("* | dedup consecutive=t a", "b", events) == ["1", "3", "5"]
    assert values("* | dedup a sortby -b", "b", events) == ["5", "3"]


def test_bin() -> None:
    """Page "bin": spans of time begin at the epoch or at aligntime, spans of numbers become ranges."""
    events = [{"_time": 1_700_000_000.5}]
    assert values("* | bin _time span=5m", "_time", events) == [1_699_999_800]
    assert values("* | bin span=1d _time AS day", "day", events) == [1_699_920_000]
    assert values("* | bin _time span=5m aligntime=1700000000", "_time", events) == [1_700_000_000]
    assert values("* | bin n span=10", "n", [{"n": 27}]) == ["20-30"]


def test_multivalue_commands() -> None:
    """Pages "mvexpand", "makemv" and "mvcombine"."""
    events = table("id v\n1 a|b\n2 .")
    assert values("* | mvexpand v", "v", events) == ["a", "b", None]
    with pytest.raises(SplSyntaxError, match="internal"):
        run("* | mvexpand _time", [])
    assert values('* | makemv delim="," v | mvexpand v', "v", [{"v": "a,b"}]) == ["a", "b"]
    assert run("* | mvcombine v", table("id v\n1 a\n1 b\n2 a")) == [{"id": "1", "v": ["a", "b"]}, {"id": "2", "v": "a"}]


def test_rename() -> None:
    """Page "rename": wildcards, quotes, and a target that exists is lost."""
    assert run("* | rename All_Traffic.* AS *", [{"All_Traffic.src": 1, "x": 2}]) == [{"x": 2, "src": 1}]
    assert run('* | rename a AS "A b", c AS d', [{"a": 1, "d": 4}]) == [{"A b": 1}]


def test_fields_table_fillnull() -> None:
    """Pages "fields", "table" and "fillnull"."""
    event = {"_time": 1, "a": 1, "ab": 2, "c": 3}
    assert run("* | fields a*", [event]) == [{"_time": 1, "a": 1, "ab": 2}]
    assert run("* | fields - a*, _time", [event]) == [{"c": 3}]
    assert run("* | table c zz", [event]) == [{"c": 3}]
    assert run("* | fillnull", [{"a": 1}, {"b": 2}]) == [{"a": 1, "b": 0}, {"b": 2, "a": 0}]
    assert run('* | fillnull value="none" b', [{"a": 1}]) == [{"a": 1, "b": "none"}]


def test_head_tail_reverse() -> None:
    """Pages "head", "tail" (last rows, turned round) and "reverse"."""
    events = table("n\n1\n2\n3")
    assert values("* | head 2", "n", events) == ["1", "2"]
    assert values("* | tail 2", "n", events) == ["3", "2"]
    assert values("* | reverse", "n", events) == ["3", "2", "1"]


def test_append_appendpipe_multisearch() -> None:
    events = table("n\n1\n2")
    assert values("search n=1 | append [search n=2]", "n", events) == ["1", "2"]
    assert run("search * | stats sum(n) AS s BY n | appendpipe [stats sum(s) AS s]", events)[-1] == {"s": 3}
    assert values("| multisearch [search n=1] [search n=2]", "n", events) == ["1", "2"]


def test_macros() -> None:
    """Page "Use search macros in searches": arguments, nesting; quotes keep backticks."""
    macros: dict[str, Macro | str] = {
        "flows": "search sourcetype=f", "over(2)": Macro("where $field$>$least$", ("field", "least")),
        "twice": "`flows` a=1"}
    events = table("sourcetype a\nf 1\nf 2\ng 1")
    assert values("`flows` | `over(a, 1)`", "a", events, macros=macros) == ["2"]
    assert values("`twice`", "a", events, macros=macros) == ["1"]
    assert values("`flows` ```all of them``` | eval b=\"`x`\"", "b", events, macros=macros) == ["`x`", "`x`"]
    with pytest.raises(UnknownSpl, match="no macro over"):
        run("`over(a)`", [], macros=macros)
    with pytest.raises(SplunkLimit, match="max_macro_depth"):
        run("`loop`", [], macros={"loop": "`loop`"})
    with pytest.raises(SplSyntaxError):
        run("a=1 `", [])


def test_lookup_takes_the_first_rows_in_file_order() -> None:
    """transforms.conf.spec: file order, not the longest prefix; several matches make a multivalue field."""
    events = table("ip\n10.1.2.3\n10.1.9.9\nfd12::1\n192.0.2.1")
    spl = "* | lookup zones cidr AS ip OUTPUT zone"
    assert values(spl, "zone", events, lookups={"zones": ZONES}) == ["lab", "office", "six", None]
    every = Lookup(ZONES.rows, ZONES.match_type)
    assert values(spl, "zone", events, lookups={"zones": every})[0] == ["lab", "office", "any"]
    turned = Lookup(ZONES.rows[::-1], ZONES.match_type, max_matches=1)
    assert values(spl, "zone", events, lookups={"zones": turned})[0] == "any"


def test_lookup_defaults_and_case() -> None:
    """Page "Add field matching rules to your lookup configuration"."""
    zones = Lookup(ZONES.rows, ZONES.match_type, max_matches=1, min_matches=1, default_match="unknown")
    assert values("* | lookup zones cidr AS ip", "zone", [{"ip": "192.0.2.1"}], lookups={"zones": zones}) == ["unknown"]
    names = table("name role\nWEB* web\nDb1 db")
    strict = {"n": Lookup(names, {"name": "WILDCARD"})}
    loose = {"n": Lookup(names, {"name": "WILDCARD"}, case_sensitive_match=False)}
    assert values("* | lookup n name", "role", [{"name": "web7"}], lookups=strict) == [None]
    assert values("* | lookup n name", "role", [{"name": "web7"}], lookups=loose) == ["web"]


def test_lookup_outputnew() -> None:
    """Page "lookup": OUTPUT overwrites, OUTPUTNEW leaves rows alone that have the field."""
    event = {"ip": "10.9.9.9", "zone": "old"}
    more: dict[str, Any] = {"lookups": {"zones": ZONES}}
    assert values("* | lookup zones cidr AS ip OUTPUT zone", "zone", [event], **more) == ["any"]
    assert values("* | lookup zones cidr AS ip OUTPUTNEW zone", "zone", [event], **more) == ["old"]
    with pytest.raises(Undocumented):
        run("* | lookup zones cidr AS ip OUTPUT zone", [{"ip": "192.0.2.1", "zone": "old"}], **more)
    with pytest.raises(UnknownSpl):
        run("* | lookup zones nope AS ip", [event], **more)
    with pytest.raises(SplError, match="prefix length"):
        run("* | lookup b c AS ip", [event], lookups={"b": Lookup([{"c": "10.0.0.1"}], {"c": "CIDR"})})


def test_lookups_are_written_and_read_back() -> None:
    """Pages "outputlookup" and "inputlookup": replace, append, and update by key."""
    captured = Captured()
    run("* | table k v | outputlookup seen", table("k v\na 1\nb 2"), captured=captured)
    run("* | table k v | outputlookup append=t key_field=k seen", table("k v\nb 3\nc 4"), captured=captured)
    assert run("| inputlookup seen where v>1", [], captured=captured) == [{"k": "b", "v": "3"}, {"k": "c", "v": "4"}]
    run("search k=a | collect index=summary", table("k\na"), captured=captured)
    assert captured.collected == {"summary": [{"k": "a"}]}


def test_limits() -> None:
    """limits.conf.spec 9.2 and the pages "streamstats", "list", "append"."""
    many = [{"_time": n, "x": str(n)} for n in range(10_002)]
    for spl, name in (
            ("* | streamstats count", "no window is set"), ("* | streamstats window=10001 count", "max_stream_window"),
            ("* | sort 0 _time | streamstats time_window=1d count", "max_stream_window"),
            ("* | stats list(x)", "list_maxsize"), ("* | stats median(x)", "perc distinct"),
            ("* | stats estdc(x)", "approx_dc_threshold"), ("* | append maxout=5 [search *]", "append maxout")):
        with pytest.raises(SplunkLimit, match=name):
            run(spl, many)
    assert max(values("* | stats count BY _time | sort 0 _time | streamstats sum(count) AS n", "n", many)) == 10_002
    with pytest.raises(SplunkLimit, match="max_mem_usage_mb of eventstats"):
        run("* | eventstats count", many, limits=Limits(stats_max_mem_usage_mb=0))
    with pytest.raises(SplunkLimit, match="mvexpand"):
        run("* | eval v=mvrange(0, 3) | mvexpand v", many, limits=Limits(mvexpand_max_mem_usage_mb=1))
    with pytest.raises(SplunkLimit, match="maxresultrows"):
        run("| makeresults count=50001", [])


def test_shuffle_changes_only_what_has_no_order() -> None:
    events = [{"_time": n // 3, "n": n} for n in range(30)]
    assert values("*", "n", events, shuffle=1) != values("*", "n", events, shuffle=2)
    assert values("* | sort 0 n", "n", events, shuffle=1) == list(range(30))

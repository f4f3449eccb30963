"""`eval` and `where`: the pages "eval", "where" and "Evaluation functions" of the Search Reference 9.4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.engines.spl import SplError, Undocumented, run


def value(expression: str, **event: Any) -> Any:
    return run(f"* | eval result={expression}", [event], now=1_700_000_000)[0].get("result")


def passes(expression: str, **event: Any) -> bool:
    return bool(run(f"* | where {expression}", [event]))


@pytest.mark.parametrize(("expression", "wanted"), [
    # Comparison and Conditional functions
    ('if(404==200, "OK", "Error")', "Error"), ('case(1=2, "a", 1=1, "b", true(), "c")', "b"),
    ('case(1=2, "a")', None), ('coalesce(null(), "x", "y")', "x"), ('if(in("b", "a", "b"), 1, 0)', 1),
    ('if("b" IN ("a", "b"), 1, 0)', 1), ('if(like("foobar", "foo%"), 1, 0)', 1),
    ('if("foobar" LIKE "f__bar", 1, 0)', 1),
    ('if(match("192.0.2.7", "^\\d+\\."), 1, 0)', 1), ('if(cidrmatch("123.132.32.0/25", "123.132.32.7"), 1, 0)', 1),
    ('if(cidrmatch("fd00::/8", "fd12::1"), 1, 0)', 1), ('if(cidrmatch("10.0.0.0/8", "host"), 1, 0)', 0),
    ('nullif("a", "a")', None), ('if(null()=1, "yes", "no")', "no"),
    # Conversion functions
    ('tonumber("0A4", 16)', 164), ('tonumber("abc")', None), ("tostring(15, \"hex\")", "0xF"),
    ("tostring(615, \"duration\")", "00:10:15"), ("tostring(12345, \"commas\")", "12,345"),
    # Mathematical functions
    ("round(3.5)", 4), ("round(2.555, 2)", Decimal("2.56")), ("floor(1.9)", 1), ("ceiling(1.1)", 2), ("abs(-5)", 5),
    ("7%3", 1), ("1/4", Decimal("0.25")), ("1/0", None), ("2+3*4", 14), ("-(2)+5", 3), ("pow(2, 3)", 8),
    # Statistical eval functions: texts are greater than numbers
    ("min(10, 9, \"a\")", 9), ("max(10, 9, \"a\")", "a"), ("min(null(), 3)", 3),
    # Text functions
    ('lower("AbC")', "abc"), ('upper("a")', "A"), ('len("abc")', 3), ('substr("string", 1, 3)', "str"),
    ('substr("string", -3)', "ing"), ('replace("1/14", "^(\\d+)/(\\d+)$", "\\2/\\1")', "14/1"),
    ('trim(" x ")', "x"), ('"a" . 1 . "b"', "a1b"), ('"a" + "b"', "ab"), ('len(null())', None), ('null() . "x"', None),
    # Multivalue eval functions
    ('mvcount(split("a;b;c", ";"))', 3), ("mvcount(null())", None), ('mvindex(split("a;b;c", ";"), 1)', "b"),
    ('mvindex(split("a;b;c", ";"), -2, -1)', ["b", "c"]), ('mvindex(split("a;b", ";"), 5)', None),
    ('mvappend("a", null(), "b")', ["a", "b"]), ("mvappend(null())", None),
    ('mvdedup(split("b;a;b", ";"))', ["b", "a"]), ('mvsort(split("b;10;9", ";"))', ["10", "9", "b"]),
    ('mvzip(split("a;b", ";"), split("1;2", ";"))', ["a,1", "b,2"]), ('mvjoin(split("a;b", ";"), "+")', "a+b"),
    ("mvrange(1, 7, 2)", [1, 3, 5]),
    # Date and Time functions
    ("now()", 1_700_000_000), ('relative_time(1700000000, "-1h@h")', 1_699_995_600),
    ('relative_time(1700000000, "@d")', 1_699_920_000), ('relative_time(1700000000, "@w1")', 1_699_833_600),
    ('relative_time(1700000000, "-1mon@mon")', 1_696_118_400),
    ('strftime(1700000000.25, "%Y-%m-%dT%H:%M:%S.%3NZ")', "2023-11-14T22:13:20.250Z"),
])
def test_functions(expression: str, wanted: Any) -> None:
    assert value(expression) == wanted


def test_field_names() -> None:
    """Page "eval": single quotes around names with other marks; without them a dot joins two fields."""
    assert value("'source.ip'", **{"source.ip": "x", "source": "a", "ip": "b"}) == "x"
    assert value("source.ip", **{"source.ip": "x", "source": "a", "ip": "b"}) == "ab"
    with pytest.raises(SplError):
        run("* | eval a.b=1", [{}])


def test_values_keep_their_case() -> None:
    """Page "where": comparisons of texts heed case, unlike `search`."""
    assert passes('a="x"', a="x") and not passes('a="X"', a="x")


def test_numbers_and_texts() -> None:
    """Page "where": two numbers compare as numbers, else both as texts."""
    assert passes("a>9", a="10") and passes('a="10"', a=10) and passes("a==10", a="10.0")
    assert passes('a>"9"', a="abc")
    with pytest.raises(Undocumented):
        value("a+1", a="x")


def test_null_never_passes() -> None:
    """Pages "where" and "Comparison and Conditional functions": only true passes."""
    assert not passes("a=1") and not passes("a!=1") and not passes("a<1") and not passes('match(a, ".")')
    assert passes('isnull(a) OR a!=1') and passes("a=1 OR b=1", b=1) and not passes("a=1 AND b=1", b=1)


def test_not_of_null_is_an_error() -> None:
    """No page says what it is, so a search may not rest on it."""
    with pytest.raises(Undocumented):
        passes("NOT a=1")
    with pytest.raises(Undocumented):
        value('if(NOT (a=1 OR b=1), "x", "y")', b=2)
    assert passes("NOT (a=1 AND b=1)", b=2)
    assert passes("isnull(a) OR NOT a=1")
    assert passes("NOT coalesce(a, 0)=1")
    assert not passes("NOT a=1 AND b=1", b=2)


def test_multivalue_operands_are_an_error() -> None:
    with pytest.raises(Undocumented):
        passes("a=1", a=[1, 2])


def test_assignments_follow_each_other() -> None:
    """Page "eval": several with commas, later ones see earlier ones; null takes the field away."""
    assert run("* | eval a=1, b=a+1, c=null()", [{"c": 5}]) == [{"a": 1, "b": 2}]


def test_microseconds_are_exact() -> None:
    rows: list[dict[str, Any]] = [{"_time": 1_700_000_000.123457}, {"_time": Decimal("1700003600.123457")}]
    found = run("* | sort 0 _time | streamstats current=f window=1 last(_time) AS prev | eval d=_time-prev", rows)
    assert found[1]["d"] == 3600


def test_how_fractions_print_is_open() -> None:
    with pytest.raises(Undocumented, match="prints"):
        run('* | eval x=_time.":1"', [{"_time": 1.5}])
    assert run('* | eval x=_time.":1"', [{"_time": 1}])[0]["x"] == "1:1"


def test_mvmap_and_mvfilter() -> None:
    """Page "Multivalue eval functions"."""
    assert value("mvmap(a, a*10)", a=["1", "2"]) == [10, 20]
    assert value('mvfilter(match(a, "net$"))', a=["x.net", "y.org"]) == "x.net"


def test_foreach_rex_and_regex() -> None:
    """Pages "foreach", "rex" and "regex"."""
    assert run("* | foreach a b [eval <<FIELD>>=<<FIELD>>+1]", [{"a": 1, "b": 2}]) == [{"a": 2, "b": 3}]
    assert run('* | rex field=a "(?<user>\\w+)@(?<host>\\w+)"', [{"a": "bo@x"}]) == [
        {"a": "bo@x", "user": "bo", "host": "x"}]
    assert run('* | regex a!="^b"', [{"a": "bo"}, {"a": "xo"}]) == [{"a": "xo"}]

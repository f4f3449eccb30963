"""The commands that aggregate: `stats`, `eventstats`, `streamstats`, `tstats`."""

from __future__ import annotations

import re

from tests.engines.spl import nodes
from tests.engines.spl.accumulate import FUNCTIONS
from tests.engines.spl.errors import Refused, SplSyntaxError, UnknownSpl
from tests.engines.spl.parse_eval import EvalParser, is_boolean
from tests.engines.spl.parse_search import SearchParser
from tests.engines.spl.scan import Scanner, count, flag
from tests.engines.spl.times import span_seconds
from tests.engines.spl.values import Number, number

_CALL = re.compile(r"([a-zA-Z_]+?)(\d+(?:\.\d+)?)?\s*\(")
_BARE_COUNT = re.compile(r"(count|c)(?![\w(.*])")
_EVAL = re.compile(r"eval\s*\(")
_OPTION = re.compile(r"(\w+)\s*=\s*")
_SPAN = re.compile(r"span\s*=\s*([0-9a-z]+)")
_PERCENT = frozenset(("perc", "p", "exactperc", "upperperc"))
_ALIASES = {"c": "count", "distinct_count": "dc", "mean": "avg", "p": "perc"}
_TSTATS_OPTIONS = ("prestats", "local", "append", "summariesonly", "allow_old_summaries", "chunk_size",
                   "fillnull_value", "include_reduced_buckets")


def aggregates(scanner: Scanner, command: str) -> tuple[nodes.Aggregate, ...]:
    """One aggregate or more, up to BY, FROM or the end. Two may not share a name."""
    found: list[nodes.Aggregate] = []
    while not scanner.ends() and not scanner.sees_word("by", "from"):
        found.append(_aggregate(scanner, command))
        scanner.accept(",")
    names = [a.name for a in found]
    if not found or len(set(names)) < len(names):
        raise scanner.error(f"{command} needs aggregates with names that differ")
    return tuple(found)


def _aggregate(scanner: Scanner, command: str) -> nodes.Aggregate:
    scanner.skip()
    start = scanner.at
    if scanner.match(_BARE_COUNT):
        return nodes.Aggregate("count", None, _alias(scanner) or "count")
    call = scanner.match(_CALL)
    if not call:
        raise scanner.error(f"{command}: an aggregate is missing")
    function, percent = _function(call)
    argument, is_eval = _argument(scanner, function, command)
    scanner.expect(")")
    text = scanner.text[start:scanner.at]
    return nodes.Aggregate(function, argument, _alias(scanner) or text, percent, is_eval)


def _function(call: re.Match[str]) -> tuple[str, Number | None]:
    name, digits = call[1].lower(), call[2]
    name = _ALIASES.get(name, name)
    if (name in _PERCENT) != (digits is not None) or (name not in FUNCTIONS and name not in _PERCENT):
        raise UnknownSpl(f"statistical function {call[1]}{digits or ''}()", call.start())
    percent = number(digits) if digits else None
    if percent is not None and not 0 <= percent <= 100:
        raise SplSyntaxError(f"{name}{digits}: not a percentage", call.start())
    return name, percent


def _argument(scanner: Scanner, function: str, command: str) -> tuple[nodes.Expr | None, bool]:
    if scanner.sees(")"):
        if function != "count":
            raise scanner.error(f"{function}() needs a field")
        return None, False
    place = scanner.at
    if scanner.match(_EVAL):
        if command == "tstats":
            raise SplSyntaxError("tstats takes no eval inside aggregates", place)
        inner = EvalParser(scanner).expression()
        scanner.expect(")")
        if is_boolean(inner) and function != "count":
            raise SplSyntaxError(f"{function}() of a condition, which only count() counts", place)
        return inner, True
    name = scanner.name()
    if "*" in name:
        raise UnknownSpl(f"a wildcard in {function}({name})", place)
    return nodes.FieldRef(name), False


def _alias(scanner: Scanner) -> str | None:
    return scanner.name() if scanner.accept_word("as") else None


def _by(scanner: Scanner) -> tuple[str, ...]:
    if not scanner.accept_word("by"):
        return ()
    names = scanner.names()
    if not names or any("*" in n for n in names) or len(set(names)) < len(names):
        raise scanner.error("BY needs field names, each once, without wildcards")
    return names


def parse_stats(scanner: Scanner) -> nodes.Stats:
    """`stats` without options: none changes what it computes, so none is known here."""
    return nodes.Stats("stats", aggregates(scanner, "stats"), _by(scanner))


def parse_eventstats(scanner: Scanner) -> nodes.Stats:
    """`eventstats` without options."""
    return nodes.Stats("eventstats", aggregates(scanner, "eventstats"), _by(scanner))


def parse_streamstats(scanner: Scanner) -> nodes.Streamstats:
    """`streamstats` with all options but `allnum`."""
    known = ("current", "window", "time_window", "global", "reset_on_change", "reset_before", "reset_after")
    options: dict[str, str] = {}
    resets: dict[str, nodes.Expr] = {}
    while option := scanner.look(_OPTION):
        if option[1] in ("reset_before", "reset_after"):
            scanner.at = option.end()
            scanner.expect("(")
            text = scanner.string()
            resets[option[1]] = EvalParser(Scanner(text) if text is not None else scanner).boolean()
            scanner.expect(")")
            continue
        if option[1] not in known or option[1] in options:
            raise UnknownSpl(f"streamstats has no option {option[1]} here", option.start())
        scanner.at = option.end()
        options[option[1]] = scanner.value()
    time_window = span_seconds(options["time_window"], scanner.at) if "time_window" in options else None
    return nodes.Streamstats(
        aggregates(scanner, "streamstats"), _by(scanner), flag(options, "current", True),
        count(options, "window", 0), time_window, flag(options, "global", True),
        flag(options, "reset_on_change", False), resets.get("reset_before"), resets.get("reset_after"))


def parse_tstats(scanner: Scanner) -> nodes.Tstats:
    """`tstats … FROM datamodel=… WHERE … BY … span=…`. Without `prestats` and `append`."""
    options = scanner.options("tstats", *_TSTATS_OPTIONS)
    for name in ("prestats", "append"):
        if flag(options, name, False):
            raise Refused(f"tstats {name}=true", scanner.at)
    found = aggregates(scanner, "tstats")
    if not scanner.accept_word("from"):
        raise scanner.error("FROM is missing: fields of indexes are not known here")
    model = scanner.options("tstats FROM", "datamodel").get("datamodel")
    if model is None:
        raise scanner.error("datamodel= is missing")
    condition = nodes.Condition(nodes.Everything())
    if scanner.accept_word("where"):
        condition = SearchParser(scanner, ("by", "groupby")).condition()
    by, span = _tstats_by(scanner)
    return nodes.Tstats(found, model, condition, by, span, flag(options, "summariesonly", False),
                        options.get("fillnull_value"))


def _tstats_by(scanner: Scanner) -> tuple[tuple[str, ...], Number | None]:
    names: list[str] = []
    span: Number | None = None
    if not scanner.accept_word("by", "groupby"):
        return (), None
    while not scanner.ends():
        found = scanner.match(_SPAN)
        if found and span is None:
            span = span_seconds(found[1], found.start())
        else:
            names.append(scanner.name())
        scanner.accept(",")
    if ("_time" in names) != (span is not None):
        raise scanner.error("_time and span= go together: without one the other depends on the time range")
    if not names or any("*" in n for n in names):
        raise scanner.error("BY needs field names without wildcards")
    return tuple(names), span

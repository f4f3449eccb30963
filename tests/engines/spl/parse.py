"""SPL text to a pipeline of commands. What is not known here is an error with its place, never ignored.

`parse(spl)` expands macros, then reads commands up to the end. Sources: the command pages of the Search Reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from tests.engines.spl import nodes
from tests.engines.spl.errors import Refused, SplSyntaxError, UnknownSpl
from tests.engines.spl.limits import Limits
from tests.engines.spl.macros import Macro, expand
from tests.engines.spl.parse_eval import EvalParser, is_boolean
from tests.engines.spl.parse_search import SearchParser
from tests.engines.spl.parse_stats import parse_eventstats, parse_stats, parse_streamstats, parse_tstats
from tests.engines.spl.scan import Scanner, count, flag
from tests.engines.spl.times import span_seconds

_COMMAND = re.compile(r"[a-z][a-z0-9_]*(?![\w=!<>.:-])")
_SIGN = re.compile(r"[+-]")
_INTEGER = re.compile(r"\d+(?![\w.])")
_SORT_KIND = re.compile(r"(num|str|ip|auto)\s*\(")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)\s*=(?!=)|'([^']+)'\s*=(?!=)|\"([^\"]+)\"\s*=(?!=)")

# Commands that make rows and so must come first (the "Command types" page).
_GENERATING = (nodes.Tstats, nodes.Makeresults, nodes.Multisearch)
_STREAMING = (nodes.SearchCommand, nodes.Where, nodes.Eval, nodes.Fields, nodes.Rename, nodes.LookupCommand,
              nodes.Rex, nodes.Regex, nodes.Bin, nodes.Makemv, nodes.Mvexpand)


def parse(spl: str, macros: Mapping[str, Macro | str] = MappingProxyType({}),
          limits: Limits | None = None) -> nodes.Search:
    """The search that the text says. Raises SplError."""
    return _parsed(expand(spl, macros, limits or Limits()))


@lru_cache(maxsize=256)
def _parsed(spl: str) -> nodes.Search:
    """A search without macros. A scheduled one runs again and again, and the nodes of a pipeline never change."""
    scanner = Scanner(spl)
    search = parse_pipeline(scanner)
    if not scanner.ends() or scanner.sees("]"):
        raise scanner.error("the search is over")
    return search


def parse_pipeline(scanner: Scanner, *, piped: bool = False) -> nodes.Search:
    """Commands up to a closing bracket or the end; with `piped` they continue a pipeline, else the first makes rows."""
    commands: list[nodes.Command] = []
    names: list[str] = []
    leading = scanner.accept("|")
    if not leading and not piped and not _names_search(scanner):
        commands.append(_search(scanner))
        names.append("search")
        leading = scanner.accept("|")
    while not commands or leading:
        command, name = _command(scanner, first=not commands and not piped)
        commands.append(command)
        names.append(name)
        leading = scanner.accept("|")
    return nodes.Search(tuple(commands), tuple(names))


def _names_search(scanner: Scanner) -> bool:
    found = scanner.look(_COMMAND)
    return bool(found and found[0] == "search")


def _command(scanner: Scanner, *, first: bool) -> tuple[nodes.Command, str]:
    found = scanner.match(_COMMAND)
    if not found:
        raise scanner.error("a command is missing")
    name, place = found[0], found.start()
    if name in _REFUSED:
        raise Refused(f"{name}: {_REFUSED[name]}", place)
    if name not in _PARSERS:
        raise UnknownSpl(f"command {name}", place)
    command = _PARSERS[name](scanner)
    if not scanner.ends():
        raise scanner.error(f"{name} does not take this:")
    starts = isinstance(command, (*_GENERATING, nodes.SearchCommand)) or (
        isinstance(command, nodes.Inputlookup) and not command.append)
    if first and not starts:
        raise SplSyntaxError(f"{name} cannot be the first command", place)
    if not first and starts and not isinstance(command, nodes.SearchCommand):
        raise SplSyntaxError(f"{name} must be the first command", place)
    return command, name


def _search(scanner: Scanner) -> nodes.SearchCommand:
    condition = SearchParser(scanner).condition()
    if scanner.sees(")"):
        raise scanner.error("a parenthesis closes nothing")
    return nodes.SearchCommand(condition)


def _where(scanner: Scanner) -> nodes.Where:
    return nodes.Where(EvalParser(scanner).boolean())


def _eval(scanner: Scanner) -> nodes.Eval:
    found = []
    while True:
        assigned = scanner.match(_ASSIGNED)
        if not assigned:
            raise scanner.error("a field and = are missing (a name with other marks needs quotes)")
        value = EvalParser(scanner).expression()
        if is_boolean(value):
            raise SplSyntaxError("a field cannot be assigned a Boolean, use if()", assigned.start())
        found.append((assigned[1] or assigned[2] or assigned[3], value))
        if not scanner.accept(","):
            return nodes.Eval(tuple(found))


def _some_names(scanner: Scanner, command: str) -> tuple[str, ...]:
    names = scanner.names()
    if not names:
        raise scanner.error(f"{command} needs fields")
    return names


def _fields(scanner: Scanner) -> nodes.Fields:
    sign = scanner.match(_SIGN)
    return nodes.Fields(_some_names(scanner, "fields"), not sign or sign[0] == "+")


def _table(scanner: Scanner) -> nodes.Table:
    return nodes.Table(_some_names(scanner, "table"))


def _rename(scanner: Scanner) -> nodes.Rename:
    pairs = []
    while not scanner.ends():
        old = scanner.name()
        if not scanner.accept_word("as"):
            raise scanner.error("AS is missing")
        new = scanner.name()
        if old.count("*") != new.count("*"):
            raise scanner.error("both names need the same wildcards")
        pairs.append((old, new))
        scanner.accept(",")
    if not pairs:
        raise scanner.error("rename needs fields")
    return nodes.Rename(tuple(pairs))


def _fillnull(scanner: Scanner) -> nodes.Fillnull:
    options = scanner.options("fillnull", "value")
    return nodes.Fillnull(options.get("value", "0"), scanner.names())


def _bin(scanner: Scanner) -> nodes.Bin:
    options = scanner.options("bin", "span", "aligntime")
    field = scanner.name()
    options |= scanner.options("bin", "span", "aligntime")
    name = scanner.name() if scanner.accept_word("as") else field
    if "span" not in options:
        raise scanner.error("bin needs span=: without it the bins depend on the data")
    span, place = options["span"], scanner.at
    if field != "_time":
        if not span.isdigit():
            raise SplSyntaxError(f"span={span} on a field that is no time", place)
        return nodes.Bin(field, name, int(span))
    if span.endswith(("w", "week", "weeks")):
        raise UnknownSpl("weeks in bin: where they begin is not documented", place)
    return nodes.Bin(field, name, span_seconds(span if not span.isdigit() else f"{span}s", place),
                     options.get("aligntime"))


def _sort(scanner: Scanner) -> nodes.Sort:
    limit: int | None = None
    if found := scanner.match(_INTEGER):
        limit = int(found[0])
    elif options := scanner.options("sort", "limit"):
        limit = count(options, "limit", 0)
    keys = _sort_keys(scanner)
    if not keys:
        raise scanner.error("sort needs fields")
    return nodes.Sort(keys, limit)


def _sort_keys(scanner: Scanner) -> tuple[nodes.SortKey, ...]:
    keys: list[nodes.SortKey] = []
    while not scanner.ends():
        if keys and scanner.accept_word("d", "desc"):
            return tuple(nodes.SortKey(k.field, not k.descending, k.kind) for k in keys)
        sign = scanner.match(_SIGN)
        kind = scanner.match(_SORT_KIND)
        name = scanner.name()
        if kind:
            scanner.expect(")")
        keys.append(nodes.SortKey(name, bool(sign and sign[0] == "-"), kind[1] if kind else "auto"))
        scanner.accept(",")
    return tuple(keys)


def _dedup(scanner: Scanner) -> nodes.Dedup:
    found = scanner.match(_INTEGER)
    names: list[str] = []
    known = ("keepempty", "consecutive")
    options = scanner.options("dedup", *known)
    while not scanner.ends() and not scanner.sees_word("sortby"):
        names.append(scanner.name())
        scanner.accept(",")
        options |= scanner.options("dedup", *known)
    keys = _sort_keys(scanner) if scanner.accept_word("sortby") else ()
    if not names:
        raise scanner.error("dedup needs fields")
    return nodes.Dedup(tuple(names), int(found[0]) if found else 1, flag(options, "keepempty", False),
                       flag(options, "consecutive", False), keys)


def _take(command: str) -> Callable[[Scanner], nodes.Take]:
    def read(scanner: Scanner) -> nodes.Take:
        if command == "reverse":
            return nodes.Take(command)
        found = scanner.match(_INTEGER)
        options = scanner.options(command, "limit") if command == "head" and not found else {}
        return nodes.Take(command, int(found[0]) if found else count(options, "limit", 10))
    return read


def _mvexpand(scanner: Scanner) -> nodes.Mvexpand:
    name = scanner.name()
    if name.startswith("_"):
        raise scanner.error(f"mvexpand does not take the internal field {name}:")
    return nodes.Mvexpand(name, count(scanner.options("mvexpand", "limit"), "limit", 0))


def _makemv(scanner: Scanner) -> nodes.Makemv:
    options = scanner.options("makemv", "delim", "allowempty")
    return nodes.Makemv(scanner.name(), options.get("delim", " "), flag(options, "allowempty", False))


def _rex(scanner: Scanner) -> nodes.Rex:
    options = scanner.options("rex", "field", "max_match")
    pattern = scanner.string()
    if pattern is None:
        raise scanner.error("rex needs a regular expression in double quotes")
    options |= scanner.options("rex", "max_match")
    return nodes.Rex(options.get("field", "_raw"), pattern, count(options, "max_match", 1))


def _regex(scanner: Scanner) -> nodes.Regex:
    field = scanner.name()
    negated = scanner.accept("!=")
    if not negated:
        scanner.expect("=")
    pattern = scanner.string()
    if pattern is None:
        raise scanner.error("regex needs a regular expression in double quotes")
    return nodes.Regex(field, pattern, negated)


def _bracketed(scanner: Scanner, *, piped: bool = False) -> nodes.Search:
    scanner.expect("[")
    search = parse_pipeline(scanner, piped=piped)
    scanner.expect("]")
    return search


def _append(command: str) -> Callable[[Scanner], nodes.Append]:
    def read(scanner: Scanner) -> nodes.Append:
        known = ("maxout",) if command == "append" else ("run_in_preview",)
        options = scanner.options(command, *known)
        maxout = count(options, "maxout", 0) if "maxout" in options else None
        return nodes.Append(command, _bracketed(scanner, piped=command == "appendpipe"), maxout)
    return read


def _multisearch(scanner: Scanner) -> nodes.Multisearch:
    searches = []
    while scanner.sees("["):
        place = scanner.at
        searches.append(_bracketed(scanner))
        for command, name in zip(searches[-1].commands, searches[-1].names, strict=True):
            if not isinstance(command, _STREAMING):
                raise SplSyntaxError(f"multisearch takes streaming commands only, not {name}", place)
    if len(searches) < 2:
        raise scanner.error("multisearch needs two searches")
    return nodes.Multisearch(tuple(searches))


def _lookup(scanner: Scanner) -> nodes.LookupCommand:
    place = scanner.at
    scanner.options("lookup", "local")
    table = scanner.name()
    inputs = _pairs(scanner)
    new_only = scanner.sees_word("outputnew")
    outputs = _pairs(scanner) if scanner.accept_word("output", "outputnew") else ()
    if not inputs:
        raise scanner.error("lookup needs fields")
    return nodes.LookupCommand(table, inputs, outputs, new_only, place)


def _pairs(scanner: Scanner) -> tuple[tuple[str, str], ...]:
    pairs = []
    while not scanner.ends() and not scanner.sees_word("output", "outputnew"):
        name = scanner.name()
        pairs.append((name, scanner.name() if scanner.accept_word("as") else name))
        scanner.accept(",")
    return tuple(pairs)


def _inputlookup(scanner: Scanner) -> nodes.Inputlookup:
    place = scanner.at
    options = scanner.options("inputlookup", "append", "strict")
    table = scanner.name()
    condition = SearchParser(scanner).condition() if scanner.accept_word("where") else None
    return nodes.Inputlookup(table, flag(options, "append", False), condition, place)


def _outputlookup(scanner: Scanner) -> nodes.Outputlookup:
    known = ("append", "key_field", "create_empty", "override_if_empty", "createinapp")
    options = scanner.options("outputlookup", *known)
    table = scanner.name()
    options |= scanner.options("outputlookup", *known)
    return nodes.Outputlookup(table, flag(options, "append", False), options.get("key_field"))


def _collect(scanner: Scanner) -> nodes.Collect:
    options = scanner.options("collect", "index", "addtime", "marker", "source", "sourcetype", "host", "testmode",
                              "output_format", "file", "spool", "run_in_preview")
    if "index" not in options:
        raise scanner.error("collect needs index=")
    return nodes.Collect(tuple(options.items()))


def _makeresults(scanner: Scanner) -> nodes.Makeresults:
    return nodes.Makeresults(count(scanner.options("makeresults", "count"), "count", 1))


def _foreach(scanner: Scanner) -> nodes.Foreach:
    patterns: list[str] = []
    while not scanner.ends() and not scanner.sees("["):
        patterns.append(scanner.name())
        scanner.accept(",")
    scanner.expect("[")
    place, end = scanner.at, scanner.text.find("]", scanner.at)
    template = scanner.text[place:end]
    if end < 0 or not patterns or not template.strip().startswith("eval "):
        raise scanner.error("foreach takes fields and [ eval … ] here")
    scanner.at = end + 1
    return nodes.Foreach(tuple(patterns), template.strip()[5:], place)


def parse_assignments(text: str) -> nodes.Eval:
    """The assignments after `eval`, for what `foreach` fills in."""
    scanner = Scanner(text)
    command = _eval(scanner)
    if not scanner.ends():
        raise scanner.error("eval does not take this:")
    return command


_PARSERS: Mapping[str, Callable[[Scanner], nodes.Command]] = MappingProxyType({
    "search": _search, "where": _where, "eval": _eval, "fields": _fields, "table": _table, "rename": _rename,
    "fillnull": _fillnull, "stats": parse_stats, "eventstats": parse_eventstats, "streamstats": parse_streamstats,
    "tstats": parse_tstats, "bin": _bin, "bucket": _bin, "sort": _sort, "dedup": _dedup, "head": _take("head"),
    "tail": _take("tail"), "reverse": _take("reverse"), "mvexpand": _mvexpand, "makemv": _makemv,
    "mvcombine": lambda s: nodes.Mvcombine(s.name()), "rex": _rex, "regex": _regex, "append": _append("append"),
    "appendpipe": _append("appendpipe"), "multisearch": _multisearch, "lookup": _lookup,
    "inputlookup": _inputlookup, "outputlookup": _outputlookup, "collect": _collect, "makeresults": _makeresults,
    "foreach": _foreach, "addinfo": lambda s: nodes.Addinfo()})
_REFUSED: Mapping[str, str] = MappingProxyType({
    "transaction": "it drops open transactions at its limits, and chains are missed",
    "join": "it drops rows of its subsearch above 50000 or 60 s, in silence",
    "return": "it makes a filter of at most one row", "format": "it makes a filter of a subsearch",
    "map": "it runs one search per row, 10 at most", "selfjoin": "it drops rows at its limits"})

"""Running a search over events."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tests.engines.spl import aggregate, lookups, nodes, rows, tables
from tests.engines.spl.context import Captured, Context, DataModel, Lookup
from tests.engines.spl.limits import Limits
from tests.engines.spl.macros import Macro
from tests.engines.spl.parse import parse
from tests.engines.spl.times import relative
from tests.engines.spl.values import Number, Row, number, row_of

Runner = Callable[[Any, list[Row], Context], list[Row]]
_EMPTY: Mapping[str, Any] = MappingProxyType({})

_RUNNERS: Mapping[type, Runner] = MappingProxyType({
    nodes.SearchCommand: rows.search, nodes.Where: rows.where, nodes.Eval: rows.evaluate, nodes.Fields: rows.fields,
    nodes.Table: rows.table, nodes.Rename: rows.rename, nodes.Fillnull: rows.fillnull, nodes.Bin: rows.bin_values,
    nodes.Mvexpand: rows.mvexpand, nodes.Makemv: rows.makemv, nodes.Rex: rows.rex, nodes.Regex: rows.regex,
    nodes.Foreach: rows.foreach, nodes.Sort: tables.sort, nodes.Dedup: tables.dedup, nodes.Take: tables.take,
    nodes.Mvcombine: tables.mvcombine, nodes.Append: tables.append, nodes.Multisearch: tables.multisearch,
    nodes.Makeresults: tables.makeresults, nodes.Stats: aggregate.stats, nodes.Streamstats: aggregate.streamstats,
    nodes.Tstats: aggregate.tstats, nodes.LookupCommand: lookups.lookup, nodes.Inputlookup: lookups.inputlookup,
    nodes.Outputlookup: lookups.outputlookup, nodes.Collect: lookups.collect, nodes.Addinfo: rows.addinfo})


def _instant(value: Any, now: Number | None) -> Number | None:
    if value is None:
        return None
    if isinstance(value, str) and number(value) is None:
        return relative(value, now or 0)
    return number(row_of({"_time": value})["_time"])


def run(spl: str, events: Sequence[Mapping[str, Any]], *, lookups: Mapping[str, Lookup] = _EMPTY,
        macros: Mapping[str, Macro | str] = _EMPTY, datamodels: Mapping[str, DataModel] = _EMPTY,
        earliest: Any = None, latest: Any = None, now: Any = None, limits: Limits | None = None,
        captured: Captured | None = None, shuffle: int | None = None) -> list[dict[str, Any]]:
    """The search's results over the events. Raises SplError for whatever Splunk would not surely do so.

    `earliest`, `latest` and `now` are epoch seconds, datetimes with a zone, or time modifiers (the first two).
    `captured` receives what `outputlookup` and `collect` write; a later run with it reads the lookups back.
    `shuffle` is a seed: rows change places wherever Splunk promises no order, so results should not depend on it.
    Result values are texts, int, Decimal, and lists of those for multivalue fields.
    """
    limits = limits or Limits()
    search = parse(spl, macros, limits)
    instant = _instant(now, None)
    context = Context([row_of(e) for e in events], lookups, datamodels, _instant(earliest, instant),
                      _instant(latest, instant), instant, limits, captured if captured is not None else Captured(),
                      None if shuffle is None else random.Random(shuffle), _pipeline)
    return _pipeline(search, None, context)


def _pipeline(search: nodes.Search, given: list[Row] | None, context: Context) -> list[Row]:
    """The pipeline over the given rows; with None it begins with its own."""
    found = given or []
    for place, command in enumerate(search.commands):
        if place == 0 and given is None and isinstance(command, nodes.SearchCommand):
            found = rows.base_search(command, context)
        else:
            found = _RUNNERS[type(command)](command, found, context)
    return found

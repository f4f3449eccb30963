"""`stats`, `eventstats`, `streamstats` and `tstats`. Rows whose BY field is null belong to no group."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from tests.engines.spl import nodes
from tests.engines.spl.accumulate import Accumulator, accumulator
from tests.engines.spl.context import Context, DataModel, in_range
from tests.engines.spl.errors import SplError, Undocumented, UnknownSpl
from tests.engines.spl.evaluate import Environment, getter
from tests.engines.spl.limits import Limits, check, check_memory
from tests.engines.spl.parse import parse
from tests.engines.spl.parse_eval import EvalParser
from tests.engines.spl.rows import filtered, floored
from tests.engines.spl.scan import Scanner
from tests.engines.spl.values import Number, Row, Value, many, text

Key = tuple[str, ...]
Values = Callable[[Row], list[Value]]
_UNPREFIXED = frozenset(("_time", "_indextime", "host", "source", "sourcetype", "index"))


def _values(aggregate: nodes.Aggregate, environment: Environment) -> Values:
    """The values that one row adds to an aggregate."""
    if aggregate.argument is None:
        return lambda row: [1]
    value_of = getter(aggregate.argument, environment)
    if not aggregate.is_eval:
        return lambda row: many(value_of(row))
    return lambda row: [v for v in many(value_of(row)) if v is not False]


def _keys(row: Row, by: Sequence[str]) -> Iterator[tuple[Key, Row]]:
    """The groups of a row and the values that name them: one per value of a multivalue field, none if one is null."""
    if any(name not in row for name in by):
        return
    if not any(isinstance(row[name], list) for name in by):
        yield tuple([text(row[name]) for name in by]), row
        return
    for values in product(*(many(row[name]) for name in by)):
        yield tuple(map(text, values)), dict(zip(by, values, strict=True))


@dataclass(slots=True)
class _Groups:
    """Accumulators by group, and the values that name each group."""

    aggregates: Sequence[nodes.Aggregate]
    by: Sequence[str]
    limits: Limits
    environment: Environment
    states: dict[Key, list[Accumulator]] = field(default_factory=dict)
    named: dict[Key, Row] = field(default_factory=dict)

    def fill(self, rows: Sequence[Row]) -> None:
        values_of = [_values(a, self.environment) for a in self.aggregates]
        for row in rows:
            time = row.get("_time")
            for key, names in _keys(row, self.by):
                state = self.states.get(key)
                if state is None:
                    state = self.states[key] = [accumulator(a, self.limits) for a in self.aggregates]
                    self.named[key] = {name: names[name] for name in self.by}
                for one, values in zip(state, values_of, strict=True):
                    for value in values(row):
                        one.add(value, time)

    def results(self, key: Key) -> Row:
        return {a.name: value for a, one in zip(self.aggregates, self.states[key], strict=True)
                if (value := one.result()) is not None}


def stats(node: nodes.Stats, rows: list[Row], context: Context) -> list[Row]:
    """`stats` gives one row per group, `eventstats` adds the group's results to its rows."""
    groups = _Groups(node.aggregates, node.by, context.limits, context.environment)
    groups.fill(rows)
    if node.command == "eventstats":
        return _eventstats(node, groups, rows, context)
    context.transformed = True
    return context.mixed(_table(groups))


def _table(groups: _Groups) -> list[Row]:
    if not groups.by and not groups.states:
        empty = {a.name: 0 for a in groups.aggregates if a.function in ("count", "dc")}
        return [dict(empty)] if empty else []
    return [{**groups.named[key], **groups.results(key)} for key in sorted(groups.states)]


def _eventstats(node: nodes.Stats, groups: _Groups, rows: list[Row], context: Context) -> list[Row]:
    check_memory("max_mem_usage_mb of eventstats", context.limits.stats_max_mem_usage_mb, rows)
    found = {key: groups.results(key) for key in groups.states}
    for row in rows:
        keys = list(_keys(row, node.by))
        if len(keys) > 1:
            raise Undocumented("eventstats BY a multivalue field")
        for key, _ in keys:
            row.update(found[key])
    return rows


@dataclass(slots=True)
class _Window:
    """The events of a streamstats window, oldest first, each with its group and its values."""

    entries: deque[tuple[Key, list[list[Value]], Number | None]] = field(default_factory=deque)


class _Stream:
    """One run of `streamstats`."""

    def __init__(self, node: nodes.Streamstats, context: Context) -> None:
        self.node, self.limits, self.transformed = node, context.limits, context.transformed
        self.windowed = bool(node.window or node.time_window)
        self.values_of = [_values(a, context.environment) for a in node.aggregates]
        self.before = getter(node.reset_before, context.environment) if node.reset_before else None
        self.after = getter(node.reset_after, context.environment) if node.reset_after else None
        self.last_key: Key | None = None
        self.seen = 0
        self.reset()

    def reset(self) -> None:
        """As if no event had been seen."""
        self.states: dict[Key, list[Accumulator]] = {}
        self.windows: dict[Key, _Window] = {}
        self.seen = 0

    def step(self, row: Row) -> None:
        """Add to the row what was seen up to it."""
        if self.before and self.before(row) is True:
            self.reset()
        keys = list(_keys(row, self.node.by))
        if len(keys) > 1:
            raise Undocumented("streamstats BY a multivalue field")
        if not keys:
            return
        key = keys[0][0]
        if self.node.reset_on_change and self.last_key not in (None, key):
            self.reset()
        self.last_key = key
        self._count(row, key)
        if self.after and self.after(row) is True:
            self.reset()

    def _count(self, row: Row, key: Key) -> None:
        state = self.states.get(key)
        if state is None:
            state = [accumulator(a, self.limits, windowed=self.windowed) for a in self.node.aggregates]
            self.states[key] = state
        payload, time = [values(row) for values in self.values_of], row.get("_time")
        if self.node.current:
            self._take(key, state, payload, time)
        if self.windowed:
            self._evict(key, time)
        for aggregate, one in zip(self.node.aggregates, state, strict=True):
            value = one.result()
            if value is None:
                row.pop(aggregate.name, None)
            else:
                row[aggregate.name] = value
        if not self.node.current:
            self._take(key, state, payload, time)

    def _window(self, key: Key) -> _Window:
        shared = self.node.global_ and self.node.window
        return self.windows.setdefault(() if shared else key, _Window())

    def _take(self, key: Key, state: list[Accumulator], payload: list[list[Value]], time: Number | None) -> None:
        self.seen += 1
        for one, values in zip(state, payload, strict=True):
            for value in values:
                one.add(value, time)
        if self.windowed:
            self._window(key).entries.append((key, payload, time))
        elif not self.transformed:
            check("max_stream_window (no window is set, over events)", self.limits.max_stream_window, self.seen)

    def _evict(self, key: Key, time: Number | None) -> None:
        entries = self._window(key).entries
        while entries and (self._too_old(entries[0][2], time)
                           or (self.node.window and len(entries) > self.node.window)):
            owner, payload, _ = entries.popleft()
            for one, values in zip(self.states[owner], payload, strict=True):
                for value in values:
                    one.forget(value)
        check("max_stream_window", self.limits.max_stream_window, len(entries))

    def _too_old(self, old: Number | None, new: Number | None) -> bool:
        if self.node.time_window is None or old is None or new is None:
            return False
        age: Number = new - old if new > old else old - new
        if age == self.node.time_window:
            raise Undocumented("streamstats: an event lies exactly at the edge of time_window")
        return age > self.node.time_window


def streamstats(node: nodes.Streamstats, rows: list[Row], context: Context) -> list[Row]:
    """`streamstats`: statistics of the rows so far. With time_window, rows must be sorted by _time, either way."""
    check("max_stream_window", context.limits.max_stream_window, node.window)
    if node.time_window is not None:
        times: list[Number] = [row["_time"] for row in rows if "_time" in row]
        ordered = sorted(times)
        if len(times) < len(rows) or ordered not in (times, times[::-1]):
            raise SplError("streamstats time_window: rows are not sorted by _time")
    stream = _Stream(node, context)
    for row in rows:
        stream.step(row)
    return rows


def tstats(node: nodes.Tstats, rows: list[Row], context: Context) -> list[Row]:
    """`tstats` over a data model: fields carry the dataset's name, rows with a null BY field are lost."""
    dataset, model = _model(node, context)
    mapped = _mapped(node, dataset, model, context)
    found = filtered(node.condition, mapped, loose_cidr=True)
    for row in found:
        if node.span is not None:
            row["_time"] = floored(row["_time"], node.span, 0)
        if node.fillnull_value is not None:
            for name in node.by:
                row.setdefault(name, node.fillnull_value)
    groups = _Groups(node.aggregates, node.by, context.limits, context.environment)
    groups.fill(found)
    context.transformed = True
    return context.mixed(_table(groups))


def _model(node: nodes.Tstats, context: Context) -> tuple[str, DataModel]:
    name, _, dataset = node.datamodel.partition(".")
    model = context.datamodels.get(name)
    if model is None or (dataset and dataset != model.dataset):
        raise UnknownSpl(f"no data model {node.datamodel}")
    known = _UNPREFIXED | {f"{model.dataset}.{field}" for field in model.fields} | {"nodename"}
    for used in (*node.by, *_argument_names(node), *_condition_names(node.condition.predicate)):
        if used not in known:
            raise UnknownSpl(f"{node.datamodel} has no field {used}")
    return model.dataset, model


def _argument_names(node: nodes.Tstats) -> list[str]:
    return [a.argument.name for a in node.aggregates if isinstance(a.argument, nodes.FieldRef)]


def _condition_names(predicate: nodes.Predicate) -> list[str]:
    if isinstance(predicate, nodes.Compare):
        return [predicate.field]
    if isinstance(predicate, nodes.Not):
        return _condition_names(predicate.part)
    parts = predicate.parts if isinstance(predicate, nodes.Every | nodes.Some) else ()
    return [name for part in parts for name in _condition_names(part)]


def _mapped(node: nodes.Tstats, dataset: str, model: DataModel, context: Context) -> list[Row]:
    """The dataset's rows in the time range."""
    if node.span is not None and ("_time" in _argument_names(node) or any(
            a.function in ("earliest", "latest") for a in node.aggregates)):
        raise Undocumented("tstats BY _time with aggregates that look at _time")
    events = context.read(node.condition)
    if node.summariesonly and model.summarized_until is not None:
        events = in_range(events, None, model.summarized_until)
    chosen = parse(model.constraint).commands[0]
    assert isinstance(chosen, nodes.SearchCommand)
    getters = {f"{dataset}.{name}": getter(EvalParser(Scanner(source)).expression(), context.environment)
               for name, source in model.fields.items()}
    return context.mixed([
        {"nodename": dataset, **{name: event[name] for name in _UNPREFIXED if name in event},
         **{name: value for name, get in getters.items() if (value := get(event)) is not None}}
        for event in filtered(chosen.condition, events)])

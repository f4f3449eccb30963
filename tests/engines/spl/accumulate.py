"""Statistical functions. From the pages "Statistical and charting functions" of the Search Reference.

An accumulator sees one value at a time, with its event's time, and can forget the oldest one (for windows). Functions
of numbers skip what is no number; the others take values as texts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Protocol

from tests.engines.spl.errors import SplError, SplunkLimit, Undocumented
from tests.engines.spl.limits import Limits, check
from tests.engines.spl.nodes import Aggregate
from tests.engines.spl.values import Number, Value, multivalue, number, text


class Accumulator(Protocol):
    """The state of one aggregate for one group."""

    def add(self, value: Value, time: Number | None) -> None:
        """Take a value in."""

    def forget(self, value: Value) -> None:
        """Take the oldest value out; it is given once more."""

    def result(self) -> Value:
        """The aggregate of what is in; None if there is none."""


class Count:
    def __init__(self) -> None:
        self.count = 0

    def add(self, value: Value, time: Number | None) -> None:
        self.count += 1

    def forget(self, value: Value) -> None:
        self.count -= 1

    def result(self) -> Value:
        return self.count


class Distinct:
    """dc() and values(), which are of texts: 1 and 1.0 are two values."""

    def __init__(self, finish: Callable[[Counter[str]], Value]) -> None:
        self.counts: Counter[str] = Counter()
        self.finish = finish

    def add(self, value: Value, time: Number | None) -> None:
        self.counts[text(value)] += 1

    def forget(self, value: Value) -> None:
        name = text(value)
        self.counts[name] -= 1
        if not self.counts[name]:
            del self.counts[name]

    def result(self) -> Value:
        return self.finish(self.counts)


class Moments:
    """sum(), avg(), sumsq(), var() and stdev(), from exact sums."""

    def __init__(self, finish: Callable[[int, Number, Number], Value]) -> None:
        self.count = 0
        self.total: Number = 0
        self.squares: Number = 0
        self.finish = finish

    def _shift(self, value: Value, sign: int) -> None:
        found = number(value)
        if found is not None:
            self.count += sign
            self.total += sign * found
            self.squares += sign * found * found

    def add(self, value: Value, time: Number | None) -> None:
        self._shift(value, 1)

    def forget(self, value: Value) -> None:
        self._shift(value, -1)

    def result(self) -> Value:
        return self.finish(self.count, self.total, self.squares) if self.count else None


class Best:
    """Keeps one value: the first or last seen, the smallest or greatest, the earliest or latest."""

    def __init__(self, better: Callable[[Value, Number | None, Value, Number | None], bool]) -> None:
        self.better = better
        self.kept: Value = None
        self.time: Number | None = None

    def add(self, value: Value, time: Number | None) -> None:
        if self.kept is None or self.better(value, time, self.kept, self.time):
            self.kept, self.time = value, time

    def forget(self, value: Value) -> None:
        raise NotImplementedError("a window keeps all values, see Bag")

    def result(self) -> Value:
        return self.kept


class Bag:
    """Keeps all values, in order, and computes from them when asked."""

    def __init__(self, finish: Callable[[deque[tuple[Value, Number | None]]], Value]) -> None:
        self.items: deque[tuple[Value, Number | None]] = deque()
        self.finish = finish

    def add(self, value: Value, time: Number | None) -> None:
        self.items.append((value, time))

    def forget(self, value: Value) -> None:
        self.items.popleft()

    def result(self) -> Value:
        return self.finish(self.items) if self.items else None


def _variance(count: int, total: Number, squares: Number, sample: bool) -> Decimal:
    below = count * (count - 1) if sample else count * count
    return Decimal(count * squares - total * total) / Decimal(below) if below else Decimal(0)


_MOMENTS: Mapping[str, Callable[[int, Number, Number], Value]] = MappingProxyType({
    "sum": lambda n, s, q: s, "sumsq": lambda n, s, q: q, "avg": lambda n, s, q: _plain(Decimal(s) / n),
    "var": lambda n, s, q: _plain(_variance(n, s, q, True)), "varp": lambda n, s, q: _plain(_variance(n, s, q, False)),
    "stdev": lambda n, s, q: _plain(_variance(n, s, q, True).sqrt()),
    "stdevp": lambda n, s, q: _plain(_variance(n, s, q, False).sqrt())})


def _plain(value: Decimal) -> Number:
    return int(value) if value == value.to_integral_value() else value


def _rank(value: Value) -> tuple[int, Number | str]:
    found = number(value)
    return (1, text(value)) if found is None else (0, found)


def _time(time: Number | None) -> Number:
    if time is None:
        raise SplError("earliest() and latest() need _time")
    return time


_BETTER: Mapping[str, Callable[[Value, Number | None, Value, Number | None], bool]] = MappingProxyType({
    "first": lambda v, t, k, kt: False, "last": lambda v, t, k, kt: True,
    "min": lambda v, t, k, kt: _rank(v) < _rank(k), "max": lambda v, t, k, kt: _rank(v) > _rank(k),
    "earliest": lambda v, t, k, kt: _time(t) < _time(kt), "latest": lambda v, t, k, kt: _time(t) > _time(kt)})
_DISTINCT: Mapping[str, Callable[[Counter[str]], Value]] = MappingProxyType({
    "dc": len, "values": lambda c: multivalue(sorted(c))})
FUNCTIONS = frozenset((*_MOMENTS, *_BETTER, *_DISTINCT, "count", "median", "range", "list", "estdc",
                       "earliest_time", "latest_time"))


def _best_of(name: str, items: deque[tuple[Value, Number | None]]) -> Value:
    best = Best(_BETTER[name])
    for value, time in items:
        best.add(value, time)
    return best.result()


def _numbers(items: deque[tuple[Value, Number | None]]) -> list[Number]:
    return sorted(n for value, _ in items if (n := number(value)) is not None)


def _median(items: deque[tuple[Value, Number | None]], limits: Limits) -> Value:
    found = _numbers(items)
    check("perc distinct values", limits.perc_distinct, len(set(found)))
    if not found:
        return None
    low, high = found[(len(found) - 1) // 2], found[len(found) // 2]
    if low != high:
        raise Undocumented(f"median() of an even number of values, between {low} and {high}")
    return high


def _percentile(items: deque[tuple[Value, Number | None]], percent: Number, limits: Limits, exact: bool) -> Value:
    """Nearest rank (limits.conf: perc_method), exact below 1000 distinct values (a Splunk employee, Answers 106641)."""
    found = _numbers(items)
    if not exact:
        check("perc distinct values", limits.perc_distinct, len(set(found)))
    place = (Decimal(percent) * len(found) / 100).to_integral_value(ROUND_CEILING)
    return found[max(0, min(len(found) - 1, int(place) - 1))] if found else None


def _listed(items: deque[tuple[Value, Number | None]], limits: Limits) -> Value:
    check("list_maxsize", limits.list_maxsize, len(items))
    return multivalue(text(v) for v, _ in items)


def _estimated(counts: Counter[str], limits: Limits) -> int:
    if len(counts) > limits.approx_dc_threshold:
        raise SplunkLimit("approx_dc_threshold", limits.approx_dc_threshold, len(counts))
    return len(counts)


def _range(items: deque[tuple[Value, Number | None]]) -> Value:
    found = _numbers(items)
    return found[-1] - found[0] if found else None


def accumulator(aggregate: Aggregate, limits: Limits, *, windowed: bool = False) -> Accumulator:
    """A fresh accumulator. One for a window can forget values, and costs more."""
    name = aggregate.function
    if name == "count":
        return Count()
    if name in _DISTINCT or name == "estdc":
        return Distinct(_DISTINCT[name] if name != "estdc" else lambda c: _estimated(c, limits))
    if name in _MOMENTS:
        return Moments(_MOMENTS[name])
    if name in _BETTER and not windowed:
        return Best(_BETTER[name])
    if name in _BETTER:
        return Bag(lambda items: _best_of(name, items))
    if name in ("earliest_time", "latest_time"):
        pick = min if name == "earliest_time" else max
        return Bag(lambda items: pick(_time(t) for _, t in items))
    if name == "median":
        return Bag(lambda items: _median(items, limits))
    if name == "range":
        return Bag(_range)
    if name == "list":
        return Bag(lambda items: _listed(items, limits))
    percent = aggregate.percent
    assert percent is not None
    return Bag(lambda items: _percentile(items, percent, limits, name == "exactperc"))

"""Field values: how Splunk reads, compares and prints them.

A value is None, a text, a number (int or Decimal, so that microseconds stay exact; Splunk itself computes in
doubles: until 2038 those give the same sums and differences of times in microseconds and whole spans), or a list of
at least two texts and numbers (a multivalue field). Booleans exist only inside eval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from tests.engines.spl.errors import SplError, Undocumented

Value = Any
Number = int | Decimal
Row = dict[str, Value]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")


@lru_cache(maxsize=65536)
def _number_of(text: str) -> Number | None:
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if _INTEGER.fullmatch(text) else Decimal(text)


def number(value: Value) -> Number | None:
    """The value as a number, also when it is a text that looks like one; None if it does not."""
    if isinstance(value, str):
        return _number_of(value)
    return value if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def whole(value: Number) -> Number:
    """The number, as an int if it is one."""
    return int(value) if value == int(value) else value


def text(value: Value) -> str:
    """The value as a text. Numbers in plain notation without needless zeros."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def printed(value: Value) -> str:
    """The value as a text inside eval, where the digits of a fraction are not documented."""
    if isinstance(value, Decimal) and value != int(value):
        raise Undocumented(f"how eval prints the fraction {value} is not documented")
    return text(value)


def many(value: Value) -> list[Value]:
    """The values of a field: none, one or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def multivalue(values: Iterable[Value]) -> Value:
    """A field of these values: None if there are none, the value itself if there is one."""
    found = list(values)
    return None if not found else found[0] if len(found) == 1 else found


def _cell(name: str, value: Any) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"       # as JSON extraction gives it
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, datetime):
        return Decimal(int(value.timestamp())) + Decimal(value.microsecond) / 1_000_000
    if isinstance(value, list | tuple):
        return multivalue(_cell(name, v) for v in value if v is not None)
    if value is None or isinstance(value, str | int | Decimal):
        return value
    raise SplError(f"an event's {name} holds {type(value).__name__}, which Splunk has no value for")


def row_of(event: Mapping[str, Any]) -> Row:
    """An event as Splunk holds it: no nulls, booleans as texts, numbers exact, `_time` a number."""
    row = {name: cell for name, value in event.items() if (cell := _cell(name, value)) is not None}
    for name in ("_time", "_indextime"):
        if name in row:
            found = number(row[name])
            if found is None:
                raise SplError(f"{name} is no number: {event[name]!r}")
            row[name] = whole(round(Decimal(found), 6))      # events have microseconds
    return row


def single(value: Value, where: str) -> Value:
    """The value, which may not be multivalue: what operators do with several is not documented."""
    if isinstance(value, list):
        raise Undocumented(f"{where} has a multivalue operand")
    return value


def ordering(left: Value, right: Value) -> int:
    """-1, 0 or 1: as numbers if both look like numbers, else as texts by code point (the eval and where pages)."""
    a, b = number(left), number(right)
    if a is not None and b is not None:
        return (a > b) - (a < b)
    s, t = text(left), text(right)
    return (s > t) - (s < t)


@lru_cache(maxsize=65536)
def address(value: str) -> IPv4Address | IPv6Address | None:
    """The text as an address, or None. An IPv4-mapped IPv6 address stays IPv6."""
    try:
        return ip_address(value)
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def network(value: str) -> IPv4Network | IPv6Network | None:
    """The text as a network with a prefix length, or None. Host bits may be set, as Splunk takes them."""
    if "/" not in value:
        return None
    try:
        return ip_network(value, strict=False)
    except ValueError:
        return None


def within(value: Value, net: IPv4Network | IPv6Network) -> bool | None:
    """Whether the address is in the network; None if the value is no address."""
    found = address(text(value))
    if found is None:
        return None
    return found.version == net.version and (int(found) & int(net.netmask)) == int(net.network_address)


@lru_cache(maxsize=65536)
def wildcard(pattern: str, *, case: bool) -> re.Pattern[str]:
    """A pattern whose `*` stands for any run of characters."""
    parts = (re.escape(p) for p in pattern.split("*"))
    return re.compile(".*".join(parts), re.S if case else re.S | re.I)

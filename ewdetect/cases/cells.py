"""One cell of a test table → its values. Times are microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ewdetect.model import Field
from ewdetect.problems import suggest

TEST_DAY = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp()) * 1_000_000
MAX_FLOWS_PER_ROW = 100_000

_DAY = 86_400 * 1_000_000
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": _DAY}
_CLOCK = re.compile(r"(?:(\d{1,4})d )?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")
_STEP = re.compile(r"\+(\d{1,12})(us|ms|s|m|h|d)")
_REPEAT = re.compile(r"(\d{1,12})(us|ms|s|m|h|d) x (\d{1,6})")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]+)?")

_CLOCK_FIX = ("write `09:00`, `09:00:30.5`, `1d 02:00`; a step follows after one blank: `09:00 +60s` (us, ms, s, m, h, "
              "d), and a repetition last: `09:00 every 1d x 14`")


class BadCell(Exception):
    """A cell that cannot be read: what is wrong with it, and how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


@dataclass(frozen=True, slots=True)
class Clocks:
    """An `at` cell: flow n of the row starts at `starts[n % len(starts)] + n * step`, and all of it `times` times, each
    `period` after the one before."""

    starts: tuple[int, ...]
    step: int = 0
    period: int = 0
    times: int = 1

    def of(self, total: int) -> list[int]:
        """The times of a row of `total` flows, repetition by repetition. Raises BadCell where they are too many."""
        if total * self.times > MAX_FLOWS_PER_ROW:
            raise _too_many(total * self.times)
        return [self.starts[n % len(self.starts)] + n * self.step + again * self.period
                for again in range(self.times) for n in range(total)]


def read_values(text: str, field: Field) -> list[Any]:
    """All values that a cell spells: one value, `a..b`, `x,y`, or a list with ranges. Raises BadCell."""
    values: list[Any] = []
    for element in (part.strip() for part in text.split(",")):
        if not element:
            raise BadCell(f"`{text}` has an empty element", "remove the comma, or write `-` for null")
        low, dots, high = element.partition("..")
        values += _range(low, high, field) if dots else [None if element == "-" else read_value(element, field)]
        if len(values) > MAX_FLOWS_PER_ROW:
            raise _too_many(len(values))
    return values


def read_value(text: str, field: Field) -> Any:
    """One value in the field's type. Raises BadCell."""
    if field.values and text not in field.values:
        raise BadCell(f"`{text}` is not a value of {field.name}", suggest(text, field.values))
    return _READERS.get(field.type, str)(text)


def read_count(text: str) -> int:
    """The `count` column; `-` leaves it to the other cells. Raises BadCell."""
    if text == "-":
        return 1
    count = _integer(text)
    if count < 1:
        raise BadCell(f"`{text}` flows are none", "write 1 or more")
    if count > MAX_FLOWS_PER_ROW:
        raise _too_many(count)
    return count


def read_clocks(text: str) -> Clocks:
    """An `at` cell: clocks, or one clock and a step; then how often the whole row is repeated. Raises BadCell."""
    once, every, repeat = text.partition(" every ")
    clocks = _once(once)
    if not every:
        return clocks
    found = _REPEAT.fullmatch(repeat)
    if not found or not int(found[3]):
        raise BadCell(f"`every {repeat}` is no repetition", _CLOCK_FIX)
    return replace(clocks, period=int(found[1]) * _UNITS[found[2]], times=int(found[3]))


def _once(text: str) -> Clocks:
    clock, plus, step = text.partition(" +")
    starts = tuple(read_clock(part.strip()) for part in clock.split(","))
    if not plus:
        return Clocks(starts)
    found = _STEP.fullmatch("+" + step)
    if not found or len(starts) > 1:
        raise BadCell(f"`+{step}` is not a step after one clock", _CLOCK_FIX)
    return Clocks(starts, int(found[1]) * _UNITS[found[2]])


def read_clock(text: str) -> int:
    """`[Nd ]HH:MM[:SS[.ffffff]]` on the test day, or N days after it. Raises BadCell."""
    found = _CLOCK.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:4]) if found else (0, 99, 0, 0)
    if not found or hours > 23 or minutes > 59 or seconds > 59:
        raise BadCell(f"`{text}` is not a time", _CLOCK_FIX)
    fraction = int((found[5] or "").ljust(6, "0"))
    return TEST_DAY + days * _DAY + (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + fraction


def clock_text(time: int) -> str:
    """A time as test tables write it; the full date where it is before the test day (recordings)."""
    days, rest = divmod(time - TEST_DAY, _DAY)
    if not 0 <= days < 1000:
        return datetime.fromtimestamp(time / 1_000_000, UTC).isoformat(timespec="microseconds")
    seconds, fraction = divmod(rest, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction:06}" if fraction else "")
    return f"{days}d {text}" if days else text


def canonical_ip(text: str) -> str:
    """The one spelling of an address; IPv4 inside IPv6 becomes IPv4, as the engine compares it. Raises BadCell."""
    return str(_address(text))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise BadCell(f"`{text}` is not an IP address", "write IPv4 or IPv6, no prefix length") from error
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise BadCell(f"`{text}` has a scope id", "leave out the `%` and what follows")
        return address.ipv4_mapped or address
    return address


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise BadCell(f"`{text}` is not a whole number", "write digits only")
    return int(text)


def _number(text: str) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise BadCell(f"`{text}` is not a number", "write digits, with a point if needed")
    return float(text) if "." in text else int(text)


def _port(text: str) -> int:
    port = _integer(text)
    if not 0 <= port <= 65_535:
        raise BadCell(f"{text} is not a port", "write 0 to 65535, or `-` where there is none")
    return port


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise BadCell(f"`{text}` is neither true nor false", "write true or false")
    return text == "true"


_READERS: dict[str, Callable[[str], Any]] = {
    "ip": canonical_ip, "port": _port, "integer": _integer, "number": _number, "boolean": _boolean,
}


def _range(low: str, high: str, field: Field) -> Sequence[Any]:
    if field.type == "ip":
        return _addresses(low, high)
    if field.type not in ("port", "integer", "number"):
        raise BadCell(f"{field.name} is text, and text has no ranges", "list the values, or put the cell in quotes")
    first, last = read_value(low, field), read_value(high, field)
    if not (isinstance(first, int) and isinstance(last, int)):
        raise BadCell(f"`{low}..{high}` is not a range of whole numbers", "list the values")
    return range(first, first + _length(first, last, f"{low}..{high}"))


def _addresses(low: str, high: str) -> list[str]:
    first = _address(low)
    last = _address(high) if {".", ":"} & set(high) else _same_network(first, high)
    if first.version != last.version:
        raise BadCell(f"`{low}..{high}` goes from one address family to the other", "end it in the family it began")
    count = _length(int(first), int(last), f"{low}..{high}")
    return [str(first + n) for n in range(count)]


def _same_network(first: ipaddress.IPv4Address | ipaddress.IPv6Address,
                  end: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address whose last octet (IPv4, decimal) or last group (IPv6, hexadecimal) is `end`."""
    base, most, digits = (10, 0xFF, r"[0-9]{1,3}") if first.version == 4 else (16, 0xFFFF, r"[0-9a-fA-F]{1,4}")
    if not re.fullmatch(digits, end) or int(end, base) > most:
        raise BadCell(f"`{end}` cannot end an address", "write the last octet or group, or the whole address")
    return first + (int(end, base) - (int(first) & most))


def _length(first: int, last: int, text: str) -> int:
    if last < first:
        raise BadCell(f"`{text}` runs backwards", "write the smaller end first")
    if last - first >= MAX_FLOWS_PER_ROW:
        raise _too_many(last - first + 1)
    return last - first + 1


def _too_many(count: int) -> BadCell:
    return BadCell(f"{count} flows in one row", f"at most {MAX_FLOWS_PER_ROW}; use a baseline or a recording")

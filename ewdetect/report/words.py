"""Small pieces of text that several reports share: times, counts, hosts, and text from outside made safe to print."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """Microseconds since 1970 as ISO 8601 UTC, always with six decimals so that text sorts as time does."""
    return (_EPOCH + timedelta(microseconds=time)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day(time: int) -> str:
    """The date."""
    return iso(time)[:10]


def clock(time: int) -> str:
    """The time of day, in seconds."""
    return iso(time)[11:19]


def moment(time: int) -> str:
    """Day and time of day."""
    return f"{day(time)} {clock(time)}"


def length(microseconds: int) -> str:
    """A duration such as `2h 5m`: the two largest units."""
    seconds = round(microseconds / 1_000_000)
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    shown = [f"{number}{unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0s"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 flow`, `2,000 flows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def safe(value: Any) -> str:
    """Text from flows and files as one line without control characters, which could drive the reader's terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))


def host(address: str, context: Mapping[str, Mapping[str, Any]]) -> str:
    """An address with the name, zone and role that the network gives it."""
    known = context.get(address, {})
    if not known.get("known"):
        return f"{safe(address)} (not in the network file)"
    name = f" {safe(known['name'])}" if "name" in known else ""
    return f"{safe(address)}{name} ({safe(known.get('zone', 'unknown'))}, {safe(known.get('role', 'unknown'))})"

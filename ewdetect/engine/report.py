"""What became of every record that was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ewdetect.engine.read import Place

DAMAGE: Mapping[str, str] = MappingProxyType({
    "unreadable": "no flow record can be read from the line",
    "ragged": "the line has not as many columns as `#fields` names",
    "no-time": "no start time",
    "bad-time": "the start time cannot be read, or lies outside 1970 to 2100",
    "no-address": "source or destination address is missing",
    "bad-address": "source or destination is no IP address",
    "bad-port": "a port is no number from 0 to 65535",
    "duplicate": "the same record again",
    "truncated": "the compressed file breaks off; what came before was read",
    "other-log": "the file holds another kind of log",
})


@dataclass(frozen=True, slots=True)
class ReadReport:
    """read = kept + passed + all of dropped. Times are microseconds since 1970 UTC, None without flows.

    `passed` are records of another kind in the same file, such as EVE alerts. `repaired` counts flows that were kept
    after something was mended: `reversed` (initiator and responder turned round), `number` (a counter that cannot be
    true was made missing).
    """

    files: tuple[str, ...]
    read: int
    kept: int
    passed: int
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    places: tuple[Place, ...]
    first: int | None
    last: int | None

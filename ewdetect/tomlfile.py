"""TOML in, plain data out, with a position for every key. The only module that knows TOML."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

from ewdetect.problems import Location, Problem, Rejected
from ewdetect.yamlfile import Document, Path_, read_text

_HEADER = re.compile(r"\s*\[{1,2}(?P<name>[^\[\]]+)\]")
_KEY = re.compile(r"\s*(?P<name>[A-Za-z0-9_\-.\"' ]+?)\s*=")
_PLACE = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)")


def read_toml(path: Path | str) -> Document:
    """A TOML file. Raises Rejected for bad TOML, WorldFailed for an unreadable file."""
    return parse_toml(read_text(path, "toml/not-utf8"), str(path))


def parse_toml(text: str, path: str) -> Document:
    """A TOML text; `path` names it in problems. Dates and times stay text, and `nan` and `inf`, which are no number
    that could be meant."""
    try:
        data = tomllib.loads(text, parse_float=_finite)
    except tomllib.TOMLDecodeError as error:
        raise Rejected([_syntax_problem(str(error), text, path)]) from error
    keys: dict[Path_, Location] = {}
    for key, line, column in _keys(text):
        for length in range(1, len(key) + 1):           # a header brings the tables above it into being
            keys.setdefault(key[:length], Location(path, line, column))
    return Document(path, _plain(data), keys, {})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _keys(text: str) -> Iterator[tuple[Path_, int, int]]:
    """Each key that begins a line, with line and column. Keys inside a value are not looked for: a problem there is
    shown at the key before them."""
    table: Path_ = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _dotted(f"[{header['name']}]")
            yield table, number, header.start("name") + 1
        elif key := _KEY.match(line):
            yield (*table, *_dotted(f"{key['name']} = 0")), number, key.start("name") + 1


def _dotted(line: str) -> Path_:
    """The path of a header or a key, read by the parser itself; empty for what only looks like one."""
    try:
        data = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(data, dict) and data:
        name, data = next(iter(data.items()))
        path.append(name)
    return tuple(path)


def _syntax_problem(message: str, text: str, path: str) -> Problem:
    """The place stands in the parser's message, as text; the end of the document is its last line."""
    place = _PLACE.search(message)
    line, column = (place[1], place[2]) if place and place[1] else (len(text.splitlines()) or 1, 1)
    where = Location(path, int(line), int(column))
    return Problem("toml/syntax", f"not TOML: {_PLACE.sub('', message)}", where,
                   "check quotes, brackets and `key = value`")

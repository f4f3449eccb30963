"""Edits of plain data: a document → the same document with one thing changed. Nothing is changed in place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.yamlfile import Path_

Body = Mapping[str, Any]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([1-9][0-9]*)([smhdw])")
_SIDES = {"source.": "destination.", "destination.": "source."}


@dataclass(frozen=True, slots=True)
class Edit:
    """`what` was changed at `path` of the document, which then reads `body`."""

    what: str
    path: Path_
    body: Body


def with_value(data: Any, path: Path_, value: Any) -> Any:
    """The data with `value` at `path`."""
    if not path:
        return value
    changed = list(data) if isinstance(data, list) else dict(data)
    changed[path[0]] = with_value(changed[path[0]], path[1:], value)    # type: ignore[index]
    return changed


def without_value(data: Any, path: Path_) -> Any:
    """The data without what stands at `path`."""
    parent = at_path(data, path[:-1])
    left = [item for n, item in enumerate(parent) if n != path[-1]] if isinstance(parent, list) \
        else {key: value for key, value in parent.items() if key != path[-1]}
    return with_value(data, path[:-1], left)


def at_path(data: Any, path: Path_) -> Any:
    """What stands at `path`."""
    for key in path:
        data = data[key]
    return data


def drop_each(body: Body, path: Path_) -> Iterator[Edit]:
    """One edit for each entry of the list at `path`."""
    for n, entry in enumerate(at_path(body, path)):
        shown = f"entry {n + 1}" if isinstance(entry, dict | list) else f"`{entry}`"
        yield Edit(f"drop {shown} of `{path[-1]}`", (*path, n), without_value(body, (*path, n)))


def other_sides(body: Body, path: Path_) -> Iterator[Edit]:
    """The sides of each field of a list swapped. Where the other side is in the list too, the list would say
    it twice, which is dropping it."""
    fields = at_path(body, path) if path[-1] in at_path(body, path[:-1]) else []
    for n, field in enumerate(fields):
        if swapped(field) not in fields:
            changed = with_value(body, (*path, n), swapped(field))
            yield Edit(f"swap sides of `{field}` in `{path[-1]}`", (*path, n), changed)


def moved(body: Body, path: Path_, name: str, bound: float) -> Iterator[Edit]:
    """A bound one higher and one lower; one in a hundred where it is no whole number."""
    step = 1 if isinstance(bound, int) else abs(bound) / 100
    for changed in (bound - step, bound + step):
        yield Edit(f"`{name}` {bound} → {changed}", path, with_value(body, path, changed))


def renamed(items: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The items under other keys, in their order."""
    return {names.get(key, key): value for key, value in items.items()}


def swapped(field: str) -> str:
    """The same field of the other side; a field without sides as it is."""
    return next((there + field.removeprefix(here) for here, there in _SIDES.items() if field.startswith(here)), field)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def seconds_of(duration: str) -> int:
    """A duration such as `10m` in seconds. Raises ValueError."""
    found = _DURATION.fullmatch(duration)
    if not found:
        raise ValueError(f"`{duration}` is no duration")
    return int(found[1]) * _UNITS[found[2]]


def moved_span(body: Body, path: Path_, span: str) -> Iterator[Edit]:
    """A span one second shorter and one longer."""
    length = seconds_of(span)
    for changed in (length - 1, length + 1):
        if changed > 0:
            yield Edit(f"`{path[-1]}` {span} → {changed}s", path, with_value(body, path, f"{changed}s"))

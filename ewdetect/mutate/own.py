"""Edits of a document of a type of our own. Those that contradict the rest of the document are left out on loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.mutate.plain import (
    Body,
    Edit,
    at_path,
    drop_each,
    moved,
    moved_span,
    other_sides,
    seconds_of,
    swapped,
    with_value,
    without_value,
)
from ewdetect.yamlfile import Path_


def own_edits(body: Body, alerts: bool) -> Iterator[Edit]:
    """Every edit of what decides. `alerts`: whether it alerts by itself; `fresh` then says nothing."""
    says = body["ewdetect"]
    for key in ("fields", "group-by"):
        if key in says:
            yield from _list(body, ("ewdetect", key))
    for key in ("field", "size"):
        path = ("ewdetect", key)
        if key in says and swapped(says[key]) != says[key]:
            yield Edit(f"swap sides of `{key}: {says[key]}`", path, with_value(body, path, swapped(says[key])))
    yield from {"first_seen": _first_seen, "deviation": _deviation, "beacon": _beacon}[says["type"]](body, says)
    if "fresh" in says and not alerts:
        yield from _optional_span(body, ("ewdetect", "fresh"))


def _list(body: Body, path: Path_) -> Iterator[Edit]:
    """Each field dropped, and each of the other side. A document without any field would be another kind of rule."""
    if len(at_path(body, path)) > 1:
        yield from drop_each(body, path)
    yield from other_sides(body, path)


def _optional_span(body: Body, path: Path_) -> Iterator[Edit]:
    yield Edit(f"drop `{path[-1]}`", path, without_value(body, path))
    yield from moved_span(body, path, at_path(body, path))


def _first_seen(body: Body, says: Mapping[str, Any]) -> Iterator[Edit]:
    yield from moved_span(body, ("ewdetect", "history"), says["history"])
    if "warm-up" in says:
        yield from _optional_span(body, ("ewdetect", "warm-up"))
    else:
        explicit = with_value(body, ("ewdetect",), {**says, "warm-up": says["history"]})
        yield from moved_span(explicit, ("ewdetect", "warm-up"), says["history"])
    if "aged" in says:
        yield Edit("drop `aged`", ("ewdetect", "aged"), without_value(body, ("ewdetect", "aged")))
        yield from moved_span(body, ("ewdetect", "aged", "for"), says["aged"]["for"])
        yield from _list(body, ("ewdetect", "aged", "fields"))


def _deviation(body: Body, says: Mapping[str, Any]) -> Iterator[Edit]:
    """A bucket is halved and doubled and a history is moved by a season, since they must fit each other."""
    step = seconds_of(says.get("season", says["bucket"]))
    for key, lengths in (("bucket", _half_and_double(says["bucket"])),
                         ("history", (seconds_of(says["history"]) - step, seconds_of(says["history"]) + step))):
        for length in lengths:
            if length > 0:
                path: Path_ = ("ewdetect", key)
                yield Edit(f"`{key}` {says[key]} → {length}s", path, with_value(body, path, f"{length}s"))
    if "season" in says:
        yield Edit("drop `season`", ("ewdetect", "season"), without_value(body, ("ewdetect", "season")))
    if says["minimum"] > 3:
        yield from moved(body, ("ewdetect", "minimum"), "minimum", says["minimum"])
    side = "above" if "above" in says else "below"
    for key, bound in says[side].items():
        yield from moved(body, ("ewdetect", side, key), key, bound)
    if "others" in says[side]:
        others: Path_ = ("ewdetect", side, "others")
        yield Edit("drop `others`", others, without_value(body, others))


def _half_and_double(span: str) -> tuple[int, int]:
    return seconds_of(span) // 2, seconds_of(span) * 2


def _beacon(body: Body, says: Mapping[str, Any]) -> Iterator[Edit]:
    for key in ("timespan", "lasting"):
        yield from moved_span(body, ("ewdetect", key), says[key])
    for key in ("minimum", "maximum", "score"):
        if key in says:
            yield from moved(body, ("ewdetect", key), key, says[key])
    if "maximum" in says:
        yield Edit("drop `maximum`", ("ewdetect", "maximum"), without_value(body, ("ewdetect", "maximum")))

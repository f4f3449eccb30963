"""One document of a rule → the same document with one thing changed, over and over.

An edit that cannot change what the document means is not made; each place says why. What remains must be
noticed by some case, or the rule says something that nothing proves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.mutate.condition import Name, Of, parse, reworded, without
from ewdetect.mutate.own import own_edits
from ewdetect.mutate.plain import (
    Body,
    Edit,
    drop_each,
    is_number,
    moved,
    other_sides,
    renamed,
    seconds_of,
    swapped,
    with_value,
    without_value,
)
from ewdetect.yamlfile import Path_

_STRICTNESS = {"gt": "gte", "gte": "gt", "lt": "lte", "lte": "lt"}
_THRESHOLDS = (*_STRICTNESS, "eq", "neq")
_WHOLE = ("event_count", "value_count", "temporal")     # their measure is a whole number


def edits(body: Body, alerts: bool) -> Iterator[Edit]:
    """Every edit of a document. `alerts`: whether it alerts by itself; only then its `suppress` means anything."""
    if "detection" in body:
        yield from _detection(body)
    if "correlation" in body:
        yield from _correlation(body)
    meta = body.get("ewdetect") or {}
    if "type" in meta:
        yield from own_edits(body, alerts)
    if alerts and "suppress" in meta:
        yield from _suppress(body)
    if "distinct" in meta:
        yield Edit("drop `distinct`", ("ewdetect", "distinct"), without_value(body, ("ewdetect", "distinct")))
        if len(meta["distinct"]) > 1:       # dropping the only one is dropping `distinct`
            yield from drop_each(body, ("ewdetect", "distinct"))


# ── Selections ──────────────────────────────────────────────────────────────────────────────────────────────

def _detection(body: Body) -> Iterator[Edit]:
    yield from _conditions(body)
    for name, selection in body["detection"].items():
        if name == "condition":
            continue
        if isinstance(selection, list) and len(selection) > 1:
            yield from drop_each(body, ("detection", name))
        for path, items in _maps(("detection", name), selection):
            for key, value in items.items():
                yield from _item(body, path, items, key, value)


def _conditions(body: Body) -> Iterator[Edit]:
    detection = body["detection"]
    names = [name for name in detection if name != "condition"]
    tree = parse(detection["condition"])
    for name in names:
        rest = [other for other in names if other != name]
        left = without(tree, lambda term, name=name, rest=rest: _gone(term, name, rest))    # type: ignore[misc]
        if left is not None:        # a rule needs something to match
            selections = {other: detection[other] for other in rest} | {"condition": str(left)}
            yield Edit(f"drop `{name}`", ("detection", name), {**body, "detection": selections})
    for what, changed in reworded(tree, names):
        path = ("detection", "condition")
        yield Edit(what, path, with_value(body, path, str(changed)))


def _gone(term: Name | Of, name: str, rest: list[str]) -> bool:
    """Whether a term has nothing to stand for once `name` is gone and `rest` is left."""
    return term.name == name if isinstance(term, Name) else not term.members(rest)


def _maps(path: Path_, selection: Any) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    if isinstance(selection, dict):
        yield path, selection
    elif isinstance(selection, list):
        yield from (((*path, n), item) for n, item in enumerate(selection) if isinstance(item, dict))


def _item(body: Body, path: Path_, items: Mapping[str, Any], key: str, value: Any) -> Iterator[Edit]:
    here = (*path, key)
    if len(items) > 1:      # dropping the last item is dropping the selection, or the map from its list
        yield Edit(f"drop `{key}`", here, without_value(body, here))
    if isinstance(value, list) and len(value) > 1:
        yield from drop_each(body, here)
    yield from _other_operator(body, path, items, key)
    yield from _other_side(body, path, items, key)
    if is_number(value) and set(key.split("|")[1:]) & set(_STRICTNESS):
        yield from moved(body, here, key, value)


def _other_operator(body: Body, path: Path_, items: Mapping[str, Any], key: str) -> Iterator[Edit]:
    field, *modifiers = key.split("|")
    changed = "|".join([field, *(_STRICTNESS.get(modifier, modifier) for modifier in modifiers)])
    if changed not in (key, *items):
        yield Edit(f"`{key}` → `{changed}`", (*path, key), with_value(body, path, renamed(items, {key: changed})))


def _other_side(body: Body, path: Path_, items: Mapping[str, Any], key: str) -> Iterator[Edit]:
    """Where both sides stand in the map with the same modifiers, they change places; if their values are
    equal, nothing changes, and no edit is made."""
    other = swapped(key)
    changed = renamed(items, {key: other, other: key})
    if changed != items:
        yield Edit(f"swap sides of `{key}`", (*path, key), with_value(body, path, changed))


# ── Correlations ────────────────────────────────────────────────────────────────────────────────────────────

def _correlation(body: Body) -> Iterator[Edit]:
    correlation = body["correlation"]
    yield from _threshold(body, correlation)
    yield from _window(body, correlation["timespan"])
    yield from _group_by(body, correlation)
    yield from _rules(body, correlation)
    for alias in correlation.get("aliases") or {}:
        yield from _alias(body, correlation, alias)


def _threshold(body: Body, correlation: Body) -> Iterator[Edit]:
    condition, path = correlation.get("condition") or {}, ("correlation", "condition")
    for operator in [key for key in condition if key in _THRESHOLDS]:
        if correlation["type"] not in _WHOLE:       # on whole numbers `gt n` is `gte n+1`, which is there anyway
            yield from _other_strictness(body, path, condition, operator)
        for edit in moved(body, (*path, operator), operator, condition[operator]):
            if correlation["type"] != "event_count" or not _always(edit.body["correlation"]["condition"]):
                yield edit
    if swapped(field := str(condition.get("field", ""))) != field:
        other_field = with_value(body, (*path, "field"), swapped(field))
        yield Edit(f"swap sides of `field: {field}`", (*path, "field"), other_field)


def _always(condition: Body) -> bool:
    """Whether every event reaches the threshold: there is no group of fewer than one event, so that
    `gte: 0` means `gte: 1`."""
    return bool(condition.get("gte", 1) <= 0 or condition.get("gt", 0) < 0)


def _other_strictness(body: Body, path: Path_, condition: Body, operator: str) -> Iterator[Edit]:
    if changed := _STRICTNESS.get(operator):
        new = with_value(body, path, renamed(condition, {operator: changed}))
        yield Edit(f"threshold {operator} → {changed}", (*path, operator), new)


def _window(body: Body, timespan: str) -> Iterator[Edit]:
    path, length = ("correlation", "timespan"), seconds_of(timespan)
    for changed in (length - 1, length + 1):
        if changed > 0:
            yield Edit(f"window {timespan} → {changed}s", path, with_value(body, path, f"{changed}s"))


def _group_by(body: Body, correlation: Body) -> Iterator[Edit]:
    path, fields = ("correlation", "group-by"), correlation.get("group-by") or []
    if len(fields) == 1:
        yield Edit(f"drop `group-by: {fields[0]}`", path, without_value(body, path))
    elif fields:
        yield from drop_each(body, path)
    yield from other_sides(body, path)


def _rules(body: Body, correlation: Body) -> Iterator[Edit]:
    path, rules, kind = ("correlation", "rules"), correlation["rules"], correlation["type"]
    if kind == "temporal_ordered":
        yield Edit("reverse the order of the rules", path, with_value(body, path, rules[::-1]))
        yield Edit("let the rules come in any order", ("correlation", "type"),
                   with_value(body, ("correlation", "type"), "temporal"))
    if len(rules) > (2 if kind == "temporal_ordered" else 1):
        for n, rule in enumerate(rules):
            left = {alias: {name: field for name, field in fields.items() if name != rule}
                    for alias, fields in (correlation.get("aliases") or {}).items()}
            fewer = {**correlation, "rules": [*rules[:n], *rules[n + 1:]], "aliases": left}
            yield Edit(f"drop the rule `{rule}`", (*path, n), with_value(body, ("correlation",), fewer))


def _alias(body: Body, correlation: Body, alias: str) -> Iterator[Edit]:
    used = [*(correlation.get("group-by") or []), (correlation.get("condition") or {}).get("field"),
            *((body.get("ewdetect") or {}).get("distinct") or [])]
    for rule, field in correlation["aliases"][alias].items() if alias in used else ():    # unused: means nothing
        path = ("correlation", "aliases", alias, rule)
        if swapped(field) != field:
            yield Edit(f"swap sides of `{field}` in alias `{alias}`", path, with_value(body, path, swapped(field)))


# ── Our own block ───────────────────────────────────────────────────────────────────────────────────────────

def _suppress(body: Body) -> Iterator[Edit]:
    path, suppress = ("ewdetect", "suppress"), body["ewdetect"]["suppress"]
    yield Edit("drop `suppress`", path, without_value(body, path))
    if len(suppress["by"]) > 1:     # without any key it would be another kind of rule
        yield from drop_each(body, (*path, "by"))
    yield from other_sides(body, (*path, "by"))
    length = seconds_of(suppress["for"])
    for changed in (length // 2, length * 2):
        if changed > 0:
            new = with_value(body, (*path, "for"), f"{changed}s")
            yield Edit(f"suppress for {suppress['for']} → {changed}s", (*path, "for"), new)

"""What the selections of an event rule or a filter say: fields, modifiers and values that can match a flow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

from ewdetect.model import Field, Kind, Rule
from ewdetect.problems import Problem, suggest
from ewdetect.yamlfile import Path_

ALL_TYPES = frozenset({"ip", "port", "integer", "number", "string", "token", "boolean", "time"})
_TEXT = frozenset({"string", "token"})
_ORDERED = frozenset({"port", "integer", "number", "time"})

# The modifiers of Sigma 2.1 (modifiers appendix), and the types of fields on which each can mean something.
MODIFIERS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("all", "neq", "exists", "fieldref"), ALL_TYPES),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _ORDERED),
    **dict.fromkeys(("contains", "startswith", "endswith", "re", "i", "m", "s", "ignorecase", "multiline", "dotall"),
                    _TEXT),
    "cidr": frozenset({"ip"}),
}
# Sigma has these too, and on a flow they could only mislead.
_UNSUPPORTED: Mapping[str, str] = {
    "cased": "the strings of a flow are lower case, so case tells nothing",
    **dict.fromkeys(("minute", "hour", "day", "week", "month", "year"), "no query language says it alike"),
    **dict.fromkeys(("base64", "base64offset", "wide", "utf16", "utf16be", "windash"), "a flow has no command lines"),
    "expand": "the network context takes the place of placeholders",
}
# With these the value is part of a word, so a closed vocabulary says nothing about it.
_PARTIAL = frozenset({"contains", "startswith", "endswith", "re"})

_OPERATORS = ("and", "or", "not")
_NOT_SELECTIONS = ("condition", "rules")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a selection: `field|modifiers: values`, and where it stands in the document."""

    field: str
    modifiers: tuple[str, ...]
    values: tuple[tuple[Any, Path_], ...]
    path: Path_


@dataclass(frozen=True, slots=True)
class Flaw:
    """A problem that does not know its place yet."""

    code: str
    message: str
    fix: str


def items(rule: Rule) -> Iterator[Item]:
    """Every line of every selection of an event rule or a filter; nothing for other rules."""
    for name, selection in selections(rule).items():
        path: Path_ = (_block(rule), name)
        parts = enumerate(selection) if isinstance(selection, list) else [(None, selection)]
        for index, part in parts:
            yield from _lines(part, path if index is None else (*path, index))


def selections(rule: Rule) -> Mapping[str, Any]:
    """The named selections of an event rule or a filter."""
    block = rule.body.get(_block(rule)) or {}
    return {name: part for name, part in block.items() if name not in _NOT_SELECTIONS}


def detection_problems(rule: Rule, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """What keeps the selections and the condition of an event rule or a filter from meaning what they say."""
    for item in items(rule):
        yield from _item_problems(item, rule, fields)
    if not rule.derived:
        yield from _condition_problems(rule)


def _block(rule: Rule) -> str:
    return "filter" if rule.kind is Kind.FILTER else "detection"


def _lines(part: Mapping[str, Any], path: Path_) -> Iterator[Item]:
    for key, value in part.items():
        name, *modifiers = key.split("|")
        here: Path_ = (*path, key)
        values = tuple((v, (*here, i)) for i, v in enumerate(value)) if isinstance(value, list) else ((value, here),)
        yield Item(name, tuple(modifiers), values, here)


def _item_problems(item: Item, rule: Rule, fields: Mapping[str, Field]) -> Iterator[Problem]:
    if flaw := _key_flaw(item, fields):
        yield _placed(flaw, rule, item.path)
        return
    for value, path in item.values:
        if flaw := _value_flaw(fields[item.field], item.modifiers, value, fields):
            yield _placed(flaw, rule, path)


def _placed(flaw: Flaw, rule: Rule, path: Path_) -> Problem:
    return Problem(flaw.code, flaw.message, rule.document.at(*path), flaw.fix)


def _key_flaw(item: Item, fields: Mapping[str, Field]) -> Flaw | None:
    if item.field not in fields:
        return Flaw("rule/unknown-field", f"`{item.field}` is not a field of a flow", suggest(item.field, list(fields)))
    kind = fields[item.field].type
    for modifier in item.modifiers:
        if modifier in _UNSUPPORTED:
            return Flaw("rule/unsupported-modifier", f"`{modifier}` is not for flows: {_UNSUPPORTED[modifier]}",
                        "leave the modifier out")
        if modifier not in MODIFIERS:
            return Flaw("rule/unknown-modifier", f"`{modifier}` is not a modifier of Sigma",
                        suggest(modifier, list(MODIFIERS)))
        if kind not in MODIFIERS[modifier]:
            usable = ", ".join(sorted(name for name, types in MODIFIERS.items() if kind in types))
            return Flaw("rule/bad-value-type", f"`{item.field}` holds {_a(kind)}, for which `{modifier}` means nothing",
                        f"use the plain value, or one of: {usable}")
    return None


def _value_flaw(field: Field, modifiers: tuple[str, ...], value: Any, fields: Mapping[str, Field]) -> Flaw | None:
    if "exists" in modifiers:
        return None if isinstance(value, bool) else _wrong_type(f"{field.name}|exists", value, "true or false")
    if "fieldref" in modifiers:
        return _reference_flaw(field, value, fields)
    if value is None:
        return None
    if field.type == "ip":
        return _cidr_flaw(field, value) if "cidr" in modifiers else _address_flaw(field, value)
    if field.type in _TEXT:
        return _text_flaw(field, modifiers, value)
    if field.type == "boolean":
        return None if isinstance(value, bool) else _wrong_type(field.name, value, "true or false")
    return _number_flaw(field, value)


def _reference_flaw(field: Field, value: Any, fields: Mapping[str, Field]) -> Flaw | None:
    other = fields.get(str(value))
    if other is None:
        return Flaw("rule/unknown-field", f"`{value}` is not a field of a flow", suggest(str(value), list(fields)))
    if other.type != field.type:
        return Flaw("rule/bad-value-type", f"`{field.name}` holds {_a(field.type)}, `{other.name}` {_a(other.type)}",
                    "compare fields of one type")
    return None


def _address_flaw(field: Field, value: Any) -> Flaw | None:
    if not isinstance(value, str) or any(c in value for c in "*?/"):
        return _wrong_type(field.name, value, "one address; networks are written with `|cidr`")
    try:
        ip_address(value)
    except ValueError:
        return Flaw("rule/bad-address", f"`{value}` is not an IP address", "write an IPv4 or IPv6 address")
    return None


def _cidr_flaw(field: Field, value: Any) -> Flaw | None:
    if not isinstance(value, str):
        return _wrong_type(field.name, value, "a network such as 10.0.0.0/8")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return Flaw("rule/bad-cidr", f"`{value}` is not a network", "write address/length, such as 10.0.0.0/8")
    if str(network.network_address) != str(ip_address(value.partition("/")[0])):
        return Flaw("rule/bad-cidr", f"`{value}` has bits set to the right of its prefix", f"write {network}")
    return None


def _text_flaw(field: Field, modifiers: tuple[str, ...], value: Any) -> Flaw | None:
    if not isinstance(value, str):
        return _wrong_type(field.name, value, f'text in quotes, such as "{value}"')
    if not field.values or _PARTIAL & set(modifiers):
        return None
    if any(fnmatchcase(word, value.lower()) for word in field.values):
        return None
    return Flaw("rule/unknown-value", f"`{field.name}` is never `{value}`", suggest(value.lower(), field.values))


def _number_flaw(field: Field, value: Any) -> Flaw | None:
    wanted = int | float if field.type == "number" else int
    if isinstance(value, bool) or not isinstance(value, wanted):
        plain = isinstance(value, str) and value.isdigit()
        return _wrong_type(field.name, value, f"{value} without quotes" if plain else _a(field.type))
    if field.type == "port" and not 0 <= value <= 65535:
        return Flaw("rule/bad-port", f"{value} is not a port", "ports are 0 to 65535")
    return None


def _wrong_type(name: str, value: Any, wanted: str) -> Flaw:
    shown = str(value).lower() if isinstance(value, bool) else value
    return Flaw("rule/bad-value-type", f"`{name}` cannot be `{shown}`", f"write {wanted}")


def _a(kind: str) -> str:
    words = {"ip": "an address", "integer": "a whole number", "boolean": "true or false"}
    return "text" if kind in _TEXT else words.get(kind, f"a {kind}")


def _condition_problems(rule: Rule) -> Iterator[Problem]:
    """Names in the condition that are no selection, and selections that the condition leaves out.

    pySigma 1.5 drops `not 1 of filter_*` in silence where no selection has such a name, and reads a selection
    `notwanted` as `not wanted` where there is one called `wanted`.
    """
    names = list(selections(rule))
    place = rule.document.at(_block(rule), "condition")
    used: set[str] = set()
    for word in _words(rule.body[_block(rule)]["condition"]):
        found = [n for n in names if fnmatchcase(n, word)] if word != "them" else [n for n in names if n[0] != "_"]
        used.update(found)
        if not found:
            yield Problem("rule/unknown-selection", f"the condition names `{word}`, which is no selection", place,
                          suggest(word, names))
    for name in names:
        if name not in used:
            yield Problem("rule/unused-selection", f"the condition does not use `{name}`",
                          rule.document.at(_block(rule), name), "name it in the condition, or remove it")
        if any(name.startswith(op) and name.removeprefix(op) in names for op in _OPERATORS):
            yield Problem("rule/ambiguous-selection", f"`{name}` reads like an operator and another selection",
                          rule.document.at(_block(rule), name), "rename it")


def _words(condition: str) -> list[str]:
    """The selection names and patterns of a condition."""
    plain = re.sub(r"\b(1|any|all)\s+of\s+", "", condition)
    return [word for word in re.findall(r"[^\s()]+", plain) if word.lower() not in _OPERATORS]

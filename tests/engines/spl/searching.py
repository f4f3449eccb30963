"""Predicates of `search`, and of WHERE in `tstats`, as functions of a row.

From the pages `search`, "Difference between != and NOT" and "Boolean expressions": values ignore case, `*` is a
wildcard also inside quotes, a comparison on a missing field is false and its NOT true, `field!=value` needs the field,
and a value with a prefix length matches the addresses of that network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.engines.spl.errors import Undocumented
from tests.engines.spl.nodes import Compare, Every, Everything, Not, Predicate, Some
from tests.engines.spl.values import Row, Value, many, network, number, text, wildcard, within

Test = Callable[[Row], bool | None]
One = Callable[[Value], bool | None]

_ORDER: Mapping[str, Callable[[int], bool]] = MappingProxyType({
    "<": lambda o: o < 0, "<=": lambda o: o <= 0, ">": lambda o: o > 0, ">=": lambda o: o >= 0})


def predicate_test(predicate: Predicate, *, loose_cidr: bool = False) -> Test:
    """The predicate as a test of a row. A row passes unless the result is false.

    With `loose_cidr`, as in `tstats`, a network against a value that is no address is None: Splunk may let it through
    (the tstats page), so a search may not rest on either answer.
    """
    if isinstance(predicate, Everything):
        return lambda row: True
    if isinstance(predicate, Compare):
        return _compare(predicate, loose_cidr)
    if isinstance(predicate, Not):
        inner = predicate_test(predicate.part, loose_cidr=loose_cidr)
        return lambda row: None if (v := inner(row)) is None else not v
    return _joined(predicate, loose_cidr)


def _joined(predicate: Every | Some, loose_cidr: bool) -> Test:
    parts = [predicate_test(p, loose_cidr=loose_cidr) for p in predicate.parts]
    decides = isinstance(predicate, Some)

    def joined(row: Row) -> bool | None:
        result: bool | None = not decides
        for part in parts:
            value = part(row)
            if value is decides:
                return decides
            if value is None:
                result = None
        return result
    return joined


def _compare(node: Compare, loose_cidr: bool) -> Test:
    name = node.field
    if node.operator == "!=":
        equal = _equal(node.value, loose_cidr)
        return lambda row: _differs(name, [equal(v) for v in many(row.get(name))])
    one = _equal(node.value, loose_cidr) if node.operator == "=" else _order(node)

    def any_value(row: Row) -> bool | None:
        value = row.get(name)
        if not isinstance(value, list):
            return False if value is None else one(value)
        found = [one(v) for v in value]
        return True if True in found else None if None in found else False
    return any_value


def _differs(name: str, equal: list[bool | None]) -> bool | None:
    if True in equal and False in equal:
        raise Undocumented(f"{name}!=… on a multivalue field of which only some values differ")
    return False if not equal or True in equal else None if None in equal else True


def _equal(wanted: str, loose_cidr: bool) -> One:
    if "*" in wanted:
        found = wildcard(wanted, case=False)
        return lambda value: found.fullmatch(text(value)) is not None
    net = network(wanted)
    if net is not None:
        return lambda value: inside if (inside := within(value, net)) is not None else None if loose_cidr else (
            text(value).lower() == wanted.lower())
    folded, as_number = wanted.lower(), number(wanted)
    return lambda value: text(value).lower() == folded or (as_number is not None and number(value) == as_number)


def _order(node: Compare) -> One:
    holds, wanted = _ORDER[node.operator], number(node.value)

    def compare(value: Value) -> bool:
        found = number(value)
        if (found is None) != (wanted is None):
            raise Undocumented(f"{node.field}{node.operator}{node.value} on {value!r}: a number against a text")
        if found is not None and wanted is not None:
            return holds((found > wanted) - (found < wanted))
        a, b = text(value).lower(), node.value.lower()
        return holds((a > b) - (a < b))
    return compare

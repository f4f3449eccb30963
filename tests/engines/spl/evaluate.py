"""Expressions of `eval` and `where` as functions of a row.

Nulls: a comparison, an operator or a function with a null operand is null; AND and OR follow Kleene; a row passes
`where` and a branch of `if` and `case` is taken only for true (pages `where`, "Comparison and Conditional functions").
The documentation does not say what NOT of null is: both readings are computed, and where they differ it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from tests.engines.spl.errors import SplError, Undocumented
from tests.engines.spl.functions import apply
from tests.engines.spl.nodes import Binary, Call, Expr, FieldRef, Literal, Unary
from tests.engines.spl.parse_eval import COMPARISONS
from tests.engines.spl.parse_search import SearchParser
from tests.engines.spl.scan import Scanner
from tests.engines.spl.searching import predicate_test
from tests.engines.spl.times import relative
from tests.engines.spl.values import Number, Row, Value, many, multivalue, number, ordering, printed, single, text

Getter = Callable[[Row], Value]

_ORDER: Mapping[str, Callable[[int], bool]] = MappingProxyType({
    "==": lambda o: o == 0, "!=": lambda o: o != 0, "<": lambda o: o < 0, "<=": lambda o: o <= 0,
    ">": lambda o: o > 0, ">=": lambda o: o >= 0})


@dataclass(frozen=True, slots=True)
class Environment:
    """What an expression may ask for beside its row. `not_null` is what NOT of null gives: None, or True."""

    now: Number | None = None
    not_null: bool | None = None


def getter(node: Expr, environment: Environment) -> Getter:
    """The expression as a function of a row; it raises Undocumented for rows whose value rests on NOT of null."""
    strict = _compiled(node, environment)
    if not _negates(node):
        return strict
    loose = _compiled(node, replace(environment, not_null=True))

    def both(row: Row) -> Value:
        value = strict(row)
        other = loose(row)
        if (None if value is False else value) != (None if other is False else other):
            raise Undocumented("the value rests on NOT of a null; guard the field with isnotnull() or coalesce()")
        return value
    return both


def _negates(node: Expr) -> bool:
    if isinstance(node, Unary):
        return node.operator == "NOT" or _negates(node.operand)
    if isinstance(node, Binary):
        return _negates(node.left) or _negates(node.right)
    return isinstance(node, Call) and any(map(_negates, node.args))


def _compiled(node: Expr, environment: Environment) -> Getter:
    if isinstance(node, Literal):
        value = node.value
        return lambda row: value
    if isinstance(node, FieldRef):
        name = node.name
        return lambda row: row.get(name)
    if isinstance(node, Unary):
        return _unary(node, environment)
    if isinstance(node, Call):
        return _call(node, environment)
    left, right = _compiled(node.left, environment), _compiled(node.right, environment)
    if node.operator in ("AND", "OR", "XOR"):
        return _logical(node.operator, left, right)
    return _comparison(node, left, right) if node.operator in COMPARISONS else _arithmetic(node.operator, left, right)


def _unary(node: Unary, environment: Environment) -> Getter:
    inner = _compiled(node.operand, environment)
    if node.operator == "-":
        return lambda row: None if (n := number(inner(row))) is None else -n
    of_null = environment.not_null

    def negated(row: Row) -> bool | None:
        value = inner(row)
        return of_null if value is None else not value
    return negated


def _logical(operator: str, left: Getter, right: Getter) -> Getter:
    if operator == "AND":
        def both(row: Row) -> bool | None:
            a = left(row)
            if a is False:
                return False
            b = right(row)
            return False if b is False else None if a is None or b is None else True
        return both
    if operator == "OR":
        def either(row: Row) -> bool | None:
            a = left(row)
            if a is True:
                return True
            b = right(row)
            return True if b is True else None if a is None or b is None else False
        return either

    def different(row: Row) -> bool:
        a, b = left(row), right(row)
        if a is None or b is None:
            raise Undocumented("XOR has a null operand")
        return a is not b
    return different


def _comparison(node: Binary, left: Getter, right: Getter) -> Getter:
    holds = _ORDER[node.operator]

    def compare(row: Row) -> bool | None:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        return holds(ordering(single(a, node.operator), single(b, node.operator)))
    return compare


def _arithmetic(operator: str, left: Getter, right: Getter) -> Getter:
    def compute(row: Row) -> Value:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        a, b = single(a, operator), single(b, operator)
        if operator == ".":
            return printed(a) + printed(b)
        x, y = number(a), number(b)
        if x is not None and y is not None:
            return _number_result(operator, x, y)
        if operator == "+":
            if x is None and y is None:
                return text(a) + text(b)
            raise Undocumented(f"+ joins a number and a text: {a!r} and {b!r}")
        return None
    return compute


def _number_result(operator: str, x: Number, y: Number) -> Number | None:
    if operator == "+":
        return x + y
    if operator == "-":
        return x - y
    if operator == "*":
        return x * y
    if y == 0:
        return None
    result = Decimal(x) / Decimal(y) if operator == "/" else Decimal(x) % Decimal(y)
    return int(result) if result == result.to_integral_value() else result


def _call(node: Call, environment: Environment) -> Getter:
    special = _SPECIAL.get(node.name)
    if special:
        return special(node, environment)
    name, args = node.name, [_compiled(a, environment) for a in node.args]
    return lambda row: apply(name, [a(row) for a in args])


def _if(node: Call, environment: Environment) -> Getter:
    test, yes, no = (_compiled(a, environment) for a in node.args)
    return lambda row: yes(row) if test(row) is True else no(row)


def _case(node: Call, environment: Environment) -> Getter:
    parts = [_compiled(a, environment) for a in node.args]
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    return lambda row: next((value(row) for test, value in pairs if test(row) is True), None)


def _coalesce(node: Call, environment: Environment) -> Getter:
    parts = [_compiled(a, environment) for a in node.args]
    return lambda row: next((v for part in parts if (v := part(row)) is not None), None)


def _constant(value: Value) -> Callable[[Call, Environment], Getter]:
    return lambda node, environment: lambda row: value


def _isnull(node: Call, environment: Environment) -> Getter:
    inner, wanted = _compiled(node.args[0], environment), node.name == "isnull"
    return lambda row: (inner(row) is None) is wanted


def _now(node: Call, environment: Environment) -> Getter:
    if environment.now is None:
        raise SplError("the search uses now(): give `now`", node.position)
    return lambda row: environment.now


def _relative_time(node: Call, environment: Environment) -> Getter:
    base, modifier = (_compiled(a, environment) for a in node.args)

    def compute(row: Row) -> Value:
        start, shift = number(base(row)), modifier(row)
        return None if start is None or shift is None else relative(text(shift), start, node.position)
    return compute


def _each(node: Call, environment: Environment) -> Getter:
    """mvmap(field, expression) and mvfilter(condition): the expression sees one value of the field at a time."""
    names = {n.name for n in ([node.args[0]] if node.name == "mvmap" else _refs(node.args[0]))
             if isinstance(n, FieldRef)}
    if len(names) != 1:
        raise SplError(f"{node.name}() needs exactly one field", node.position)
    name, inner = names.pop(), _compiled(node.args[-1], environment)

    def compute(row: Row) -> Value:
        values = [(v, inner({**row, name: v})) for v in many(row.get(name))]
        return multivalue(v for v, keep in values if keep is True) if node.name == "mvfilter" else multivalue(
            w for _, mapped in values for w in many(mapped))
    return compute


def _refs(node: Expr) -> list[Expr]:
    if isinstance(node, FieldRef):
        return [node]
    parts = (node.args if isinstance(node, Call) else (node.operand,) if isinstance(node, Unary)
             else (node.left, node.right) if isinstance(node, Binary) else ())
    return [ref for part in parts for ref in _refs(part)]


def _searchmatch(node: Call, environment: Environment) -> Getter:
    asked = node.args[0]
    if not isinstance(asked, Literal):
        raise SplError("searchmatch() needs a text", node.position)
    test = predicate_test(SearchParser(Scanner(text(asked.value))).condition().predicate)
    return lambda row: bool(test(row))


_SPECIAL: Mapping[str, Callable[[Call, Environment], Getter]] = MappingProxyType({
    "if": _if, "case": _case, "coalesce": _coalesce, "null": _constant(None), "true": _constant(True),
    "false": _constant(False), "isnull": _isnull, "isnotnull": _isnull, "now": _now, "relative_time": _relative_time,
    "mvmap": _each, "mvfilter": _each, "searchmatch": _searchmatch})

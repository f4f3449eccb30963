"""Functions of `eval` and `where` that take values. From the pages "Evaluation functions" of the Search Reference.

A function gets its arguments evaluated, none of them null: with a null argument the result is null, except where
`NULLS` says otherwise. Functions that do not evaluate all arguments are in `evaluate`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import cmp_to_key, lru_cache
from types import MappingProxyType

from tests.engines.spl.errors import SplError, SplSyntaxError, Undocumented, UnknownSpl
from tests.engines.spl.nodes import Call
from tests.engines.spl.times import strftime, strptime
from tests.engines.spl.values import (
    Number,
    Value,
    address,
    many,
    multivalue,
    network,
    number,
    ordering,
    printed,
    text,
    within,
)

_MANY = 1000
_PCRE_ONLY = re.compile(r"\[\[:|\\[KhHRQEGXzZA]|\(\?[R&|0-9]|\(\*")
Function = Callable[..., Value]


def _num(value: Value) -> Number:
    found = number(value)
    if found is None:
        raise _NoNumberError
    return found


class _NoNumberError(Exception):
    """A text where a number is needed: the function's result is null."""


@lru_cache(maxsize=512)
def pattern(source: str) -> re.Pattern[str]:
    """A regular expression; PCRE's `(?<name>` becomes Python's `(?P<name>`. What Python would misread is an error."""
    if _PCRE_ONLY.search(source):
        raise UnknownSpl(f"a construct of PCRE in {source!r}")
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", source))
    except re.error as error:
        raise SplError(f"regular expression {source!r}: {error}") from error


def _like(value: Value, form: Value) -> bool:
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in text(form))
    return bool(pattern("(?s)" + "".join(parts)).fullmatch(text(value)))


def _cidrmatch(cidr: Value, value: Value) -> bool:
    net = network(text(cidr))
    if net is None:
        if address(text(cidr)) is None:
            raise SplError(f"cidrmatch: {cidr!r} is no network")
        raise Undocumented(f"cidrmatch: {cidr!r} has no prefix length")
    return bool(within(value, net))


def _in(value: Value, *wanted: Value) -> bool:
    return any(ordering(value, w) == 0 for w in wanted if w is not None)


def _tonumber(value: Value, base: Value = 10) -> Value:
    if base == 10:
        return number(value)
    try:
        return int(text(value), int(base))
    except ValueError:
        return None


def _tostring(value: Value, form: Value = None) -> str:
    if form is None:
        return printed(value)
    if form == "hex":
        return f"0x{int(_num(value)):X}"
    if form == "commas":
        whole = _num(value)
        return f"{whole:,}" if isinstance(whole, int) else f"{whole:,.2f}"
    if form == "duration":
        days, rest = divmod(int(_num(value)), 86400)
        clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        return f"{days}+{clock}" if days else clock
    raise UnknownSpl(f"tostring(x, {form!r})")


def _round(value: Value, digits: Value = 0) -> Number:
    step = Decimal(1).scaleb(-int(_num(digits)))
    found = Decimal(_num(value)).quantize(step, rounding=ROUND_HALF_UP)
    return int(found) if not digits else found


def _floor(value: Value) -> int:
    return int(Decimal(_num(value)).to_integral_value("ROUND_FLOOR"))


def _ceiling(value: Value) -> int:
    return int(Decimal(_num(value)).to_integral_value("ROUND_CEILING"))


def _pow(value: Value, power: Value) -> Number:
    return Decimal(_num(value)) ** Decimal(_num(power))


def _extreme(sign: int, *values: Value) -> Value:
    """min() and max(): every text is greater than every number."""
    flat = [v for value in values for v in many(value)]
    if not flat:
        return None

    def order(a: Value, b: Value) -> int:
        kinds = (number(a) is None) - (number(b) is None)
        return kinds or ordering(a, b)
    return sorted(flat, key=cmp_to_key(order))[0 if sign < 0 else -1]


def _substr(value: Value, start: Value, length: Value = None) -> str:
    whole, first = text(value), int(_num(start))
    begin = first - 1 if first > 0 else max(0, len(whole) + first) if first < 0 else 0
    return whole[begin:] if length is None else whole[begin:begin + int(_num(length))]


def _replace(value: Value, source: Value, new: Value) -> str:
    return pattern(text(source)).sub(text(new), text(value))


def _trim(side: str, value: Value, marks: Value = " \t") -> str:
    whole = text(value)
    whole = whole.lstrip(text(marks)) if side != "r" else whole
    return whole.rstrip(text(marks)) if side != "l" else whole


def _split(value: Value, delim: Value) -> Value:
    mark = text(delim)
    return multivalue(list(text(value)) if not mark else text(value).split(mark))


def _mvindex(values: Value, start: Value, end: Value = None) -> Value:
    found, first = many(values), int(_num(start))
    last = first if end is None else int(_num(end))
    first, last = (len(found) + i if i < 0 else i for i in (first, last))
    return multivalue(found[first:last + 1]) if 0 <= first <= last else None


def _mvzip(left: Value, right: Value, delim: Value = ",") -> Value:
    return multivalue(text(a) + text(delim) + text(b) for a, b in zip(many(left), many(right), strict=False))


def _mvrange(start: Value, end: Value, step: Value = 1) -> Value:
    return multivalue(range(int(_num(start)), int(_num(end)), int(_num(step))))


def _mvappend(*values: Value) -> Value:
    return multivalue(v for value in values for v in many(value))


def _mvdedup(values: Value) -> Value:
    return multivalue({text(v): v for v in reversed(many(values))}[t] for t in dict.fromkeys(map(text, many(values))))


def _mvsort(values: Value) -> Value:
    return multivalue(sorted(many(values), key=text))


def _digest(kind: str) -> Function:
    return lambda value: hashlib.new(kind, text(value).encode()).hexdigest()


def _typeof(value: Value) -> str:
    return "Boolean" if isinstance(value, bool) else "Number" if number(value) is not None else "String"


def _nullif(left: Value, right: Value) -> Value:
    return None if right is not None and ordering(left, right) == 0 else left


# name: (fewest arguments, most arguments, function)
EAGER: Mapping[str, tuple[int, int, Function]] = MappingProxyType({
    "match": (2, 2, lambda v, p: bool(pattern(text(p)).search(text(v)))),
    "like": (2, 2, _like), "cidrmatch": (2, 2, _cidrmatch), "in": (2, _MANY, _in),
    "tonumber": (1, 2, _tonumber), "tostring": (1, 2, _tostring), "typeof": (1, 1, _typeof),
    "isnum": (1, 1, lambda v: number(v) is not None),
    "isint": (1, 1, lambda v: isinstance(number(v), int)),
    "isstr": (1, 1, lambda v: number(v) is None),
    "len": (1, 1, lambda v: len(text(v))), "lower": (1, 1, lambda v: text(v).lower()),
    "upper": (1, 1, lambda v: text(v).upper()), "substr": (2, 3, _substr), "replace": (3, 3, _replace),
    "trim": (1, 2, lambda *a: _trim("b", *a)), "ltrim": (1, 2, lambda *a: _trim("l", *a)),
    "rtrim": (1, 2, lambda *a: _trim("r", *a)), "split": (2, 2, _split),
    "round": (1, 2, _round), "floor": (1, 1, _floor), "ceiling": (1, 1, _ceiling), "ceil": (1, 1, _ceiling),
    "abs": (1, 1, lambda v: abs(_num(v))), "sqrt": (1, 1, lambda v: Decimal(_num(v)).sqrt()), "pow": (2, 2, _pow),
    "min": (1, _MANY, lambda *a: _extreme(-1, *a)), "max": (1, _MANY, lambda *a: _extreme(1, *a)),
    "mvcount": (1, 1, lambda v: len(many(v))), "mvindex": (2, 3, _mvindex), "mvappend": (1, _MANY, _mvappend),
    "mvdedup": (1, 1, _mvdedup), "mvsort": (1, 1, _mvsort), "mvzip": (2, 3, _mvzip), "mvrange": (2, 3, _mvrange),
    "mvjoin": (2, 2, lambda v, d: text(d).join(map(text, many(v)))),
    "strptime": (2, 2, lambda v, f: strptime(text(v), text(f))),
    "strftime": (2, 2, lambda t, f: strftime(_num(t), text(f))),
    "md5": (1, 1, _digest("md5")), "sha1": (1, 1, _digest("sha1")), "sha256": (1, 1, _digest("sha256")),
    "nullif": (2, 2, _nullif),
})
LAZY: Mapping[str, tuple[int, int]] = MappingProxyType({
    "if": (3, 3), "case": (2, _MANY), "coalesce": (1, _MANY), "isnull": (1, 1), "isnotnull": (1, 1), "null": (0, 0),
    "true": (0, 0), "false": (0, 0), "now": (0, 0), "relative_time": (2, 2), "mvmap": (2, 2), "mvfilter": (1, 1),
    "searchmatch": (1, 1),
})
BOOLEAN = frozenset(("true", "false", "isnull", "isnotnull", "isnum", "isint", "isstr", "match", "like", "cidrmatch",
                     "in", "searchmatch"))
# These take null arguments: they skip them, or say something about them.
NULLS = frozenset(("min", "max", "mvappend", "in", "nullif", "isnum", "isint", "isstr"))
# These take multivalue arguments; for the others that is not documented.
MULTI = frozenset(("mvcount", "mvindex", "mvappend", "mvdedup", "mvsort", "mvzip", "mvjoin", "min", "max"))


def check_arity(call: Call) -> None:
    """Raise if the function is not known, or does not take so many arguments."""
    if call.name not in EAGER and call.name not in LAZY:
        raise UnknownSpl(f"eval function {call.name}()", call.position)
    low, high = EAGER[call.name][:2] if call.name in EAGER else LAZY[call.name]
    if not low <= len(call.args) <= high or (call.name == "case" and len(call.args) % 2):
        raise SplSyntaxError(f"{call.name}() does not take {len(call.args)} arguments", call.position)


def apply(name: str, values: list[Value]) -> Value:
    """The function's value for these arguments."""
    if name not in NULLS:
        if any(v is None for v in values):
            return None
    elif name not in ("min", "max", "mvappend") and values[0] is None:
        return None if name in ("in", "nullif") else False
    if name not in MULTI and any(isinstance(v, list) for v in values):
        raise Undocumented(f"{name}() has a multivalue argument")
    try:
        return EAGER[name][2](*values)
    except _NoNumberError:
        return None

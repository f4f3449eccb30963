"""The expressions of `eval` and `where`: AND binds tighter than OR, field names are words or in single quotes.

From the pages `eval`, `where` and "Predicate expressions". `a.b` joins two fields: a name with a dot needs quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.engines.spl.errors import SplSyntaxError
from tests.engines.spl.functions import BOOLEAN, check_arity
from tests.engines.spl.nodes import Binary, Call, Expr, FieldRef, Literal, Unary
from tests.engines.spl.scan import Scanner
from tests.engines.spl.values import number

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(r"'([^']+)'")
_COMPARISON = re.compile(r"==|!=|<=|>=|=|<(?!>)|>")
_WORDS = re.compile(r"(AND|OR|XOR|NOT|IN|LIKE)(?!\w)", re.I)
_SUM = re.compile(r"[+\-]")
_PRODUCT = re.compile(r"[*/%]")
_JOIN = re.compile(r"\.")
COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
_LOGICAL = frozenset(("AND", "OR", "XOR"))


def is_boolean(node: Expr) -> bool:
    """Whether the expression gives true or false, which a field cannot hold."""
    if isinstance(node, Unary):
        return node.operator == "NOT"
    if isinstance(node, Binary):
        return node.operator in COMPARISONS or node.operator in _LOGICAL
    if isinstance(node, Call) and node.name == "if":
        return all(is_boolean(a) for a in node.args[1:])
    return isinstance(node, Call) and node.name in BOOLEAN


class EvalParser:
    """Reads one expression from a scanner and leaves it behind the expression."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner

    def boolean(self) -> Expr:
        """An expression that must be true or false."""
        return self._need(self.expression())

    def expression(self) -> Expr:
        """Any expression."""
        return self._chain("XOR", lambda: self._chain("OR", lambda: self._chain("AND", self._not)))

    def _need(self, node: Expr) -> Expr:
        if not is_boolean(node):
            raise self.scanner.error("the expression is neither true nor false")
        return node

    def _operator(self, *wanted: str) -> str | None:
        found = self.scanner.look(_WORDS)
        if not found or found[1].upper() not in wanted:
            return None
        if found[1].upper() in ("AND", "OR", "XOR", "NOT") and found[1] != found[1].upper():
            raise self.scanner.error("Boolean operators are in capitals:")
        self.scanner.at = found.end()
        return found[1].upper()

    def _chain(self, word: str, part: Callable[[], Expr]) -> Expr:
        left: Expr = part()
        while self._operator(word):
            left = Binary(word, self._need(left), self._need(part()))
        return left

    def _not(self) -> Expr:
        if self._operator("NOT"):
            return Unary("NOT", self._need(self._not()))
        return self._comparison()

    def _comparison(self) -> Expr:
        left = self._sum()
        place = self.scanner.at
        if self._operator("IN"):
            self.scanner.expect("(")
            return self._checked(Call("in", (left, *self._arguments()), place))
        if self._operator("LIKE"):
            return self._checked(Call("like", (left, self._sum()), place))
        found = self.scanner.match(_COMPARISON)
        if not found:
            return left
        right = self._sum()
        if self.scanner.look(_COMPARISON):
            raise self.scanner.error("comparisons do not chain")
        return Binary("==" if found[0] == "=" else found[0], left, right)

    def _sum(self) -> Expr:
        left, seen = self._product(), set()
        while found := self.scanner.match(_SUM) or self.scanner.match(_JOIN):
            seen.add("." if found[0] == "." else "+")
            if len(seen) > 1:
                raise self.scanner.error("the order of . and + or - is not documented, use parentheses")
            left = Binary(found[0], left, self._product())
        return left

    def _product(self) -> Expr:
        left = self._unary()
        while found := self.scanner.match(_PRODUCT):
            left = Binary(found[0], left, self._unary())
        return left

    def _unary(self) -> Expr:
        if self.scanner.accept("-"):
            return Unary("-", self._unary())
        return self._primary()

    def _primary(self) -> Expr:
        scanner = self.scanner
        if scanner.accept("("):
            inner = self.expression()
            scanner.expect(")")
            return inner
        text = scanner.string()
        if text is not None:
            return Literal(text)
        if found := scanner.match(_NUMBER):
            value = number(found[0])
            assert value is not None
            return Literal(value)
        if quoted := scanner.match(_QUOTED):
            return FieldRef(quoted[1])
        return self._named()

    def _named(self) -> Expr:
        found = None if self.scanner.look(_WORDS) and not self._is_function() else self.scanner.match(_NAME)
        if not found:
            raise self.scanner.error("an operand is missing")
        if not self.scanner.accept("("):
            return FieldRef(found[0])
        return self._checked(Call(found[0].lower(), self._arguments(), found.start()))

    def _is_function(self) -> bool:
        found = self.scanner.look(_WORDS)
        return bool(found and found[1] in ("in", "like") and self.scanner.text.startswith("(", found.end()))

    def _arguments(self) -> tuple[Expr, ...]:
        found: list[Expr] = []
        while not self.scanner.accept(")"):
            if found:
                self.scanner.expect(",")
            found.append(self.expression())
        return tuple(found)

    def _checked(self, call: Call) -> Call:
        check_arity(call)
        conditions = call.args[:1] if call.name == "if" else call.args[::2] if call.name in ("case", "validate") else ()
        if any(not is_boolean(a) for a in conditions):
            raise SplSyntaxError(f"a condition of {call.name}() is neither true nor false", call.position)
        return call

"""Small readers of what the backends print, each with the rules of its SIEM, to run queries on plain documents.

They are strict where the SIEMs are not: an AND and an OR side by side without parentheses is an error, and so is a
Lucene NOT that stands alone. Each takes exactly the forms that we print, so a value that broke out of its literal
would not parse, or would not match what it should.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

Flow = Mapping[str, Any]
Test = Callable[[Flow], Any]

_BACKSLASH = {"n": "\n", "r": "\r", "t": "\t"}


class Unreadable(Exception):
    """The text is not of the forms that we print."""


def in_network(address: Any, cidr: str) -> bool:
    return address is not None and ip_address(str(address)) in ip_network(cidr)


def unescaped(text: str, names: Mapping[str, str] = _BACKSLASH) -> str:
    return re.sub(r"\\(.)", lambda m: names.get(m[1], m[1]), text, flags=re.S)


def wild(text: str, one: str = "?") -> re.Pattern[str]:
    """A pattern with `*`, perhaps `?`, and backslash escapes."""
    parts = re.findall(r"\\.|.", text, flags=re.S)
    made = (".*" if p == "*" else "." if p == one else re.escape(p[-1]) for p in parts)
    return re.compile("".join(made), re.S)


class Reader:
    """A recursive descent over tokens: NOT binds tightest, AND and OR never mix on one level."""

    tokens_of = re.compile("")

    def __init__(self, text: str) -> None:
        self.tokens = list(self._split(text))
        self.at = 0

    def _split(self, text: str) -> Iterator[str]:
        place = 0
        while place < len(text):
            found = self.tokens_of.match(text, place)
            if not found or found.end() == place:
                raise Unreadable(text[place:place + 40])
            if found[0].strip():
                yield found[0]
            place = found.end()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if not token or (wanted and token not in wanted):
            raise Unreadable(f"{token!r} where {wanted} should be")
        self.at += 1
        return token

    def whole(self) -> Test:
        test = self.expression()
        if self.peek():
            raise Unreadable(f"left over: {self.tokens[self.at:][:5]}")
        return test

    def expression(self) -> Test:
        parts, word = [self.unit()], self.peek()
        while word in ("AND", "OR") and self.peek() == word:
            self.take()
            parts.append(self.unit())
        if self.peek() in ("AND", "OR"):
            raise Unreadable("AND and OR on one level")
        return parts[0] if len(parts) == 1 else self.joined(word, parts)

    def unit(self) -> Test:
        if self.peek() == "NOT":
            self.take()
            return self.negated(self.unit())
        if self.peek() == "(":
            self.take()
            inner = self.expression()
            self.take(")")
            return inner
        return self.comparison()

    def listed(self, read: Callable[[str], Any]) -> list[Any]:
        self.take("(")
        values = [read(self.take())]
        while self.take(",", ")") == ",":
            values.append(read(self.take()))
        return values

    def joined(self, word: str, parts: Sequence[Test]) -> Test:
        combine = all if word == "AND" else any
        return lambda flow: combine(part(flow) for part in parts)

    def negated(self, test: Test) -> Test:
        return lambda flow: not test(flow)

    def comparison(self) -> Test:
        raise NotImplementedError


class Spl(Reader):
    """`search …`: strings without regard to case, CIDR where both sides are addresses, NOT keeps what lacks a field."""

    tokens_of = re.compile(r'\s+|"(?:\\.|[^"\\])*"|[(),]|[<>]=?|=|[\w.:*-]+', re.S)

    def comparison(self) -> Test:
        name, sign = self.take(), self.take("=", "IN", "<", "<=", ">", ">=")
        if not re.fullmatch(r"[\w.]+", name):
            raise Unreadable(name)
        if sign == "IN":
            values = self.listed(self._equal)
            return lambda flow: any(value(flow.get(name)) for value in values)
        if sign != "=":
            number = float(self.take())
            order = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[sign]
            return lambda flow: flow.get(name) is not None and order(float(flow[name]), number)
        equal = self._equal(self.take())
        return lambda flow: equal(flow.get(name))

    def _equal(self, token: str) -> Callable[[Any], bool]:
        if token == "*":
            return lambda value: value is not None
        if not token.startswith('"'):
            if not re.fullmatch(r"-?[\w.]+", token):
                raise Unreadable(token)
            return lambda value: value is not None and str(value).lower() == token
        body = token[1:-1]
        if re.fullmatch(r"[0-9a-f.]*[:.][0-9a-f:.]*/[0-9]+", body):
            return lambda value: in_network(value, body)
        pattern = re.compile(wild(body, one="\0").pattern, re.S | re.I)
        return lambda value: value is not None and bool(pattern.fullmatch(str(value)))


class Esql(Reader):
    """A WHERE condition: three-valued, letter by letter."""

    tokens_of = re.compile(r'\s+|"(?:\\.|[^"\\\r\n])*"|[(),]|[<>]=?|==|`[^`]+`|[\w.@:-]+', re.S)

    def joined(self, word: str, parts: Sequence[Test]) -> Test:
        decides = word == "OR"

        def test(flow: Flow) -> bool | None:
            values = [part(flow) for part in parts]
            return decides if decides in values else None if None in values else not decides
        return test

    def negated(self, test: Test) -> Test:
        def negation(flow: Flow) -> bool | None:
            value = test(flow)
            return None if value is None else not value
        return negation

    def comparison(self) -> Test:
        token = self.take()
        if token == "COALESCE":
            return self._coalesce()
        if token == "CIDR_MATCH":
            self.take("(")
            name, cidrs = self.take(), []
            while self.take(",", ")") == ",":
                cidrs.append(self._text(self.take()))
            return lambda f: None if f.get(name) is None else any(in_network(f[name], c) for c in cidrs)
        value = self._operand(token)
        sign = self.take("==", "IN", "LIKE", "IS", "<", "<=", ">", ">=")
        if sign == "IS":
            has = self.take("NOT", "NULL") == "NULL" or not self.take("NULL")
            return lambda flow: (value(flow) is None) == has
        return self._compared(value, sign)

    def _coalesce(self) -> Test:
        self.take("(")
        inner = self.expression()
        for token in (",", "false", ")"):
            self.take(token)
        return lambda flow: bool(inner(flow))

    def _operand(self, token: str) -> Test:
        if token != "TO_LOWER":
            if not re.fullmatch(r"[\w.@]+", token):
                raise Unreadable(token)
            return lambda flow: flow.get(token)
        self.take("(")
        name = self.take()
        self.take(")")
        return lambda flow: None if flow.get(name) is None else str(flow[name]).lower()

    def _compared(self, value: Test, sign: str) -> Test:
        def known(compare: Callable[[Any], bool]) -> Test:
            return lambda flow: None if value(flow) is None else compare(value(flow))

        if sign == "IN":
            values = self.listed(self._constant)
            return known(lambda v: v in values)
        token = self.take()
        if sign == "LIKE":
            pattern = wild(self._text(token))
            return known(lambda v: bool(pattern.fullmatch(v)))
        constant = self._constant(token)
        if sign == "==":
            return known(lambda v: type(v) is type(constant) and v == constant)
        order = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[sign]
        return known(lambda v: order(float(v), float(constant)))

    def _constant(self, token: str) -> Any:
        if token in ("true", "false"):
            return token == "true"
        return self._text(token) if token.startswith('"') else int(token) if token.isdigit() else float(token)

    def _text(self, token: str) -> str:
        if not token.startswith('"'):
            raise Unreadable(token)
        return unescaped(token[1:-1])


def spl(text: str) -> Test:
    """The test that a `search` command makes."""
    if not text.startswith("search ") or "\n" in text:
        raise Unreadable(text)
    return Spl(text.removeprefix("search ")).whole()


def esql(text: str) -> Test:
    """The test of the one WHERE of `FROM … | WHERE … | KEEP …`."""
    head, _, rest = text.partition(" | WHERE ")
    condition, _, keep = rest.rpartition(" | KEEP ")
    if not re.fullmatch(r"FROM [\w.*-]+ METADATA _id, _index, _version", head) or "_id, _index, _version" not in keep:
        raise Unreadable(text)
    test = Esql(condition).whole()
    return lambda flow: test(flow) is True


def lucene(text: str) -> Test:
    """The test of a query string as plain Lucene makes it: a NOT only takes away from what stands beside it."""
    from luqum.parser import parser  # type: ignore[import-untyped]
    return _lucene(parser.parse(text))


def _lucene(node: Any) -> Test:
    match type(node).__name__:
        case "Group":
            return _lucene(node.expr)
        case "AndOperation" | "OrOperation":
            return _operation(node)
        case "SearchField":
            return _field(node.name, node.expr)
    raise Unreadable(f"{type(node).__name__}: {node}")


def _operation(node: Any) -> Test:
    nots = [child.a for child in node.children if type(child).__name__ == "Not"]
    rest = [_lucene(child) for child in node.children if type(child).__name__ != "Not"]
    if nots and (not rest or type(node).__name__ == "OrOperation"):
        raise Unreadable(f"a NOT with nothing to take away from: {node}")
    without = [_lucene(child) for child in nots]
    combine = all if type(node).__name__ == "AndOperation" else any
    return lambda flow: combine(test(flow) for test in rest) and not any(test(flow) for test in without)


def _field(name: str, expr: Any) -> Test:
    kind = type(expr).__name__
    if name == "*":
        return lambda flow: True
    if name == "_exists_":
        return lambda flow: flow.get(str(expr)) is not None
    if kind == "FieldGroup":
        inner = expr.expr
        children = inner.children if type(inner).__name__ == "OrOperation" else [inner]
        tests = [_field(name, child) for child in children]
        return lambda flow: any(test(flow) for test in tests)
    text = str(expr).strip()
    if kind == "Phrase":
        body = unescaped(text[1:-1], {})
        if re.fullmatch(r"[0-9a-f:.]+/[0-9]+", body) and name.endswith(".ip"):
            return lambda flow: in_network(flow.get(name), body)
        return lambda flow: flow.get(name) == body
    if kind == "Regex":
        pattern = re.compile(text[1:-1].replace("[[]", "[\\[]"), re.S)
        return lambda flow: flow.get(name) is not None and bool(pattern.fullmatch(flow[name]))
    if kind in ("From", "To"):
        return _range(name, text)
    return _word(name, text)


def _range(name: str, text: str) -> Test:
    sign, number = re.fullmatch(r"([<>]=?)(.+)", text).groups()  # type: ignore[union-attr]
    order = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[sign]
    return lambda flow: flow.get(name) is not None and order(float(flow[name]), float(number))


def _word(name: str, text: str) -> Test:
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return lambda flow: flow.get(name) == float(text)
    if text in ("true", "false"):
        return lambda flow: flow.get(name) is (text == "true")
    pattern = wild(text)
    return lambda flow: flow.get(name) is not None and bool(pattern.fullmatch(str(flow[name])))

"""The expressions of `search` and of WHERE in `tstats`: AND may be left out, and OR binds tighter than AND.

From the pages "Boolean expressions" (Search Manual) and `search` (Search Reference).
"""

from __future__ import annotations

import re

from tests.engines.spl.errors import Refused, SplSyntaxError, UnknownSpl
from tests.engines.spl.nodes import Compare, Condition, Every, Everything, Not, Predicate, Some
from tests.engines.spl.scan import Scanner

_FIELD = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^\s()|\[\]"\'=<>!,`]+))\s*(!=|<=|>=|=|<|>)\s*', re.S)
_MEMBER = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^\s()|\[\]"\'=<>!,`]+))\s+IN\s*\(', re.S)
_BARE = re.compile(r"[^\s()|\[\]\",`]+")
_TIMES = ("earliest", "latest", "_index_earliest", "_index_latest")
_OTHER_TIMES = ("starttime", "endtime", "daysago", "timeformat")


class SearchParser:
    """Reads one search expression from a scanner and leaves it behind the expression."""

    def __init__(self, scanner: Scanner, stop: tuple[str, ...] = ()) -> None:
        self.scanner = scanner
        self.stop = stop        # words that end the expression, such as `by`
        self.times: dict[str, str] = {}
        self.depth = 0

    def condition(self) -> Condition:
        """The whole expression; without any term it matches everything."""
        predicate = self._every()
        return Condition(predicate, *(self.times.get(name) for name in _TIMES))

    def _done(self) -> bool:
        return self.scanner.ends() or self.scanner.sees(")") or bool(self.stop and self.scanner.sees_word(*self.stop))

    def _upper(self, word: str) -> bool:
        """Take an operator, which must be in capitals."""
        if self.scanner.sees_word(word.lower()):
            if self.scanner.sees(word):
                self.scanner.word()
                return True
            raise self.scanner.error("operators are in capitals, and a bare word would search the raw event:")
        return False

    def _every(self) -> Predicate:
        parts: list[Predicate] = []
        while not self._done():
            if parts and self._upper("AND") and self._done():
                raise self.scanner.error("AND lacks its right side")
            part = self._some()
            if part is not None:
                parts.append(part)
        return Everything() if not parts else parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _some(self) -> Predicate | None:
        parts = [self._not()]
        while not self._done() and self._upper("OR"):
            parts.append(self._not())
        if len(parts) == 1:
            return parts[0]
        kept = tuple(p for p in parts if p is not None)
        if len(kept) != len(parts):
            raise self.scanner.error("a time modifier stands beside OR")
        return Some(kept)

    def _not(self) -> Predicate | None:
        if self._done():
            raise self.scanner.error("a term is missing")
        if not self._upper("NOT"):
            return self._term()
        part = self._not()
        if part is None:
            raise self.scanner.error("a time modifier stands under NOT")
        return Not(part)

    def _term(self) -> Predicate | None:
        scanner = self.scanner
        if scanner.sees("["):
            raise Refused("a subsearch as a filter, which keeps 10000 results at most", scanner.at)
        if scanner.accept("("):
            return self._group()
        if member := scanner.match(_MEMBER):
            return self._members(_field(member), member.start())
        if compared := scanner.match(_FIELD):
            return self._compare(_field(compared), compared[3], compared.start())
        if bare := scanner.match(_BARE):
            if bare[0] == "*":
                return Everything()
            raise UnknownSpl(f"the term {bare[0]} searches the raw event, which this executor does not have",
                             bare.start())
        raise scanner.error("a term is missing")

    def _group(self) -> Predicate:
        self.depth += 1
        if self.scanner.sees(")"):
            raise self.scanner.error("parentheses are empty")
        inner = self._every()
        self.scanner.expect(")")
        self.depth -= 1
        return inner

    def _members(self, field: str, position: int) -> Predicate:
        values = [self._value()]
        while self.scanner.accept(","):
            values.append(self._value())
        self.scanner.expect(")")
        return Some(tuple(Compare(field, "=", v, position) for v in values))

    def _compare(self, field: str, operator: str, position: int) -> Predicate | None:
        value = self._value()
        if field in _OTHER_TIMES:
            raise UnknownSpl(f"time modifier {field}", position)
        if field not in _TIMES:
            return Compare(field, operator, value, position)
        if self.depth or operator != "=" or field in self.times:
            raise SplSyntaxError(f"{field} is only known once, outside parentheses, with =", position)
        self.times[field] = value
        return None

    def _value(self) -> str:
        quoted = self.scanner.string()
        if quoted is not None:
            return quoted
        found = self.scanner.match(_BARE)
        if not found:
            raise self.scanner.error("a value is missing")
        return found[0]


def _field(found: re.Match[str]) -> str:
    name = found[1] if found[1] is not None else found[2]
    if "*" in name:
        raise UnknownSpl(f"a wildcard in the field name {name}", found.start())
    return name

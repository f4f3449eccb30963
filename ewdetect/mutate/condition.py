"""A Sigma condition as a tree, so that one term can be taken out of it or one word be changed."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_QUANTITIES = ("1", "any", "all")


@dataclass(frozen=True, slots=True)
class Name:
    """A selection by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Of:
    """`1 of filter_main_*`, `all of them`. `them` leaves out names that begin with an underscore."""

    quantity: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.quantity} of {self.pattern}"

    def members(self, names: Sequence[str]) -> list[str]:
        if self.pattern == "them":
            return [name for name in names if not name.startswith("_")]
        return fnmatch.filter(names, self.pattern)


@dataclass(frozen=True, slots=True)
class Not:
    inner: Tree

    def __str__(self) -> str:
        return f"not ({self.inner})" if isinstance(self.inner, Join) else f"not {self.inner}"


@dataclass(frozen=True, slots=True)
class Join:
    """Two parts or more with `and` or `or` between them."""

    word: str
    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(f"({part})" if isinstance(part, Join) else str(part) for part in self.parts)


Tree = Name | Of | Not | Join


def parse(condition: str) -> Tree:
    """Read a condition; `not` binds tighter than `and`, which binds tighter than `or`. Raises ValueError."""
    parser = _Parser(_TOKEN.findall(condition))
    tree = parser.joined("or")
    if parser.tokens:
        raise ValueError(f"`{condition}` goes on after its end, at `{parser.tokens[0]}`")
    return tree


def without(tree: Tree, gone: Callable[[Name | Of], bool]) -> Tree | None:
    """The tree without the terms that are `gone`, or None where nothing is left."""
    if isinstance(tree, Not):
        inner = without(tree.inner, gone)
        return Not(inner) if inner else None
    if isinstance(tree, Join):
        parts = tuple(part for part in (without(part, gone) for part in tree.parts) if part)
        return Join(tree.word, parts) if len(parts) > 1 else parts[0] if parts else None
    return None if gone(tree) else tree


def reworded(tree: Tree, names: Sequence[str]) -> Iterator[tuple[str, Tree]]:
    """Every tree with one word changed, and what was changed: and ↔ or, 1 of ↔ all of.

    A quantity over fewer than two selections is left alone: `1 of` and `all of` one thing are the same.
    """
    if isinstance(tree, Of) and len(tree.members(names)) > 1:
        other = replace(tree, quantity="1" if tree.quantity == "all" else "all")
        yield f"`{tree}` → `{other}`", other
    elif isinstance(tree, Not):
        yield from ((what, Not(inner)) for what, inner in reworded(tree.inner, names))
    elif isinstance(tree, Join):
        word = "or" if tree.word == "and" else "and"
        yield f"`{tree}`: {tree.word} → {word}", Join(word, tree.parts)
        for n, part in enumerate(tree.parts):
            for what, changed in reworded(part, names):
                yield what, Join(tree.word, (*tree.parts[:n], changed, *tree.parts[n + 1:]))


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def joined(self, word: str) -> Tree:
        parts = [self._operand(word)]
        while self.tokens and self.tokens[0].lower() == word:
            self.tokens.pop(0)
            parts.append(self._operand(word))
        return Join(word, tuple(parts)) if len(parts) > 1 else parts[0]

    def _operand(self, word: str) -> Tree:
        return self.joined("and") if word == "or" else self._term()

    def _term(self) -> Tree:
        token = self._next()
        if token.lower() == "not":
            return Not(self._term())
        if token == "(":
            inner = self.joined("or")
            if self._next() != ")":
                raise ValueError("a bracket is not closed")
            return inner
        if token.lower() in _QUANTITIES and self.tokens and self.tokens[0].lower() == "of":
            self.tokens.pop(0)
            return Of(token.lower(), self._next())
        return Name(token)

    def _next(self) -> str:
        if not self.tokens:
            raise ValueError("the condition stops in the middle")
        return self.tokens.pop(0)

"""A place in a text, and the small readers that every command's parser is made of."""

from __future__ import annotations

import re

from tests.engines.spl.errors import SplSyntaxError, UnknownSpl

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s,()|\[\]=\"'<>!`]+")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_QUOTED_FIELD = re.compile(r"'([^']*)'")
_OPTION = re.compile(r"([A-Za-z_]\w*)\s*=\s*")
_BARE_VALUE = re.compile(r"[^\s,()|\[\]\"]+")
_ESCAPE = re.compile(r'\\(["\\])')

TRUE = frozenset(("t", "true", "1"))
FALSE = frozenset(("f", "false", "0"))


class Scanner:
    """Reads tokens from `text`, from offset `at`. A pipe, a closing bracket or the end ends a command."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def error(self, message: str) -> SplSyntaxError:
        """A syntax error at this place."""
        return SplSyntaxError(f"{message} before {self.text[self.at:self.at + 25]!r}", self.at)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The pattern at this place, after space; the place moves behind it if it is there."""
        found = self.look(pattern)
        if found:
            self.at = found.end()
        return found

    def look(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The pattern at this place, after space; the place stays."""
        self.skip()
        return pattern.match(self.text, self.at)

    def skip(self) -> None:
        """Go behind space."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def ends(self) -> bool:
        """Whether the command ends here."""
        self.skip()
        return self.at >= len(self.text) or self.text[self.at] in "|]"

    def sees(self, mark: str) -> bool:
        """Whether the mark stands here."""
        self.skip()
        return self.text.startswith(mark, self.at)

    def accept(self, mark: str) -> bool:
        """Go behind the mark if it stands here."""
        seen = self.sees(mark)
        self.at += len(mark) * seen
        return seen

    def expect(self, mark: str) -> None:
        """Go behind the mark, which must stand here."""
        if not self.accept(mark):
            raise self.error(f"{mark!r} is missing")

    def sees_word(self, *words: str) -> bool:
        """Whether one of the words stands here, in any case."""
        found = self.look(_WORD)
        return bool(found) and found is not None and found[0].lower() in words

    def accept_word(self, *words: str) -> bool:
        """Go behind one of the words, in any case."""
        seen = self.sees_word(*words)
        if seen:
            self.match(_WORD)
        return seen

    def word(self) -> str:
        """A bare word."""
        found = self.match(_WORD)
        if not found:
            raise self.error("a word is missing")
        return found[0]

    def string(self) -> str | None:
        """A text in double quotes, if one stands here. Only `\\"` and `\\\\` are escapes."""
        found = self.match(_STRING)
        return _ESCAPE.sub(r"\1", found[1]) if found else None

    def name(self) -> str:
        """A field name: bare, or in double or single quotes."""
        quoted = self.string()
        if quoted is not None:
            return quoted
        single = self.match(_QUOTED_FIELD)
        return single[1] if single else self.word()

    def names(self) -> tuple[str, ...]:
        """Field names up to the command's end, with commas or spaces between them."""
        found = []
        while not self.ends():
            found.append(self.name())
            self.accept(",")
        return tuple(found)

    def value(self) -> str:
        """The value of an option."""
        quoted = self.string()
        if quoted is not None:
            return quoted
        found = self.match(_BARE_VALUE)
        if not found:
            raise self.error("a value is missing")
        return found[0]

    def options(self, command: str, *known: str) -> dict[str, str]:
        """All `name=value` here, each once. A name that is not known is an error."""
        found: dict[str, str] = {}
        while option := self.look(_OPTION):
            name, place = option[1].lower(), self.at
            if name not in known:
                raise UnknownSpl(f"{command} has no option {option[1]} here", place)
            if name in found:
                raise SplSyntaxError(f"{command} has {name} twice", place)
            self.at = option.end()
            found[name] = self.value()
        return found


def flag(options: dict[str, str], name: str, default: bool) -> bool:
    """The option as a boolean: t, true, 1, f, false, 0."""
    value = options.get(name, "t" if default else "f").lower()
    if value not in TRUE | FALSE:
        raise SplSyntaxError(f"{name}={value} is no boolean")
    return value in TRUE


def count(options: dict[str, str], name: str, default: int) -> int:
    """The option as a number of rows, at least 0."""
    value = options.get(name, str(default))
    if not value.isdigit():
        raise SplSyntaxError(f"{name}={value} is no count")
    return int(value)



"""What our three printers share: nothing depends on an operator's precedence, and one line is one line.

pySigma's parent classes stay in charge of single comparisons; how they are joined is ours. Two faults of theirs end
here: SPL groups by a precedence that `search` and `where` do not share, and ES|QL forgets fields that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR
from sigma.conversion.base import TextQueryBackend
from sigma.conversion.state import ConversionState
from sigma.types import SigmaString, SigmaType, SpecialChars


class ExplicitPrinter(TextQueryBackend):
    """Prints a tree of `tree.simplified`: every AND inside an OR, and the reverse, in parentheses.

    `letters` says how the SIEM stores a field's text: lower, upper or mixed. `keep` are the columns of a result.
    """

    convert_or_as_in = False        # lists are gathered in the tree, and printed by `listed`
    letters: Mapping[str, str] = MappingProxyType({})
    keep: tuple[str, ...] = ()
    spelt = ""                      # control characters that the dialect can spell

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> str:
        return " AND ".join(self._operand(arg, state) for arg in cond.args)

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> str:
        return " OR ".join(self._operand(arg, state) for arg in cond.args)

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        return f"NOT {self._operand(cond.args[0], state)}"

    def convert_condition_field_eq_expansion(self, cond: Any, state: ConversionState) -> str:
        return self.listed(cond.field, cond.value.values)

    def listed(self, field: str, values: list[SigmaType]) -> str:
        """`field` is any of `values`, which are of one kind; the text needs no parentheses around it."""
        raise NotImplementedError

    def unsayable(self, text: SigmaString) -> str | None:
        """The construct in a text that the dialect has no literal for."""
        plain = (c for c in literal(text) if c not in self.spelt)
        return None if all(c.isprintable() for c in plain) else "control character"

    def finished(self, predicate: str, state: Mapping[str, Any]) -> str:
        """The whole query around a predicate."""
        return predicate

    def _operand(self, arg: Any, state: ConversionState) -> str:
        text = str(self.convert_condition(arg, state))
        return f"({text})" if isinstance(arg, ConditionAND | ConditionOR) else text

    def stored(self, field: str) -> str:
        """The letters in which the SIEM stores the field's text."""
        return self.letters.get(field, "mixed")


def literal(value: SigmaString) -> str:
    """The text of a value without wildcards."""
    return "".join(part for part in value.s if isinstance(part, str))


def pattern(value: SigmaString, escape: Mapping[str, str], many: str = "*", one: str = "?") -> str:
    """A value with wildcards: its own characters through `escape`, the wildcards as the dialect writes them."""
    wild = {SpecialChars.WILDCARD_MULTI: many, SpecialChars.WILDCARD_SINGLE: one}
    return "".join(wild[part] if isinstance(part, SpecialChars) else "".join(escape.get(c, c) for c in str(part))
                   for part in value.s)


def escapes(characters: str) -> Mapping[str, str]:
    """Each character with a backslash before it."""
    return {c: "\\" + c for c in characters}

"""Lucene as Elasticsearch's `query_string` reads it.

https://www.elastic.co/docs/reference/query-languages/query-dsl/query-dsl-query-string-query
"""

from __future__ import annotations

from typing import Any

from sigma.backends.elasticsearch.elasticsearch_lucene import LuceneBackend
from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR
from sigma.conversion.state import ConversionState
from sigma.types import SigmaCIDRExpression, SigmaString, SigmaType, SpecialChars

from ewdetect.backends.printing import ExplicitPrinter, escapes, literal, pattern

_QUOTED = escapes('\\"')
# The apostrophe means nothing to Lucene, but other readers of its syntax take it for a quote.
_BARE = escapes('+-=&|!(){}[]^"~*?:\\/\' \t\r\n\u3000')


class LucenePrinter(ExplicitPrinter, LuceneBackend):
    """Values are quoted, which no word or operator breaks out of; only patterns stand bare, escaped."""

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> str:
        """A NOT needs something to take away from, or plain Lucene finds nothing."""
        text = super().convert_condition_and(cond, state)
        return f"*:* AND {text}" if all(isinstance(arg, ConditionNOT) for arg in cond.args) else text

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> str:
        return " OR ".join(self._alternative(arg, state) for arg in cond.args)

    def _alternative(self, arg: Any, state: ConversionState) -> str:
        text = self._operand(arg, state)
        return f"(*:* AND {text})" if isinstance(arg, ConditionNOT) else text

    def convert_condition_field_eq_val_str(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)}:{self._value(cond.field, cond.value)}"

    def convert_condition_field_eq_val_cidr(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)}:{self._value(cond.field, cond.value)}"

    def listed(self, field: str, values: list[SigmaType]) -> str:
        return f"{self.escape_and_quote_field(field)}:({' OR '.join(self._value(field, value) for value in values)})"

    def _value(self, field: str, value: SigmaType) -> str:
        match value:
            case SigmaCIDRExpression():
                return f'"{value.network}"'
            case SigmaString() if self.stored(field) == "mixed" and _has_letters(value):
                return _any_case(value)
            case SigmaString() if value.contains_special():
                return pattern(value, _BARE)
            case SigmaString():
                return '"' + "".join(_QUOTED.get(c, c) for c in literal(value)) + '"'
        return str(value)

    def finished(self, predicate: str, state: Any) -> str:
        return f"*:* AND {predicate}" if predicate.startswith("NOT ") and " AND " not in predicate else predicate


def _has_letters(value: SigmaString) -> bool:
    return any(c.lower() != c.upper() for part in value.s if isinstance(part, str) for c in part)


def _any_case(value: SigmaString) -> str:
    """A regular expression that takes every letter in both cases: keyword fields compare letter by letter.

    A character that could mean something stands in brackets, so that no backslash can come before the closing `/`.
    """
    wild = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
    return "/" + "".join(wild[part] if isinstance(part, SpecialChars) else "".join(map(_both, str(part)))
                         for part in value.s) + "/"


def _both(character: str) -> str:
    cases = {character.lower(), character.upper()}
    if len(cases) == 2 and all(len(c) == 1 for c in cases):
        return f"[{''.join(sorted(cases))}]"
    return character if character.isalnum() else f"[\\{character}]"

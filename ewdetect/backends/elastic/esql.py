"""ES|QL for Elastic Security's rules on single events.

https://www.elastic.co/docs/reference/query-languages/esql/esql-syntax
"""

from __future__ import annotations

from typing import Any

from sigma.backends.elasticsearch.elasticsearch_esql import ESQLBackend
from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionNOT
from sigma.conversion.state import ConversionState
from sigma.types import SigmaCIDRExpression, SigmaExists, SigmaString, SigmaType

from ewdetect.backends.printing import ExplicitPrinter, escapes, literal, pattern

_LITERAL = {**escapes('\\"'), "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PATTERN = escapes("\\*?")


class EsqlPrinter(ExplicitPrinter, ESQLBackend):
    """A comparison with a missing field is null in ES|QL, and so is its NOT: WHERE drops both. Sigma keeps the NOT."""

    spelt = "\n\r\t"

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        arg = cond.args[0]
        if not isinstance(arg, ConditionFieldEqualsValueExpression):
            return f"NOT COALESCE({self.convert_condition(arg, state)}, false)"
        if isinstance(arg.value, SigmaExists):
            return f"{self.escape_and_quote_field(arg.field)} IS NULL"
        if not hasattr(arg.value, "field"):
            return f"({self.escape_and_quote_field(arg.field)} IS NULL OR NOT {self.convert_condition(arg, state)})"
        return f"NOT COALESCE({self.convert_condition(arg, state)}, false)"

    def convert_condition_field_eq_val_exists(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)} IS NOT NULL"

    def convert_condition_field_eq_val_str(self, cond: Any, state: ConversionState) -> str:
        sign = "LIKE" if cond.value.contains_special() else "=="
        return f"{self._text(cond.field)} {sign} {_literal(cond.value)}"

    def convert_condition_field_eq_val_num(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)} == {cond.value}"

    def convert_condition_field_eq_val_bool(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)} == {str(cond.value.boolean).lower()}"

    def convert_condition_field_compare_op_val(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)} {self.compare_operators[cond.value.op]} {cond.value.number}"

    def convert_condition_field_eq_val_cidr(self, cond: Any, state: ConversionState) -> str:
        return self.listed(cond.field, [cond.value])

    def convert_condition_field_eq_field(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)} == {self.escape_and_quote_field(cond.value.field)}"

    def listed(self, field: str, values: list[SigmaType]) -> str:
        name = self.escape_and_quote_field(field)
        match values[0]:
            case SigmaCIDRExpression():
                cidrs = ", ".join(f'"{value.network}"' for value in values if isinstance(value, SigmaCIDRExpression))
                return f"CIDR_MATCH({name}, {cidrs})"
            case SigmaString() if values[0].contains_special():
                likes = (f"{self._text(field)} LIKE {_literal(v)}" for v in values if isinstance(v, SigmaString))
                return f"({' OR '.join(likes)})"
            case SigmaString():
                words = ", ".join(_literal(v) for v in values if isinstance(v, SigmaString))
                return f"{self._text(field)} IN ({words})"
        return f"{name} IN ({', '.join(map(str, values))})"

    def _text(self, field: str) -> str:
        """ES|QL tells letters apart; values are in the stored letters, or in lower case where those vary."""
        name = self.escape_and_quote_field(field)
        return f"TO_LOWER({name})" if self.stored(field) == "mixed" else name


def _literal(value: SigmaString) -> str:
    text = pattern(value, _PATTERN) if value.contains_special() else literal(value)
    return '"' + "".join(_LITERAL.get(c, c) for c in text) + '"'

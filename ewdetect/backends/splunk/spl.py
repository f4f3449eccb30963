"""SPL's `search` command.

https://help.splunk.com/en/splunk-enterprise/search/spl-search-reference/9.4/search-commands/search
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from sigma.backends.splunk.splunk import SplunkBackend
from sigma.conversion.state import ConversionState
from sigma.types import SigmaCIDRExpression, SigmaString, SigmaType, SpecialChars

from ewdetect.backends.printing import ExplicitPrinter, escapes, literal, pattern

_QUOTED = escapes('\\"')


class SplPrinter(ExplicitPrinter, SplunkBackend):
    """`search` binds OR tighter than AND, `where` the other way: here parentheses decide.

    Its comparisons take no notice of case, and a NOT keeps events that lack the field, as Sigma wants both.
    """

    def convert_condition_field_eq_val_str(self, cond: Any, state: ConversionState) -> str:
        return f"{self.escape_and_quote_field(cond.field)}={_quoted(cond.value)}"

    def convert_condition_field_eq_val_cidr(self, cond: Any, state: ConversionState) -> str:
        return f'{self.escape_and_quote_field(cond.field)}="{_network(cond.value)}"'

    def listed(self, field: str, values: list[SigmaType]) -> str:
        """IN for words and numbers. Networks one by one: only `field=value` is documented to match CIDR."""
        name = self.escape_and_quote_field(field)
        match values[0]:
            case SigmaCIDRExpression():
                networks = (f'{name}="{_network(v)}"' for v in values if isinstance(v, SigmaCIDRExpression))
                return f"({' OR '.join(networks)})"
            case SigmaString():
                return f"{name} IN ({', '.join(_quoted(v) for v in values if isinstance(v, SigmaString))})"
        return f"{name} IN ({', '.join(map(str, values))})"

    def unsayable(self, text: SigmaString) -> str | None:
        if SpecialChars.WILDCARD_SINGLE in text.s:
            return "single wildcard"
        found = {"*": "literal asterisk", "`": "backtick"}
        if _is_network(literal(text)):
            return "text that is a network"         # `search` would compare addresses
        return next((found[c] for c in literal(text) if c in found), None) or super().unsayable(text)

    def finished(self, predicate: str, state: Mapping[str, Any]) -> str:
        """No `table`: it would take `_time` and the fields that alert actions need."""
        return f"search {predicate}"


def _quoted(value: SigmaString) -> str:
    return f'"{pattern(value, _QUOTED)}"'


def _is_network(text: str) -> bool:
    try:
        return "/" in text and bool(ip_network(text, strict=False))
    except ValueError:
        return False


def _network(value: SigmaCIDRExpression) -> str:
    """A network, or a single IPv4 address as such; IPv6 addresses have many spellings, so they stay networks."""
    network = value.network
    return str(network.network_address) if network.version == 4 and network.prefixlen == 32 else str(network)

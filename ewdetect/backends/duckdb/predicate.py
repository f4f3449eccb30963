"""pySigma's parsed condition → an SQL predicate with Sigma's meaning.

A condition on a missing field is false and its `not` is true: SQL's NULL is made false where it is negated, which is
enough, because AND and OR treat NULL like false as far as truth is concerned. Strings are lower case on both sides.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SpecialChars,
)

from ewdetect.flows.sql import name, text
from ewdetect.plan import OPERATORS

_V4_IN_V6 = 0xFFFF << 32


class Unsayable(Exception):
    """The engine has no exact form for this. The text says what."""


def predicate(rule: SigmaRule, ip_fields: frozenset[str]) -> str:
    """The condition of a rule; several conditions mean any of them. Raises Unsayable."""
    return " OR ".join(_sql(c.parsed, ip_fields) for c in rule.detection.parsed_condition)


def _sql(node: Any, ip_fields: frozenset[str]) -> str:
    match node:
        case ConditionAND() | ConditionOR():
            word = " AND " if isinstance(node, ConditionAND) else " OR "
            return "(" + word.join(_sql(arg, ip_fields) for arg in node.args) + ")"
        case ConditionNOT():
            return f"NOT coalesce({_sql(node.args[0], ip_fields)}, false)"
        case ConditionFieldEqualsValueExpression():
            return _compare(node.field, node.value, ip_fields)
        case ConditionValueExpression():
            raise Unsayable("a value without a field: a flow has no text to search")
    raise Unsayable(f"the condition `{node}`")


def _compare(field: str, value: Any, ip_fields: frozenset[str]) -> str:
    column = name(field)
    if field in ip_fields and isinstance(value, SigmaString | SigmaCIDRExpression):
        return _in_network(column, str(value.cidr) if isinstance(value, SigmaCIDRExpression) else str(value))
    match value:
        case SigmaString():
            return _string(column, value)
        case SigmaNumber():
            return f"{column} = {text(value.number)}"
        case SigmaBool():
            return f"{column} = {text(value.boolean)}"
        case SigmaNull():
            return f"{column} IS NULL"
        case SigmaExists():
            return f"{column} IS {'NOT ' if value.exists else ''}NULL"
        case SigmaCompareExpression():
            return f"{column} {OPERATORS[value.op.name.lower()]} {text(value.number.number)}"
        case SigmaFieldReference():
            return f"{column} = {name(value.field)}"
        case SigmaRegularExpression():
            # Sigma searches the pattern anywhere; the text is lower case, so the pattern must not mind case.
            return f"regexp_matches({column}, {text(str(value.regexp))}, 'i')"
    raise Unsayable(f"a value of type {type(value).__name__} on `{field}`")


def _string(column: str, value: SigmaString) -> str:
    if not value.contains_special():
        return f"{column} = {text(str(value.to_plain()).lower())}"
    wild = {SpecialChars.WILDCARD_MULTI: "%", SpecialChars.WILDCARD_SINGLE: "_"}
    parts = (wild[p] if isinstance(p, SpecialChars) else _escaped(str(p)) for p in value.s)
    return f"{column} LIKE {text(''.join(parts).lower())} ESCAPE '!'"


def _escaped(part: str) -> str:
    return part.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _in_network(column: str, cidr: str) -> str:
    network = ipaddress.ip_network(cidr, strict=False)
    base = _V4_IN_V6 if network.version == 4 else 0
    first, last = base + int(network.network_address), base + int(network.broadcast_address)
    return f"{column} IN (SELECT id FROM address WHERE ip BETWEEN {first}::UHUGEINT AND {last}::UHUGEINT)"

"""pySigma's parsed condition → an SQL predicate with Sigma's meaning.

A condition on a missing field is false and its `not` is true: SQL's NULL is made false where it is negated, which is
enough, because AND and OR treat NULL like false as far as truth is concerned. Strings are lower case on both sides.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
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

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


Types = Mapping[str, str]       # canonical field → its type in mappings/flow.yml


class Unsayable(Exception):
    """The engine has no exact form for this. The text says what."""


def predicate(rule: SigmaRule, types: Types) -> str:
    """The condition of a rule; several conditions mean any of them. Raises Unsayable."""
    return " OR ".join(_sql(c.parsed, types) for c in rule.detection.parsed_condition)


def _sql(node: Any, types: Types) -> str:
    match node:
        case ConditionAND() | ConditionOR():
            word = " AND " if isinstance(node, ConditionAND) else " OR "
            return "(" + word.join(_sql(arg, types) for arg in node.args) + ")"
        case ConditionNOT():
            return f"NOT coalesce({_sql(node.args[0], types)}, false)"
        case ConditionFieldEqualsValueExpression():
            return _compare(node.field, node.value, types)
        case ConditionValueExpression():
            raise Unsayable("a value without a field: a flow has no text to search")
    raise Unsayable(f"the condition `{node}`")


def _compare(field: str, value: Any, types: Types) -> str:
    column = name(field)
    if types.get(field) == "ip" and isinstance(value, SigmaString | SigmaCIDRExpression):
        return _in_network(column, str(value.cidr) if isinstance(value, SigmaCIDRExpression) else str(value))
    match value:
        case SigmaString():
            return _string(f"lower({column})" if types.get(field) == "token" else column, value)
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
    """An IPv6 network never covers IPv4, though IPv4 lives inside ::ffff:0:0/96."""
    network = ipaddress.ip_network(cidr, strict=False)
    is_v4 = network.version == 4 or network.subnet_of(_MAPPED)
    base = int(_MAPPED.network_address) if network.version == 4 else 0
    first, last = base + int(network.network_address), base + int(network.broadcast_address)
    family = "is_v4" if is_v4 else "NOT is_v4"
    return f"{column} IN (SELECT id FROM address WHERE {family} AND ip BETWEEN {first}::UHUGEINT AND {last}::UHUGEINT)"

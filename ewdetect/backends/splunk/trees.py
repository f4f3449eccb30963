"""Condition trees, weakened to what a place in a search can say."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.types import SigmaExpansion, SigmaNumber, SigmaString, SigmaType

from ewdetect.backends.tree import simplified


def summarised(node: Any, lower: Collection[str]) -> Any:
    """A condition that holds wherever `node` does, of plain equalities alone.

    `tstats` compares networks as texts, and a data model has no missing fields, so networks, NOT and presence stay out.
    Numbers are exact there, and texts of the fields in `lower`, which have one case.
    """
    return simplified(_summarised(node, lower))


def _summarised(node: Any, lower: Collection[str]) -> Any:
    match node:
        case ConditionAND() | ConditionOR():
            return type(node)([_summarised(arg, lower) for arg in node.args])
        case ConditionFieldEqualsValueExpression() if _is_plain(node.value, node.field in lower):
            return node
    return True


def _is_plain(value: SigmaType, text: bool) -> bool:
    if isinstance(value, SigmaExpansion):
        return all(isinstance(inner, SigmaType) and _is_plain(inner, text) for inner in value.values)
    return isinstance(value, SigmaNumber) or (text and isinstance(value, SigmaString) and not value.contains_special())


def renamed(node: Any, prefix: str, kept: Collection[str]) -> Any:
    """The same condition with a prefix before each field but some."""
    match node:
        case ConditionAND() | ConditionOR() | ConditionNOT():
            return type(node)([renamed(arg, prefix, kept) for arg in node.args])
        case ConditionFieldEqualsValueExpression() if node.field not in kept:
            return ConditionFieldEqualsValueExpression(prefix + node.field, node.value)
    return node


def fields_in(node: Any) -> Iterator[str]:
    """The fields that a condition compares."""
    match node:
        case ConditionAND() | ConditionOR() | ConditionNOT():
            for arg in node.args:
                yield from fields_in(arg)
        case ConditionFieldEqualsValueExpression():
            yield node.field

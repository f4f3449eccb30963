"""pySigma's detections and conditions as trees: built, negated, and brought into the form that printers print.

Truth is two-valued here, as Sigma means it: a condition on a missing field is false. So De Morgan's laws hold, and
a printer has to deal with missing fields in one place only, where it prints a NOT.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.rule import SigmaDetection, SigmaDetectionItem
from sigma.types import (
    SigmaBool,
    SigmaCIDRExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaNull,
    SigmaNumber,
    SigmaString,
    SigmaType,
)

Node = SigmaDetection | SigmaDetectionItem
# Values that a printer can put into one list: `field in (…)`.
_LISTED: tuple[type[SigmaType], ...] = (SigmaNumber, SigmaCIDRExpression)


def item(field: str, values: Iterable[SigmaType], negated: bool = False) -> SigmaDetectionItem:
    """`field` is any of `values`; without values it is never true."""
    found = list(values) or [SigmaExpansion([])]
    return SigmaDetectionItem(field, [], found, negated=negated, auto_modifiers=False)


def every(*nodes: Node) -> Node:
    """All of the nodes."""
    return nodes[0] if len(nodes) == 1 else SigmaDetection(list(nodes), item_linking=ConditionAND)


def some(*nodes: Node) -> Node:
    """Any of the nodes."""
    return nodes[0] if len(nodes) == 1 else SigmaDetection(list(nodes), item_linking=ConditionOR)


def negate(node: Node) -> Node:
    """The opposite, by De Morgan: pySigma can negate single items only."""
    if isinstance(node, SigmaDetectionItem):
        opposite = item(node.field or "", node.value, not node.negated)
        opposite.value_linking = node.value_linking
        return opposite
    linking = ConditionOR if node.item_linking is ConditionAND else ConditionAND
    return SigmaDetection([negate(n) for n in node.detection_items], item_linking=linking)


def clauses(detections: Iterable[Node]) -> int:
    """How many single comparisons the detections hold."""
    return sum(len(node.value) if isinstance(node, SigmaDetectionItem) else clauses(node.detection_items)
               for node in detections)


def simplified(node: Any) -> Any:
    """A condition tree to print: constants folded, nested ANDs and ORs flat, no double NOT, lists gathered.

    True or False where nothing else is left. Null and `exists: false` become a NOT of `exists`, so that a printer
    meets every negation as ConditionNOT.
    """
    match node:
        case ConditionAND() | ConditionOR():
            return _joined(node)
        case ConditionNOT():
            return _not(simplified(node.args[0]))
        case ConditionFieldEqualsValueExpression(value=SigmaExpansion(values=[])):
            return False
        case ConditionFieldEqualsValueExpression(value=SigmaNull() | SigmaExists(exists=False)):
            return ConditionNOT([ConditionFieldEqualsValueExpression(node.field, SigmaExists(True))])
    return node


def _not(inner: Any) -> Any:
    if isinstance(inner, bool):
        return not inner
    return inner.args[0] if isinstance(inner, ConditionNOT) else ConditionNOT([inner])


def _joined(node: ConditionAND | ConditionOR) -> Any:
    """An AND or OR of simplified parts. The constant that decides it ends it; the other one drops out."""
    decides = isinstance(node, ConditionOR)
    parts: list[Any] = []
    for arg in map(simplified, node.args):
        if arg is decides:
            return decides
        if not isinstance(arg, bool):
            parts += arg.args if type(arg) is type(node) else [arg]
    if isinstance(node, ConditionOR):
        parts = _gathered(_one_not(parts))
    if len(parts) < 2:
        return parts[0] if parts else not decides
    return type(node)(parts)


def _one_not(parts: list[Any]) -> list[Any]:
    """Alternatives with their NOTs as one: `not a or not b` is `not (a and b)`, which reads better and is shorter."""
    inner = [part.args[0] for part in parts if isinstance(part, ConditionNOT)]
    if len(inner) < 2:
        return parts
    flat = [arg for part in inner for arg in (part.args if isinstance(part, ConditionAND) else [part])]
    return [*(part for part in parts if not isinstance(part, ConditionNOT)), ConditionNOT([ConditionAND(flat)])]


def _gathered(parts: Sequence[Any]) -> list[Any]:
    """Alternatives of one field and one kind as a single list, where the first of them stood."""
    lists: dict[Any, list[SigmaType]] = {}
    for part in parts:
        lists.setdefault(_key(part), []).extend(_values(part))
    firsts = {_key(part): part for part in reversed(parts)}
    return [firsts[key] if len(lists[key]) < 2 else
            ConditionFieldEqualsValueExpression(firsts[key].field, SigmaExpansion(lists[key])) for key in lists]


def _values(part: Any) -> list[SigmaType]:
    if not isinstance(part, ConditionFieldEqualsValueExpression):
        return []
    return part.value.values if isinstance(part.value, SigmaExpansion) else [part.value]


def _key(part: Any) -> Any:
    """What alternatives must share to stand in one list; a part that cannot is alone."""
    kinds = {_kind(value) for value in _values(part)}
    return (part.field, *kinds) if len(kinds) == 1 and None not in kinds else id(part)


def _kind(value: SigmaType) -> Any:
    """The kind of list that a value may stand in; None where it may stand in none."""
    if isinstance(value, SigmaString):
        return (SigmaString, value.contains_special())
    return next((kind for kind in _LISTED if isinstance(value, kind)), None)


def constant(value: Any) -> SigmaType:
    """A plain value as pySigma's type."""
    match value:
        case bool():
            return SigmaBool(value)
        case int() | float():
            return SigmaNumber(value)
        case None:
            return SigmaNull()
    return SigmaString.from_str(str(value))     # past the parser: `*` and `?` in it are no wildcards


def plain(value: SigmaType) -> Any:
    """The plain value of a constant, strings in lower case. Raises ValueError for patterns and comparisons."""
    match value:
        case SigmaBool():
            return value.boolean
        case SigmaNumber():
            return value.number
        case SigmaNull():
            return None
        case SigmaString() if not value.contains_special():
            return "".join(str(part) for part in value.s).lower()
    raise ValueError(type(value).__name__)


def without(node: Any, names: Collection[str]) -> Any:
    """A condition that holds wherever `node` does, without a word on some fields."""
    return simplified(_without(node, names, True))


def _without(node: Any, names: Collection[str], positive: bool) -> Any:
    match node:
        case ConditionAND() | ConditionOR():
            return type(node)([_without(arg, names, positive) for arg in node.args])
        case ConditionNOT():
            return ConditionNOT([_without(node.args[0], names, not positive)])
        case ConditionFieldEqualsValueExpression() if node.field in names:
            return positive
    return node

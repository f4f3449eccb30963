"""The network context inside a query: compiled to CIDRs (`inline`), or left to fields that the SIEM fills (`enriched`).

Both take the canonical items of a rule (`source.zone`, `network.scope` …) and give back items on addresses, or on
the same names, for the field mapping to rename.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from sigma.conditions import ConditionOR
from sigma.processing.transformations.base import DetectionItemTransformation
from sigma.rule import SigmaDetectionItem
from sigma.types import (
    CompareOperators,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaNull,
    SigmaType,
)

from ewdetect.backends.findings import Findings
from ewdetect.backends.tree import Node, constant, every, item, negate, plain, some
from ewdetect.model import Field
from ewdetect.network import IPNetwork, Network, cidrs_where, values_of
from ewdetect.problems import suggest

SIDES = ("source", "destination")
# Group addresses belong to nobody, so they are never inside: RFC 5771, RFC 4291 2.7, RFC 919 7.
_GROUPS: tuple[IPNetwork, ...] = (
    IPv4Network("224.0.0.0/4"), IPv4Network("255.255.255.255/32"), IPv6Network("ff00::/8"))
# The derived fields that say something about addresses and not about the record.
_DERIVED = frozenset({"network.type", "network.scope", "network.cross_zone", "network.cross_env"})
_SCOPES: Mapping[str, tuple[bool, bool]] = {
    "internal": (True, True), "inbound": (False, True), "outbound": (True, False), "external": (False, False)}
# Up to so many values, `differs` is written out pair by pair, which is easier to read than `not the same`.
_PAIRED = 4
_COMPARE: Mapping[CompareOperators, Callable[[Any, Any], Any]] = {
    CompareOperators.LT: operator.lt, CompareOperators.LTE: operator.le,
    CompareOperators.GT: operator.gt, CompareOperators.GTE: operator.ge}


def in_cidrs(side: str, cidrs: Iterable[IPNetwork]) -> SigmaDetectionItem:
    """The address of a side is in any of the CIDRs; never true without CIDRs."""
    return item(f"{side}.ip", [SigmaCIDRExpression(str(cidr)) for cidr in cidrs])


def address_family(wanted: Iterable[Any]) -> Node:
    """`network.type`, told from the source: every flow has one family."""
    return some(*(in_cidrs("source", [IPv4Network("0.0.0.0/0")]) if value == "ipv4" else
                  negate(in_cidrs("source", [IPv4Network("0.0.0.0/0")])) for value in wanted))


def _apart(cidr: IPNetwork, group: IPNetwork) -> list[IPNetwork]:
    """What of a CIDR is outside a group range."""
    if cidr.version != group.version or not cidr.overlaps(group):
        return [cidr]
    return [] if cidr.subnet_of(group) else list(cidr.address_exclude(group))  # type: ignore[arg-type]


def apart_from_groups(*cidrs: IPNetwork) -> list[IPNetwork]:
    """What of networks are addresses of hosts."""
    left = list(cidrs)
    for group in _GROUPS:
        left = [part for cidr in left for part in _apart(cidr, group)]
    return left


def internal_cidrs(network: Network) -> tuple[IPNetwork, ...]:
    """The addresses that count as inside for `network.scope`."""
    return tuple(apart_from_groups(*cidrs_where(network, "is_internal", [True])))


@dataclass
class ContextTransformation(DetectionItemTransformation):
    """The part that both ways share: which items are context, what they ask for, and that `|neq` is kept.

    pySigma keeps `neq` as a flag of the item, so a replacement has to carry it over.
    """

    findings: Findings
    fields: Mapping[str, Field]
    network: Network | None

    def apply_detection_item(self, detection_item: SigmaDetectionItem) -> Any:
        field = self.fields.get(detection_item.field or "")
        if field is None or not (field.origin == "context" or field.name in _DERIVED) or self._left(detection_item):
            return None
        wanted = self._wanted(field, detection_item)
        if wanted is None:
            return None
        made = self._made(field, wanted)
        if made is None:
            return None
        return negate(made) if detection_item.negated else made

    def _left(self, asked: SigmaDetectionItem) -> bool:
        """Whether the field mapping can do with the item as it is."""
        return False

    def _made(self, field: Field, wanted: tuple[Any, ...]) -> Node | None:
        """The replacement of a positive item; None, and a problem, where there is none."""
        raise NotImplementedError

    def _wanted(self, field: Field, asked: SigmaDetectionItem) -> tuple[Any, ...] | None:
        """The plain values that the item accepts. None, and a problem, for what is no list of values."""
        if len(asked.value) > 1 and asked.value_linking is not ConditionOR:
            self._refuse(field, "`|all` asks for several values of one attribute at once")
            return None
        try:
            return tuple(dict.fromkeys(v for value in asked.value for v in self._accepted(field, value)))
        except ValueError:
            self._refuse(field, "the context is compared as a whole word, or as a number, only")
            return None

    def _refuse(self, field: Field, why: str) -> None:
        self.findings.refuse(
            "convert/unsupported", f"`{field.name}`: {why}", field.name,
            "name the values; for two sides that differ use `network.cross_zone` or `network.cross_env`")

    def _accepted(self, field: Field, value: SigmaType) -> Sequence[Any]:
        """The values of the context that one value of the rule stands for."""
        known = self._known(field)
        match value:
            case SigmaExists() if known is not None:
                return known if value.exists else [None]
            case SigmaCompareExpression() if known is not None:
                return [v for v in known if _COMPARE[value.op](v, value.number.number)]
        return [plain(value)]

    def _known(self, field: Field) -> tuple[Any, ...] | None:
        """Every value that the attribute has in the network; None where no network says so."""
        attribute = field.name.partition(".")[2]
        return values_of(self.network, attribute) if self.network and field.origin == "context" else None

    def _checked(self, field: Field, wanted: tuple[Any, ...]) -> bool:
        """Whether the network has any of the values. A word that no entry has is most likely misspelt."""
        known = self._known(field)
        if known is None or self.network is None:
            return True
        strange = [v for v in wanted if v is not None and v not in known]
        if not strange:
            return True
        said = ", ".join(f"`{_shown(v)}`" for v in strange)
        if len(strange) == len(wanted) and field.type == "string":
            self.findings.refuse(
                "convert/unknown-context-value", f"no entry of {self.network.path} has {field.name} {said}",
                field.name, suggest(str(strange[0]), [str(v) for v in known]))
            return False
        self.findings.note(f"No entry of the network `{self.network.name}` has {field.name} {said}; "
                           "that part of the condition is never true.")
        return True


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class InlineContext(ContextTransformation):
    """Context as CIDRs of the addresses, exactly those of which the longest prefix says so."""

    def _made(self, field: Field, wanted: tuple[Any, ...]) -> Node | None:
        if field.name == "network.type":
            return address_family(wanted)
        if self.network is None:
            self.findings.refuse("convert/no-network", f"`{field.name}` needs the network context", field.name,
                                 "name a network file with --network, or convert with --context enriched")
            return None
        if field.origin == "context":
            return self._attribute(field, wanted, self.network) if self._checked(field, wanted) else None
        if field.name == "network.scope":
            return _scope(self.network, wanted)
        differs = _differs(self.network, field.name.removeprefix("network.cross_"))
        return some(*(differs if value else negate(differs) for value in wanted))

    def _attribute(self, field: Field, wanted: tuple[Any, ...], network: Network) -> Node:
        """Where the wanted values hold. With the default among them: everywhere but where the other values hold."""
        side, _, attribute = field.name.partition(".")
        if network.defaults[attribute] not in wanted:
            return in_cidrs(side, cidrs_where(network, attribute, wanted))
        others = [value for value in values_of(network, attribute) if value not in wanted]
        return negate(in_cidrs(side, cidrs_where(network, attribute, others)))


def _scope(network: Network, wanted: Iterable[Any]) -> Node:
    inside = internal_cidrs(network)
    return some(*(every(*(in_cidrs(side, inside) if is_in else negate(in_cidrs(side, inside))
                          for side, is_in in zip(SIDES, _SCOPES[scope], strict=True))) for scope in wanted))


def _differs(network: Network, attribute: str) -> Node:
    """Both sides are known and not the same; the default says nothing, so it never differs."""
    values = [value for value in values_of(network, attribute) if value != network.defaults[attribute]]

    def where(side: str, chosen: Sequence[Any]) -> Node:
        return in_cidrs(side, cidrs_where(network, attribute, chosen))

    if len(values) < 2:
        return in_cidrs(SIDES[0], [])
    if len(values) <= _PAIRED:
        return some(*(every(where(SIDES[0], [v]), where(SIDES[1], [o for o in values if o != v])) for v in values))
    same = some(*(every(where(SIDES[0], [v]), where(SIDES[1], [v])) for v in values))
    return every(where(SIDES[0], values), where(SIDES[1], values), negate(same))


@dataclass
class EnrichedContext(ContextTransformation):
    """Context as fields that the SIEM's enrichment filled; the field mapping renames them.

    An address that no entry covers has the default, whether the enrichment writes it or leaves the field out.
    """

    def _made(self, field: Field, wanted: tuple[Any, ...]) -> Node | None:
        if field.name == "network.type":
            return address_family(wanted)
        if not self._checked(field, wanted):
            return None
        self.findings.note("The fields of the network context must be filled by the SIEM's enrichment, from the same "
                           "network file, in lower case.")
        implied = self._default(field) in wanted and None not in wanted
        return item(field.name, [*self._constants(wanted), *([SigmaNull()] if implied else [])])

    def _left(self, asked: SigmaDetectionItem) -> bool:
        return any(isinstance(value, SigmaCompareExpression) for value in asked.value)

    def _default(self, field: Field) -> Any:
        return False if field.type == "boolean" else field.default

    def _constants(self, wanted: Iterable[Any]) -> list[SigmaType]:
        return [constant(value) for value in wanted]

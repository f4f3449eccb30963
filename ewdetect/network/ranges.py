"""The line of all addresses: prefixes as ranges of numbers, and the disjoint segments that they make.

Every address is one number of 128 bits, with IPv4 at ::ffff:0:0/96 (RFC 4291, 2.5.5.2), so the two families
are one line to sweep. They stay apart all the same: an IPv6 prefix that spans that block, such as ::/0,
covers no IPv4 address, and no segment reaches from one family into the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, summarize_address_range
from typing import Any

from ewdetect.network.context import Entry, IPNetwork, Network

V4_FIRST = 0xFFFF << 32
V4_LAST = V4_FIRST + 2**32 - 1
_ALL_LAST = 2**128 - 1
_FAMILY_EDGES = (V4_FIRST, V4_LAST + 1)


@dataclass(frozen=True, slots=True)
class Segment:
    """Addresses `first` to `last` (128-bit numbers, both included, one family) that have the same attributes.

    `attributes` has every attribute of the context; None means missing.
    """

    first: int
    last: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """A prefix as a range of numbers. `length` counts in 128 bits; of two that nest, the longer one is on top."""

    first: int
    last: int
    length: int
    cidr: IPNetwork
    attributes: Mapping[str, Any]
    entry: Entry | None = None


def address_int(text: str) -> int:
    """The 128-bit number of an IPv4, IPv6 or IPv4-mapped address. Raises ValueError for anything else."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone id, which means nothing on another host")
    address = ip_address(text)
    return int(address) + (V4_FIRST if address.version == 4 else 0)


def segments(network: Network) -> tuple[Segment, ...]:
    """The covered space as disjoint ranges in order, neighbours with equal attributes merged.

    Covered means by an entry or by `internal:`; every other address has `network.defaults`.
    """
    return tuple(_merged(sweep(layers_of(network), network.defaults)))


def cidrs_where(network: Network, attribute: str, values: Iterable[Any]) -> tuple[IPNetwork, ...]:
    """The fewest CIDRs that hold exactly the addresses whose `attribute` is one of `values`, IPv4 first.

    The whole address space counts, so a default such as zone `unknown` can be asked for, and None asks for
    the addresses that lack the attribute. Raises KeyError for an attribute that the context does not have.
    """
    return _cidrs_where(network, attribute, frozenset(v.lower() if isinstance(v, str) else v for v in values))


# Rules ask the same few things of one network again and again.
@lru_cache(maxsize=256)
def _cidrs_where(network: Network, attribute: str, wanted: frozenset[Any]) -> tuple[IPNetwork, ...]:
    base = {"wanted": network.defaults[attribute] in wanted}
    layers = [replace(layer, attributes={"wanted": layer.attributes[attribute] in wanted})
              for layer in layers_of(network) if attribute in layer.attributes]
    found = [cidr for segment in _merged(sweep([*_everything(), *layers], base))
             if segment.attributes["wanted"] for cidr in _cidrs(segment)]
    return tuple(sorted(found, key=lambda cidr: (cidr.version, int(cidr.network_address))))


def pieces(network: Network) -> Iterator[tuple[IPNetwork, Mapping[str, Any]]]:
    """The segments as networks that do not overlap, with what each address in them is."""
    for segment in segments(network):
        for cidr in _cidrs(segment):
            yield cidr, segment.attributes


@lru_cache(maxsize=64)
def values_of(network: Network, attribute: str) -> tuple[Any, ...]:
    """All values that `attribute` has somewhere, in order, its default included. Raises KeyError as cidrs_where."""
    found = {layer.attributes[attribute] for layer in layers_of(network) if attribute in layer.attributes}
    return tuple(sorted(found | {network.defaults[attribute]} - {None}))


@lru_cache(maxsize=2)
def layers_of(network: Network) -> tuple[Layer, ...]:
    """What the file says, as ranges. `internal:` comes first: of equal prefixes, the later one is on top."""
    layers = [Layer(first, last, _length(cidr), cidr, {"is_internal": True})
              for cidr in network.internal for first, last in _ranges(cidr)]
    for entry in network.entries:
        attributes = {**entry.attributes, "known": True}
        layers += [Layer(first, last, _length(entry.cidr), entry.cidr, attributes, entry)
                   for first, last in _ranges(entry.cidr)]
    return tuple(layers)


def _everything() -> list[Layer]:
    """The whole of both families, saying nothing, beneath all other layers."""
    return [Layer(first, last, -1, cidr, {})
            for cidr in (IPv4Network("0.0.0.0/0"), IPv6Network("::/0")) for first, last in _ranges(cidr)]


def _length(cidr: IPNetwork) -> int:
    return cidr.prefixlen + (96 if cidr.version == 4 else 0)


def _ranges(cidr: IPNetwork) -> list[tuple[int, int]]:
    """The numbers of a network: one range, or what is left at both sides of IPv4 for a wide IPv6 prefix."""
    first, last = int(cidr.network_address), int(cidr.broadcast_address)
    if cidr.version == 4:
        return [(first + V4_FIRST, last + V4_FIRST)]
    if first <= V4_FIRST and last >= V4_LAST:
        sides = [(first, V4_FIRST - 1), (V4_LAST + 1, last)]
        return [(start, end) for start, end in sides if start <= end]
    return [(first, last)]


def stacked(layers: Iterable[Layer]) -> list[Layer]:
    """In the order of a sweep: outer before inner, lower before upper.

    The length decides between equal ranges, for ::/0 and ::/80 both end where IPv4 begins.
    """
    return sorted(layers, key=lambda layer: (layer.first, -layer.last, layer.length))


def sweep(layers: Iterable[Layer], base: Mapping[str, Any]) -> Iterator[Segment]:
    """Disjoint pieces in order. Prefixes nest or are apart, so a stack of the open ones is all it takes."""
    open_: list[Segment] = []
    cursor = 0
    for layer in [*stacked(layers), None]:
        start = layer.first if layer else _ALL_LAST + 1
        while open_ and open_[-1].last < start:
            closed = open_.pop()
            if cursor <= closed.last:
                yield Segment(cursor, closed.last, closed.attributes)
            cursor = closed.last + 1
        if open_ and cursor < start:
            yield Segment(cursor, start - 1, open_[-1].attributes)
        cursor = start
        if layer:
            outer = open_[-1].attributes if open_ else base
            open_.append(Segment(start, layer.last, {**outer, **layer.attributes}))


def _merged(pieces: Iterable[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if before and _continues(before, piece):
            merged[-1] = Segment(before.first, piece.last, piece.attributes)
        else:
            merged.append(piece)
    return merged


def _continues(before: Segment, piece: Segment) -> bool:
    return (before.last + 1 == piece.first and piece.first not in _FAMILY_EDGES
            and before.attributes == piece.attributes)


def _cidrs(segment: Segment) -> Iterable[IPNetwork]:
    if V4_FIRST <= segment.first <= V4_LAST:
        return summarize_address_range(IPv4Address(segment.first - V4_FIRST), IPv4Address(segment.last - V4_FIRST))
    return summarize_address_range(IPv6Address(segment.first), IPv6Address(segment.last))

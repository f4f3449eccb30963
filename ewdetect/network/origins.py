"""Where each attribute of an address comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ewdetect.network.context import Entry, Network
from ewdetect.network.ranges import Layer, address_int, layers_of


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one place says about one attribute of an address; `entry` is None for `internal:` and for defaults."""

    attribute: str
    value: Any
    entry: Entry | None
    wins: bool
    reason: str


def explain(network: Network, address: str) -> tuple[Contribution, ...]:
    """Where each attribute of an address comes from: attributes in the order of flow.yml, least specific first.

    Exactly one contribution per attribute wins; a default is listed only where it does. Raises ValueError for
    what is not an address.
    """
    number = address_int(address)
    covering = sorted((layer for layer in layers_of(network) if layer.first <= number <= layer.last),
                      key=lambda layer: layer.length)
    return tuple(contribution for attribute, default in network.defaults.items()
                 for contribution in _contributions(attribute, default, covering))


def _contributions(attribute: str, default: Any, covering: list[Layer]) -> list[Contribution]:
    saying = [layer for layer in covering if attribute in layer.attributes]
    if not saying:
        reason = "no entry says it" if default is None else "no entry says it: the default"
        return [Contribution(attribute, default, None, True, reason)]
    *beaten, winner = saying
    return [
        *(Contribution(attribute, layer.attributes[attribute], layer.entry, False,
                       f"{_place(layer)} is overridden by {_place(winner)}") for layer in beaten),
        Contribution(attribute, winner.attributes[attribute], winner.entry, True,
                     f"{_place(winner)} is the most specific that says it")]


def _place(layer: Layer) -> str:
    return str(layer.cidr) if layer.entry else f"{layer.cidr} of `internal:`"

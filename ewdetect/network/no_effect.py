"""Warnings about entries that change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ewdetect.network.context import IPNetwork, Network
from ewdetect.network.ranges import Layer, Segment, layers_of, stacked, sweep
from ewdetect.problems import Problem, Severity


def lint(network: Network) -> list[Problem]:
    """Warnings about entries that change nothing: never on top, or repeating what they stand in."""
    layers = layers_of(network)
    on_top, changing = _on_top(layers), _changing(layers, network.defaults)
    problems = []
    for entry in network.entries:
        if entry.cidr not in on_top:
            problems.append(Problem(
                "network/unreachable-entry", f"more specific entries override all that {entry.cidr} says",
                entry.location, "remove the entry, or one of those inside it", Severity.WARNING))
        elif entry.cidr not in changing:
            problems.append(Problem(
                "network/overlapping-duplicate", f"{entry.cidr} only repeats what it inherits and has no effect",
                entry.location, "remove the entry, or give it what sets it apart", Severity.WARNING))
    return problems


def _on_top(layers: Sequence[Layer]) -> set[IPNetwork]:
    """The entries that decide at least one attribute of at least one address."""
    owners = [replace(layer, attributes=dict.fromkeys(layer.attributes, layer.cidr if layer.entry else None))
              for layer in layers]
    return {owner for piece in sweep(owners, {}) for owner in piece.attributes.values()}


def _changing(layers: Sequence[Layer], base: Mapping[str, Any]) -> set[IPNetwork]:
    """The entries that say something else than what they inherit."""
    changing: set[IPNetwork] = set()
    open_: list[Segment] = []
    for layer in stacked(layers):
        while open_ and open_[-1].last < layer.first:
            open_.pop()
        inherited = open_[-1].attributes if open_ else base
        if layer.entry and any(inherited.get(name) != value for name, value in layer.attributes.items()):
            changing.add(layer.cidr)
        open_.append(Segment(layer.first, layer.last, {**inherited, **layer.attributes}))
    return changing

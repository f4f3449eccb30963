"""A context file as a frozen value: prefixes with attributes, the longest prefix winning per attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from ewdetect.problems import Location

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of `networks:` as the user wrote it: only the attributes it names, strings in lower case."""

    cidr: IPNetwork
    attributes: Mapping[str, Any]
    location: Location


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A context file. No two entries have the same CIDR, and IPv4-mapped ones are IPv4 networks.

    A network is equal to itself alone, so that what was worked out of it can be kept.

    `defaults` has every attribute of the context, with None for those that are missing where no entry gives them.
    """

    name: str
    path: str
    entries: tuple[Entry, ...]
    internal: tuple[IPNetwork, ...]
    defaults: Mapping[str, Any]

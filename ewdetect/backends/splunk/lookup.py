"""The network context as a lookup table of Splunk: a CSV of disjoint networks.

Splunk takes the first matching row in file order and knows no longest prefix (transforms.conf.spec); networks that
do not overlap need neither. An address has one row or none, and none means the defaults.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.backends.context import apart_from_groups
from ewdetect.backends.vocabulary import shared_block
from ewdetect.network import IPNetwork, Network, pieces

Row = tuple[IPNetwork, Mapping[str, Any]]


def context_table(network: Network) -> str:
    """The table of a network, under the columns that mappings/cim.yml names."""
    names = shared_block("cim", "lookup")
    return lookup_csv(network, names["key"], names["inside"])


def lookup_csv(network: Network, key: str, inside: str) -> str:
    """The table: the column `key` holds networks, `inside` what `network.scope` goes by, the others are attributes.

    Flags are `true` or `false`, words in lower case; an attribute that an address lacks is an empty cell.
    """
    attributes = sorted(network.defaults)
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([key, inside, *attributes])
    for cidr, said in _rows(network):
        writer.writerow([str(cidr), _cell(said["inside"]), *(_cell(said.get(name)) for name in attributes)])
    return made.getvalue()


def _rows(network: Network) -> Iterator[Row]:
    """Each network of one meaning. Group addresses stand apart, since they are never inside."""
    for cidr, attributes in pieces(network):
        if attributes == network.defaults:
            continue
        inner = apart_from_groups(cidr) if attributes["is_internal"] else []
        for part in inner:
            yield part, {**attributes, "inside": True}
        for part in _rest(cidr, inner):
            yield part, {**attributes, "inside": False}


def _rest(cidr: IPNetwork, taken: list[IPNetwork]) -> list[IPNetwork]:
    """What of a network is in none of its parts."""
    left = [cidr]
    for part in taken:
        left = [piece for one in left for piece in _but(one, part)]
    return left


def _but(cidr: IPNetwork, part: IPNetwork) -> list[IPNetwork]:
    if not part.overlaps(cidr):
        return [cidr]
    return [] if part == cidr else list(cidr.address_exclude(part))     # type: ignore[arg-type]


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower()

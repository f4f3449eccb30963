"""The network context as a lookup table of Splunk: a CSV of disjoint networks, and the stanza that reads it.

Splunk takes the first matching row in file order and knows no longest prefix (transforms.conf.spec); networks that
do not overlap need neither. An address has one row or none, and none means the defaults.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.backends.context import apart_from_groups
from ewdetect.backends.splunk.conf import Stanza
from ewdetect.network import IPNetwork, Network, pieces

Row = tuple[IPNetwork, Mapping[str, Any]]


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


def transforms(name: str, key: str, filename: str) -> Stanza:
    """The stanza of transforms.conf. One match is all there is."""
    return Stanza(name, {"filename": filename, "match_type": f"CIDR({key})", "max_matches": 1,
                         "case_sensitive_match": True})


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
        left = [piece for one in left for piece in (
            list(one.address_exclude(part)) if part.subnet_of(one) else [one])]    # type: ignore[arg-type]
        if part == cidr:
            return []
    return left


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower()

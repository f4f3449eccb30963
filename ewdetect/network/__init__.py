"""The network context: what the user says about addresses."""

from ewdetect.network.context import Entry, IPNetwork, Network
from ewdetect.network.no_effect import lint
from ewdetect.network.origins import Contribution, explain
from ewdetect.network.ranges import Segment, address_int, cidrs_where, pieces, segments, values_of
from ewdetect.network.read import DEFAULT_INTERNAL, network_from

__all__ = [
    "DEFAULT_INTERNAL",
    "Contribution",
    "Entry",
    "IPNetwork",
    "Network",
    "Segment",
    "address_int",
    "cidrs_where",
    "explain",
    "lint",
    "network_from",
    "pieces",
    "segments",
    "values_of",
]

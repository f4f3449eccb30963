"""Rules of the types that Sigma does not have, and why a SIEM cannot take them as they are meant."""

from __future__ import annotations

from collections.abc import Mapping

from ewdetect.backends.base import unsupported
from ewdetect.model import OWN_KINDS
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule

# What holds for every SIEM. A backend that gains an exact form leaves the line out of its `cannot`.
CANNOT: Mapping[str, str] = {
    "deviation": "an empty bucket has no event, so a search over events does not see the zeros of the past, and a "
                 "search that does must read the whole history at every run",
    "beacon": "the score needs quartiles and deviations over a sliding window, and what SIEMs offer as percentiles "
              "is approximate or of another rank",
}


def refuse_types(resolved: ResolvedRule, target: str, cannot: Mapping[str, str]) -> None:
    """Raises Rejected with every document below the rule whose type the target refuses."""
    found = [unsupported(part, target, f"`{part.kind}`", cannot[part.kind], part.document.at("ewdetect", "type"),
                         "run it with `ewdetect backtest`")
             for part in resolved.parts if part.kind in OWN_KINDS and part.kind in cannot]
    if found:
        raise Rejected(found)

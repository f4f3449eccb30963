"""What the tests of converted correlations share: flows as Splunk holds them, and the alerts of both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from ewdetect.backends.splunk import correlation as emitter
from ewdetect.backends.splunk.query import SplunkBackend
from ewdetect.convert import convert_rule
from ewdetect.model import Alert, Kind
from ewdetect.plan import plan
from ewdetect.resolve import ResolvedRule
from tests.convert_world import context_of, derived, document, office
from tests.engines.spl import run

Hit = tuple[tuple[str, ...], int, float]        # group values in the order of the keys, crossing in µs, value
SECOND = 1_000_000


@cache
def context(address: str) -> Mapping[str, Any]:
    """What the office network says of an address."""
    return context_of(office(), address)


def documents(flows: Sequence[Mapping[str, Any]], enriched: bool) -> list[dict[str, Any]]:
    """Canonical flows as mappings/flow/splunk.yml promises them, with a fraction in `_time`."""
    made = []
    for number, flow in enumerate(flows):
        sides = {side: context(flow[f"{side}.ip"]) for side in ("source", "destination")}
        whole = {**flow, **{f"{side}.{key}": value for side, has in sides.items() for key, value in has.items()}}
        event = document("flow", {"id": number}, whole | derived(whole, sides), "splunk", enriched)
        made.append({**event, "_time": Decimal(flow["event.start"]) / SECOND})
    return made


def searched(text: str, resolved: ResolvedRule, events: Sequence[Mapping[str, Any]],
             seed: int | None = None) -> list[Hit]:
    """The alerts that Splunk makes of a query."""
    keys = [key.name for key in plan(resolved)[-1].keys]    # type: ignore[union-attr]
    rows = run(text, events, shuffle=seed)
    assert all(row.keys() == {"_time", "ew_value", *keys} for row in rows)
    return sorted((tuple(str(row[key]) for key in keys), int(row["_time"] * SECOND), float(row["ew_value"]))
                  for row in rows)


def told(alerts: Sequence[Alert]) -> list[Hit]:
    """The alerts of the reference engine in the same form."""
    return sorted((tuple(str(value) for value in alert.group.values()), alert.crossing, float(alert.value or 0))
                  for alert in alerts)


def converted(resolved: ResolvedRule, how: str) -> str:
    """The query of a correlation; of an event rule with suppression, its stages, which `convert` leaves to Splunk."""
    if resolved.rule.kind is Kind.EVENT:
        return emitter.render(resolved, how, SplunkBackend.target()).text
    return convert_rule(resolved, SplunkBackend(), how).text

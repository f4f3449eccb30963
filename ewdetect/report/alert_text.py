"""One alert as an analyst reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ewdetect.model import OWN_KINDS, Alert, Kind, Rule
from ewdetect.report.words import count, host, safe

LEVEL_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
_SIDES = ("source.ip", "destination.ip")
_OPERATORS = {"gte": "", "gt": "more than ", "lt": "less than ", "lte": "at most ", "eq": "exactly ", "neq": "not "}
_SAID = ("network.transport", "network.protocol", "flow.outcome", "event.action")      # of a flow, in words
_HOSTS, _FLOWS = 2, 3       # shown of each alert

Clock = Callable[[int], str]


def alert_text(alert: Alert, clock: Clock) -> RenderableType:
    """A block of a few lines; `clock` writes times. The volumes of a flow are the initiator's and the responder's."""
    head = Text(f"{clock(alert.crossing)}  ").append(f"{alert.rule.level:<9}", LEVEL_STYLES.get(alert.rule.level, ""))
    head.append(safe(alert.rule.title), "bold").append(f"  {alert.rule.name}", "dim")
    lines = [Text(line) for line in (_sides(alert), _measured_with_group(alert), _span(alert, clock)) if line]
    flows = [Padding(Text(_flow(flow, clock)), (0, 0, 0, 2)) for flow in _ends(alert.samples)]
    step = first_step(alert.rule)
    following = [Text().append("next: ", "green").append(step)] if step else []
    return Group(head, Padding(Group(*lines, *flows, *following), (0, 0, 1, 4)))


def actor(alert: Alert) -> str:
    """The host that the alert is about: the source, the host in the middle of a chain, or else the first address."""
    for value in (alert.group.get(_SIDES[0]), *alert.group.values()):
        if isinstance(value, str) and value in alert.context:
            return value
    return str(alert.samples[0][_SIDES[0]]) if alert.samples else ""


def measured(alert: Alert) -> str:
    """What crossed the threshold, such as `37 distinct destination.ip within 10m, threshold 25`."""
    body = alert.rule.body.get("correlation")
    if alert.rule.kind in OWN_KINDS:
        return _own(alert)
    if body is None:
        suppress = alert.rule.meta.get("suppress")
        return f"first match within {suppress['for']}" if suppress else "one match"
    if body["type"] == "temporal_ordered":
        return f"{', then '.join(map(str, body['rules']))}, within {body['timespan']}"
    return f"{_value(alert)} {_unit(body)} within {body['timespan']}{_threshold(body)}"


def _own(alert: Alert) -> str:
    says = alert.rule.meta
    match alert.rule.kind:
        case Kind.FIRST_SEEN:
            return f"not seen for {says['history']}: {', '.join(says['fields'])}"
        case Kind.BEACON:
            return f"regular for {says['lasting']} or more within {says['timespan']}, score {alert.value}, " \
                   f"threshold {says['score']}"
    what = f"{says['metric']} of {says['field']}" if "field" in says else "flows"
    way = "far above" if "above" in says else "far below"
    return f"{_value(alert)} {what} within {says['bucket']}, {way} the median of {says['history']}"


def first_step(rule: Rule) -> str:
    """The first step of the investigation guide, without its number."""
    lines = [line.strip() for line in str(rule.meta.get("guide", "")).splitlines() if line.strip()]
    return safe(lines[0].lstrip("0123456789").lstrip(".) ")) if lines else ""


def _value(alert: Alert) -> str:
    value = alert.value
    return "?" if value is None else f"{value:,}" if isinstance(value, int) or value.is_integer() else f"{value:,.3f}"


def _unit(body: Mapping[str, Any]) -> str:
    asked = (body.get("condition") or {}).get("field", "")
    field = " with ".join(asked) if isinstance(asked, list) else asked
    match body["type"]:
        case "event_count":
            return "flows"
        case "value_count":
            return f"distinct {field}"
        case "temporal":
            return f"of the rules {', '.join(map(str, body['rules']))}"
    return f"{body['type'].removeprefix('value_')} of {field}"


def _threshold(body: Mapping[str, Any]) -> str:
    condition = body.get("condition") or {}
    return next((f", threshold {word}{condition[op]:,}" for op, word in _OPERATORS.items() if op in condition), "")


def _measured_with_group(alert: Alert) -> str:
    """What was measured, and the group values that are no side of the connection."""
    rest = [f"{key} {safe(value)}" for key, value in alert.group.items()
            if key not in _SIDES and value not in alert.context]
    return "; ".join([measured(alert), ", ".join(rest)] if rest else [measured(alert)])


def _ends(samples: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The first flows and the last: a chain or a scan with what followed is told by both ends."""
    return samples if len(samples) <= _FLOWS else (*samples[:_FLOWS - 1], samples[-1])


def _sides(alert: Alert) -> str:
    """Who reached whom. In a chain the flows below say it, and here stands the host in its middle."""
    in_chain = [f"{key} {host(value, alert.context)}" for key, value in alert.group.items()
                if key not in _SIDES and isinstance(value, str) and value in alert.context]
    if in_chain and not set(_SIDES) & alert.group.keys():
        return ", ".join(in_chain)
    source, destination = (_hosts(alert, side) for side in _SIDES)
    return f"{source} → {destination}"


def _hosts(alert: Alert, side: str) -> str:
    seen = dict.fromkeys([alert.group[side]] if side in alert.group else [str(f[side]) for f in alert.samples])
    shown = ", ".join(host(address, alert.context) for address in list(seen)[:_HOSTS])
    more = len(seen) > _HOSTS or (side not in alert.group and len(alert.evidence) > len(alert.samples))
    return shown + (" and others" if more else "")


def _span(alert: Alert, clock: Clock) -> str:
    evidence = count(len(alert.evidence), "flow") + " of evidence"
    if clock(alert.start) == clock(alert.end):
        return evidence
    return f"first {clock(alert.start)}, last {clock(alert.end)}, {evidence}"


def _flow(flow: Mapping[str, Any], clock: Clock) -> str:
    ends = (_end(flow, side) for side in ("source", "destination"))
    said = (flow.get(name) for name in _SAID)
    told = dict.fromkeys(safe(word) for word in said if word)
    return "  ".join([clock(flow["event.start"]), " → ".join(ends), " ".join([*told, *_volume(flow)])])


def _end(flow: Mapping[str, Any], side: str) -> str:
    address, port = safe(flow[f"{side}.ip"]), flow.get(f"{side}.port")
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _volume(flow: Mapping[str, Any]) -> Iterator[str]:
    sent, received = flow.get("source.bytes"), flow.get("destination.bytes")
    if sent is not None or received is not None:
        yield f"{_bytes(sent)}/{_bytes(received)}"


def _bytes(number: int | None) -> str:
    if number is None:
        return "?"
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def by_actor(alerts: Sequence[Alert]) -> dict[str, list[Alert]]:
    """Alerts of one host together; hosts and alerts in the order of their first crossing."""
    hosts: dict[str, list[Alert]] = {}
    for alert in alerts:
        hosts.setdefault(actor(alert), []).append(alert)
    return hosts

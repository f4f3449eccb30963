"""What the engine's tests share: the shipped vocabulary, and rules and flows written down shortly."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ewdetect.engine import Engine, open_flows
from ewdetect.flows import Orientation, Source
from ewdetect.load import context_fields, load_fields, load_network, load_orientation, load_source
from ewdetect.model import Alert, Field, Kind, Pack, Rule
from ewdetect.network import Network, network_from
from ewdetect.resolve import resolve_rule
from ewdetect.yamlfile import Document, dump, parse_documents

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("EWDETECT_SHARED_DATA", ROOT.parent / "shared" / "data"))
DAY = 1_768_435_200_000_000         # 2026-01-15 00:00 UTC in microseconds


@cache
def fields() -> Mapping[str, Field]:
    return load_fields()


@cache
def orientation() -> Orientation:
    return load_orientation()


@cache
def source(name: str) -> Source:
    return load_source(name, fields())


@cache
def office() -> Network:
    return load_network(ROOT / "fixtures" / "networks" / "office.yml", fields())


def network(text: str) -> Network:
    return network_from(parse_documents(text, "network.yml")[0], context_fields(fields()))


def pack(*documents: Mapping[str, Any]) -> Pack:
    """Documents as rules, taken as they are. `alerts` is true for all."""
    parsed = parse_documents("---\n".join(dump(dict(d)) for d in documents), "rules.yml")
    return Pack({d.data["name"]: _rule(d) for d in parsed if "filter" not in d.data},
                tuple(_rule(d) for d in parsed if "filter" in d.data))


def _rule(document: Document) -> Rule:
    body = document.data
    own = body.get("ewdetect") or {}
    kind = (Kind.CORRELATION if "correlation" in body else Kind.FILTER if "filter" in body
            else Kind(own["type"]) if "type" in own else Kind.EVENT)
    named = own["rule"] if "type" in own else body.get("correlation", body.get("filter", {})).get("rules", ())
    return Rule(body["name"], body.get("id", body["name"]), kind, body["name"], "medium", "test", body, document,
                (named,) if isinstance(named, str) else tuple(named))


def event_rule(name: str, selection: Any, condition: str = "selection", **more: Any) -> dict[str, Any]:
    """An event rule. `more` are further selections."""
    return {"title": name, "name": name, "logsource": {"category": "network", "service": "connection"},
            "detection": {"selection": selection, **more, "condition": condition}}


def correlation(name: str, kind: str, rules: Sequence[str], timespan: str, **more: Any) -> dict[str, Any]:
    """A correlation; `group_by` in more is its group-by."""
    body = {k.replace("_", "-"): v for k, v in more.items()}
    return {
        "title": name,
        "name": name,
        "correlation": {"type": kind, "rules": list(rules), "timespan": timespan, **body},
    }


def own_rule(name: str, kind: str, base: str, **more: Any) -> dict[str, Any]:
    """A rule of a type of our own; `group_by` in more is its group-by."""
    return {"title": name, "name": name,
            "ewdetect": {"type": kind, "rule": base, **{k.replace("_", "-"): v for k, v in more.items()}}}


def open_office(flows: Sequence[Mapping[str, Any]]) -> Engine:
    return open_flows(flows, office(), source("flow"), fields(), orientation())


def alerts(flows: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]], rule: str) -> list[Alert]:
    """The alerts of one rule over canonical flows in the office network."""
    made = pack(*documents)
    with open_office(flows) as engine:
        return engine.alerts(resolve_rule(made.rules[rule], made))


def flow(number: int, second: float, **columns: Any) -> dict[str, Any]:
    """A canonical flow; `source_ip` stands for `source.ip`."""
    named = {k.replace("_", ".", 1): v for k, v in columns.items()}
    return {"event.id": f"f{number}", "event.start": DAY + round(second * 1_000_000), "source.ip": "10.10.0.1",
            "destination.ip": "10.30.0.1", "destination.port": 445, "network.transport": "tcp",
            "flow.outcome": "established", **named}

"""What the tests of Elastic queries share: a case's flows as the integrations index them, and an index for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from ewdetect.backends.vocabulary import load_vocabulary
from ewdetect.cases import Case
from tests.convert_world import context_of, derived, document, fields, office, source
from tests.engines.kibana import Flow
from tests.engines.sensors import raw_of, told_by

TIME_FIELD = {"flow": "@timestamp", "zeek_conn": "@timestamp", "suricata_eve": "event.start"}
_TYPES = {"ip": "ip", "port": "long", "integer": "long", "number": "double", "boolean": "boolean", "time": "date"}


@cache
def context(address: str) -> Mapping[str, Any]:
    """What the office network says of an address."""
    return context_of(office(), address)


def account(case: Case, name: str) -> list[dict[str, Any]]:
    """The case's flows as the sensor knows them."""
    return [told_by(name, flow) for flow in case.flows]


def indexed(flows: Sequence[Mapping[str, Any]], name: str, delay: int) -> list[Flow]:
    """The documents of a sensor's flows; some arrive as late as the delay (seconds) allows."""
    return [Flow(flow["event.start"] // 1000, flow["event.start"] // 1000 + (number * 7919 % 4) * delay * 1000 // 3,
                 _document(flow, name, number)) for number, flow in enumerate(flows)]


def _document(flow: Mapping[str, Any], name: str, number: int) -> dict[str, Any]:
    sides = {side: context(flow[f"{side}.ip"]) for side in ("source", "destination")}
    whole = {**flow, **{f"{side}.{key}": value for side, has in sides.items() for key, value in has.items()},
             "network.type": "ipv6" if ":" in flow["source.ip"] else "ipv4"}
    whole |= derived(whole, sides)
    made = document(name, raw_of(name, flow, number), whole, "elastic", True)
    counters = {key: flow[key] for side in ("source", "destination") for key in (f"{side}.bytes", f"{side}.packets")
                if flow[key] is not None}
    both = [flow["source.bytes"], flow["destination.bytes"]]
    if name != "flow" and None not in both:
        counters["network.bytes"] = sum(both)
    if flow.get("network.protocol") is not None:
        counters["network.protocol"] = flow["network.protocol"]
    return {key: value for key, value in {**made, **counters}.items() if key != "event.start"}


# What the node's own types stand for: it has no constant_keyword and no wildcard.
_AS = {"constant_keyword": "keyword", "wildcard": "keyword", "match_only_text": "text"}


def properties(documents: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The mapping of an index for documents: an integration maps all its fields, also those that no document has."""
    vocabulary = load_vocabulary("ecs", "elastic", source(name))
    always = {"@timestamp", "event.start", "data_stream.dataset", *vocabulary.conditions(), *vocabulary.raw.values()}
    names = {name for made in documents for name in made} | always | set(vocabulary.names(fields(), True).values())
    types = vocabulary.content["types"]
    return {name: {"type": _AS.get(types[name], types[name]) if name in types else _type(name)}
            for name in sorted(names)}


def _type(name: str) -> str:
    if name in ("@timestamp", "event.start"):
        return "date"
    canonical = fields().get(name.removeprefix("ew."))
    if name.endswith((".bytes", ".packets", ".duration")):
        return "long"
    if canonical is not None:
        return _TYPES.get(canonical.type, "keyword")
    return "long" if name.endswith(("icmp_type", "icmp_code", "icmp.type", "icmp.code")) else "keyword"

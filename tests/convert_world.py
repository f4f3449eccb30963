"""What the conversion tests share: rules written shortly, and random flows as each SIEM would hold them.

A flow exists three times: as the sensor's raw values, as the canonical flow with its context, and as the document
that the SIEM has. The canonical side is worked out here from source.yml's cases and the network's segments, in the
plainest way, so that it can be compared with what a converted query says of the document.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.convert import backend, convert_rule
from ewdetect.flows import FieldSpec, Source, Term
from ewdetect.load import context_fields, load_fields, load_network, load_pack, load_source
from ewdetect.model import OWN_KINDS, Field, Kind, Pack, Rule
from ewdetect.network import Network, address_int, network_from, segments
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from ewdetect.yamlfile import dump, parse_documents

ROOT = Path(__file__).parents[1]
SOURCES = ("flow", "suricata_eve", "zeek_conn")
# One rule for each thing that conversion does: golden files show these on every source, and the others on one.
REPRESENTATIVE = ("decoy_touch", "db_unapproved_role", "env_crossing", "large_internal_transfer", "pivot_chain",
                  "scan_icmp_sweep", "scan_ports", "scan_then_admin", "smb_fanout")
DIALECTS = {"lucene": "elastic", "esql": "elastic", "spl": "splunk"}


@cache
def fields() -> Mapping[str, Field]:
    return load_fields()


@cache
def office() -> Network:
    return load_network(ROOT / "fixtures" / "networks" / "office.yml", fields())


@cache
def source(name: str) -> Source:
    return load_source(name, fields())


@cache
def pack() -> Pack:
    return load_pack([ROOT / "rules"], fields())


def sayable(rule: Rule) -> bool:
    """Whether a rule stands on types that Sigma has alone; the others are refused by every SIEM."""
    return not any(part.kind in OWN_KINDS for part in resolve_rule(rule, pack()).parts)


def network(text: str) -> Network:
    return network_from(parse_documents(text, "network.yml")[0], context_fields(fields()))


def rule(selection: Any, condition: Any = "selection", **others: Any) -> Rule:
    """An event rule of one selection, or of more in `others`."""
    meta = others.pop("ewdetect", {})
    body = {"title": "Test", "name": "probe", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b11", "status": "test",
            "logsource": {"category": "network", "service": "connection"}, "level": "low",
            "detection": {"selection": selection, **others, "condition": condition}, "ewdetect": meta}
    document = parse_documents(dump(body), "probe.yml")[0]
    return Rule("probe", str(body["id"]), Kind.EVENT, "Test", "low", "test", document.data, document)


def anywhere(text: str) -> str:
    """A text with paths from the project's folder, wherever that lies."""
    return text.replace(f"{ROOT}/", "")


def refusal(rejected: Rejected) -> list[str]:
    """Each problem on a line, as golden files show it."""
    return [anywhere(f"{problem.code}: {problem.message}") for problem in rejected.problems]


def golden_forms(rule: Rule) -> Iterator[tuple[str, str]]:
    """The sources and ways of context on which golden files show a rule."""
    if rule.name in REPRESENTATIVE:
        yield from ((name, context) for name in SOURCES for context in ("inline", "enriched"))
    else:
        yield "zeek_conn", "enriched"


def bare(found: Rule) -> Rule:
    """An event rule's condition alone: nothing is suppressed, and base rules convert."""
    body: dict[str, Any] = {key: value for key, value in found.body.items() if key != "ewdetect"}
    return replace(found, body=body, alerts=True)


def sigma_filter(selection: Any) -> Rule:
    """A Sigma filter that takes `selection` away from every rule."""
    body = {"title": "Filter", "name": "less", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b12",
            "logsource": {"category": "network", "service": "connection"},
            "filter": {"rules": "any", "selection": selection, "condition": "not selection"}}
    document = parse_documents(dump(body), "less.yml")[0]
    return Rule("less", str(body["id"]), Kind.FILTER, "Filter", "", "", document.data, document, ("any",))


def converted(asked: Rule, dialect: str, source_name: str = "flow", context: str = "inline",
              where: Network | None = None, filters: tuple[Rule, ...] = ()) -> Query:
    world = Pack({**pack().rules, asked.name: asked}, filters)
    resolved = resolve_rule(asked, world, source(source_name), office() if where is None else where)
    return convert_rule(resolved, backend(DIALECTS[dialect]), context, dialect)


def predicate(asked: Rule, dialect: str, **how: Any) -> str:
    """The part of the query after the source's own conditions."""
    text = flow_part(converted(asked, dialect, **how).text, dialect)
    own = ' AND sourcetype="ewdetect:flow" AND ' if dialect == "spl" else " AND "
    return text.partition(own)[2].partition(" | KEEP")[0]


def flow_part(text: str, dialect: str) -> str:
    """The part of a query that tests single flows: of a Splunk search, its last `search` command."""
    if dialect != "spl":
        return text
    return [command for command in text.split(" | ") if command.startswith("search ")][-1]


# ---------------------------------------------------------------- flows

PORTS = (22, 53, 445, 3389, 5432, 1433, 49152, 3, 8)
FLAGS = (0x02, 0x12, 0x14, 0x1A, 0x1B, 0x1E, 0x00, 0x04, 0x06, 0x16, 0x3A, 0x5F)
STATES = ("SF", "S0", "S1", "S2", "S3", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH", None)


def addresses(where: Network) -> list[str]:
    """Every edge of every segment, both sides of it, and some addresses of no entry."""
    from ewdetect.engine.addresses import spell
    numbers = {n + step for s in segments(where) for n in (s.first, s.last) for step in (-1, 0, 1)}
    outside = ["8.8.8.8", "224.0.0.5", "255.255.255.255", "ff02::1", "2001:db8::1", "10.255.255.255"]
    return sorted({spell(n) for n in numbers if 0 < n < 2**128} | set(outside))


def hosts(where: Network) -> list[str]:
    """The addresses that have an entry of their own, which is where decoys and scanners are."""
    return sorted(str(e.cidr.network_address) for e in where.entries if e.cidr.num_addresses == 1)


def raw_flows(name: str, where: Network, count: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Raw values of one sensor. Missing ones are None."""
    chance, places, single = random.Random(seed), addresses(where), hosts(where)
    for _ in range(count):
        src, dst = (chance.choice(chance.choice((places, single or places))) for _ in range(2))
        yield {"id": str(chance.randrange(10**6)), "src": src, "dst": dst, "sport": chance.choice(PORTS),
               "dport": chance.choice(PORTS), "proto": chance.choice(("tcp", "tcp", "udp", "icmp")),
               "packets": chance.choice((0, 0, 1, 5, None)), "bytes": chance.choice((0, 100, 9000, None)),
               "state": chance.choice(STATES if name == "zeek_conn" else ("new", "established", "closed")),
               "ts": f"{chance.choice(FLAGS):02x}", "tc": f"{chance.choice(FLAGS):02x}",
               "outcome": chance.choice(("established", "failed", "denied", "unknown")),
               "duration": chance.choice((0.5, 3600, 7200, None))}


def by_path(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw values that the outcome's cases look at, by their paths in source.yml."""
    if name == "zeek_conn":
        return {"proto": raw["proto"], "conn_state": raw["state"], "resp_pkts": raw["packets"]}
    tcp = raw["proto"] == "tcp"
    return {"proto": raw["proto"].upper(), "flow/pkts_toclient": raw["packets"],
            "tcp/tcp_flags_ts": raw["ts"] if tcp else None, "tcp/tcp_flags_tc": raw["tc"] if tcp else None}


def holds(term: Term, value: Any) -> bool:
    """Whether a raw value fits, as the reader judges: texts without regard to letters, numbers as numbers."""
    if term.operator == "present":
        return (value is not None) is bool(term.values[0])
    if value is None:
        return False
    text, words = str(value).lower(), [str(v).lower() for v in term.values]
    match term.operator:
        case "bits" | "nobits":
            mask = int(term.values[0])
            return int(value, 16) & mask == (mask if term.operator == "bits" else 0)
        case "has" | "hasnt":
            mask = int(term.values[0])
            return int(value) & mask == (mask if term.operator == "has" else 0)
        case "startswith":
            return text.startswith(tuple(words))
        case "like" | "unlike":
            liked = any(fnmatchcase(text, word.replace("[", "[[]")) for word in words)
            return liked is (term.operator == "like")
        case "" | "not":
            return (text in words) is (term.operator == "")
    order = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return bool(order[term.operator](float(value), term.values[0]))


def first_case(cases: FieldSpec, values: Mapping[str, Any]) -> Any:
    """What the first case that holds gives. `values` are those of the raw paths."""
    return next((c.result for c in cases.cases if all(holds(t, values.get(t.path)) for t in c.terms)), cases.otherwise)


def outcome(name: str, raw: Mapping[str, Any]) -> Any:
    spec, values = source(name).fields["flow.outcome"], by_path(name, raw) if name != "flow" else {}
    if name == "flow":
        return raw["outcome"]
    return first_case(spec, values)


def context_of(where: Network, address: str) -> Mapping[str, Any]:
    number = address_int(address)
    return next((s.attributes for s in segments(where) if s.first <= number <= s.last), where.defaults)


def canonical(name: str, raw: Mapping[str, Any], where: Network) -> dict[str, Any]:
    """The flow that rules mean, with its context and derived fields."""
    icmp, v6 = raw["proto"] == "icmp", ":" in raw["src"]
    flow = {"source.ip": raw["src"], "destination.ip": raw["dst"], "flow.outcome": outcome(name, raw),
            "network.transport": "ipv6-icmp" if icmp and v6 else raw["proto"], "destination.packets": raw["packets"],
            "source.port": None if icmp else raw["sport"], "destination.port": None if icmp else raw["dport"],
            "icmp.type": raw["sport"] if icmp else None, "icmp.code": raw["dport"] if icmp else None,
            "source.bytes": raw["bytes"], "event.duration": raw["duration"], "event.id": raw["id"],
            "network.state": raw["state"] and raw["state"].lower(), "network.type": "ipv6" if v6 else "ipv4"}
    sides = {side: context_of(where, flow[f"{side}.ip"]) for side in ("source", "destination")}
    flow |= {f"{side}.{key}": value for side, has in sides.items() for key, value in has.items()}
    return flow | derived(flow, sides)


def derived(flow: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    from ipaddress import ip_address
    a, b = sides["source"], sides["destination"]
    groups = {s: ip_address(flow[f"{s}.ip"]).is_multicast or flow[f"{s}.ip"] == "255.255.255.255" for s in sides}
    inside = (bool(a["is_internal"] and not groups["source"]), bool(b["is_internal"] and not groups["destination"]))
    scope = {(True, True): "internal", (False, False): "external", (False, True): "inbound", (True, False): "outbound"}
    return {"network.scope": scope[inside], **{
        f"network.cross_{key}": bool(a[key] and b[key] and "unknown" not in (a[key], b[key]) and a[key] != b[key])
        for key in ("zone", "env")}}


def document(name: str, raw: Mapping[str, Any], flow: Mapping[str, Any], siem: str, enriched: bool) -> dict[str, Any]:
    """The flow as the SIEM holds it."""
    made = _DOCUMENTS[name, siem](raw, flow)
    if enriched:
        # One enrichment writes the defaults, another leaves them out.
        bare = int(raw["id"]) % 2
        made |= {_enriched(siem, key): value for key, value in flow.items()
                 if _is_context(key) and not (bare and (value is False or value == "unknown"))}
    return {key: value for key, value in made.items() if value is not None}


def _is_context(name: str) -> bool:
    return fields()[name].origin == "context" or name in ("network.scope", "network.cross_zone", "network.cross_env")


def _enriched(siem: str, name: str) -> str:
    if siem == "elastic":
        return f"ew.{name}"
    if name.startswith("network."):
        return "ew_" + name.removeprefix("network.")
    side, _, attribute = name.partition(".")
    return {"source": "ew_src", "destination": "ew_dest"}[side] + "_" + attribute


def _five(flow: Mapping[str, Any]) -> dict[str, Any]:
    return {key: flow[key] for key in (
        "source.ip", "source.port", "destination.ip", "destination.port", "network.transport", "source.bytes",
        "destination.packets", "event.id")}


def _nanoseconds(flow: Mapping[str, Any]) -> Any:
    return flow["event.duration"] and int(flow["event.duration"] * 1_000_000_000)


def _flow_elastic(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in flow.items() if fields()[k].origin == "record"}, "data_stream.dataset": "ewdetect.flow"}


def _flow_splunk(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    return {**_flow_elastic(raw, flow), "index": "ewdetect", "sourcetype": "ewdetect:flow"}


def _zeek_elastic(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    return {**_five(flow), "network.transport": raw["proto"], "zeek.connection.state": raw["state"],
            "zeek.connection.icmp.type": flow["icmp.type"], "zeek.connection.icmp.code": flow["icmp.code"],
            "event.duration": _nanoseconds(flow), "data_stream.dataset": "zeek.connection"}


def _zeek_splunk(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": "zeek", "sourcetype": "bro:conn:json", "id.orig_h": raw["src"], "id.orig_p": raw["sport"],
            "id.resp_h": raw["dst"], "id.resp_p": raw["dport"], "proto": raw["proto"], "conn_state": raw["state"],
            "resp_pkts": raw["packets"], "orig_ip_bytes": raw["bytes"], "duration": raw["duration"], "uid": raw["id"]}


def _suricata_elastic(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    flags = by_path("suricata_eve", raw)
    return {**_five(flow), "suricata.eve.flow.state": raw["state"], "suricata.eve.event_type": "flow",
            "suricata.eve.icmp_type": flow["icmp.type"], "suricata.eve.icmp_code": flow["icmp.code"],
            "suricata.eve.tcp.tcp_flags_ts": flags["tcp/tcp_flags_ts"], "event.duration": _nanoseconds(flow),
            "suricata.eve.tcp.tcp_flags_tc": flags["tcp/tcp_flags_tc"], "data_stream.dataset": "suricata.eve"}


def _suricata_splunk(raw: Mapping[str, Any], flow: Mapping[str, Any]) -> dict[str, Any]:
    flags = by_path("suricata_eve", raw)
    return {"index": "suricata", "sourcetype": "suricata", "event_type": "flow", "src_ip": raw["src"],
            "src_port": flow["source.port"], "dest_ip": raw["dst"], "dest_port": flow["destination.port"],
            "proto": flow["network.transport"].upper(), "flow.pkts_toclient": raw["packets"],
            "flow.bytes_toserver": raw["bytes"], "flow.state": raw["state"], "icmp_type": flow["icmp.type"],
            "icmp_code": flow["icmp.code"], "tcp.tcp_flags_ts": flags["tcp/tcp_flags_ts"],
            "tcp.tcp_flags_tc": flags["tcp/tcp_flags_tc"]}


_DOCUMENTS = {("flow", "elastic"): _flow_elastic, ("flow", "splunk"): _flow_splunk,
              ("zeek_conn", "elastic"): _zeek_elastic, ("zeek_conn", "splunk"): _zeek_splunk,
              ("suricata_eve", "elastic"): _suricata_elastic, ("suricata_eve", "splunk"): _suricata_splunk}

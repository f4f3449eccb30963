"""Rules and random flows that the property tests of every SIEM's windows share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.world import correlation, event_rule

Document = Mapping[str, Any]

ANY = event_rule("any", {"network.scope": "internal"})
SSH = event_rule("ssh", {"destination.port": 22})
SMB = event_rule("smb", {"destination.port": 445})
BIG = event_rule("big", {"source.bytes|gte": 5})
HOSTS = {"A": "10.30.0.1", "B": "10.30.0.2", "C": "fd00:30::3", "D": "10.30.0.11"}

# Type of the correlation, what it measures, and what it groups by.
MEASURES: Mapping[str, tuple[str, Any, list[str]]] = {
    "count": ("event_count", None, ["source.ip"]),
    "count without groups": ("event_count", None, []),
    "count by two fields": ("event_count", None, ["source.ip", "destination.port"]),
    "distinct": ("value_count", "destination.ip", ["source.ip"]),
    "distinct that may be missing": ("value_count", "destination.port", ["source.ip"]),
    "distinct combinations": ("value_count", ["destination.ip", "destination.port"], ["source.ip"]),
    "sum": ("value_sum", "source.bytes", ["source.ip"]),
}

BASE: Mapping[str, Any] = {"group_by": ["source.ip"]}
# What no SIEM says exactly: a word of the refusal, and the rules, of which the last is asked for.
REFUSED: Mapping[str, tuple[str, list[Document]]] = {
    f"value_{kind}": (kind, [ANY, correlation("rule", f"value_{kind}", ["any"], "1m", **BASE, condition={
        "field": "source.bytes", "gte": 5, **({"percentile": 90} if kind == "percentile" else {})})])
    for kind in ("avg", "median", "percentile")} | {
    "a sum of fractions": ("sum of fractions", [ANY, correlation(
        "rule", "value_sum", ["any"], "1m", **BASE, condition={"field": "event.duration", "gte": 5})]),
    "two distinct aliases": ("several distinct aliases", [SSH, BIG, correlation(
        "rule", "temporal_ordered", ["ssh", "big"], "1m", aliases={
            name: dict.fromkeys(("ssh", "big"), f"{name}.ip") for name in ("source", "destination")})
        | {"ewdetect": {"distinct": ["source", "destination"]}}]),
    "three distinct steps": ("distinct over more than two steps", [SSH, BIG, SMB, correlation(
        "rule", "temporal_ordered", ["ssh", "big", "smb"], "1m") | {"ewdetect": {"distinct": ["source.ip"]}}]),
    "a group by context": ("`source.zone`", [ANY, correlation(
        "rule", "event_count", ["any"], "1m", group_by=["source.zone"], condition={"gte": 1})]),
    "a group by what no field holds": ("`flow.reversed`", [ANY, correlation(
        "rule", "event_count", ["any"], "1m", group_by=["flow.reversed"], condition={"gte": 1})]),
}


def flows_at(times: st.SearchStrategy[float], least: int = 0) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of flows between few hosts; ports and bytes are missing now and then."""
    return st.lists(st.fixed_dictionaries({
        "at": times, "source": st.sampled_from(["10.10.0.1", "10.10.0.2", "fd00:10::1"]),
        "destination": st.sampled_from(["10.30.0.1", "10.30.0.2", "10.30.0.3", "fd00:30::4"]),
        "port": st.sampled_from([22, 445, None]), "bytes": st.sampled_from([0, 1, 5, 50, None])}),
        min_size=least, max_size=25)


def pivot(timespan: str) -> tuple[Document, Document, Document]:
    """A chain of two sessions through one host to another than the first came from, and its two event rules."""
    one, two = (event_rule(name, {"destination.port": 445}) for name in ("one", "two"))
    chain = correlation("pivot", "temporal_ordered", ["one", "two"], timespan, group_by=["through"], aliases={
        "through": {"one": "destination.ip", "two": "source.ip"},
        "peer": {"one": "source.ip", "two": "destination.ip"}}) | {"ewdetect": {"distinct": ["peer"]}}
    return chain, one, two

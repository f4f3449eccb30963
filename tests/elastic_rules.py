"""Kibana rules of the pack, as tests compare them and as people review them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.backends.elastic import ElasticBackend
from ewdetect.convert import backend, convert_rule
from ewdetect.model import Kind, Pack, Rule
from ewdetect.network import Network
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule, resolve_rule
from ewdetect.yamlfile import dump, parse_documents
from tests.convert_world import SOURCES, golden_forms, office, pack, source

CONTEXTS = ("inline", "enriched")
DIALECTS = ElasticBackend.dialects


def elastic(rule: Rule, dialect: str | None, source_name: str = "zeek_conn", context: str = "inline",
            where: Network | None = None, world: Pack | None = None) -> tuple[ResolvedRule, Query]:
    """A rule resolved, and its query. Raises Rejected."""
    among = world or Pack({**pack().rules, rule.name: rule})
    resolved = resolve_rule(rule, among, source(source_name), where or office())
    return resolved, convert_rule(resolved, backend("elastic"), context, dialect)


def kibana(rule: Rule, dialect: str | None, source_name: str = "zeek_conn", context: str = "inline",
           where: Network | None = None, world: Pack | None = None) -> dict[str, Any]:
    """The Kibana rule, read back from its line. Raises Rejected."""
    line = backend("elastic").content(*elastic(rule, dialect, source_name, context, where, world))
    assert line.endswith("\n") and line.count("\n") == 1
    made: dict[str, Any] = json.loads(line)
    return made


def combinations() -> Iterator[tuple[Rule, str, str, str]]:
    """Every rule that alerts, with each dialect, source and context that has a query for it."""
    for rule in pack().alerting():
        for dialect in DIALECTS:
            for name in SOURCES:
                for context in CONTEXTS:
                    try:
                        elastic(rule, dialect, name, context)
                    except Rejected:
                        continue
                    yield rule, dialect, name, context


def window_rule(condition: Mapping[str, Any] | None = None, **changes: Any) -> tuple[Rule, Pack]:
    """A distinct count over SSH sessions; `changes` replace keys of its correlation, `condition` its condition."""
    logsource = {"category": "network", "service": "connection"}
    event = {"title": "SSH", "name": "ssh", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b21", "logsource": logsource,
             "detection": {"selection": {"destination.port": 22}, "condition": "selection"}, "level": "informational"}
    other = {**event, "name": "rdp", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b22",
             "detection": {"selection": {"destination.port": 3389}, "condition": "selection"}}
    named = {key.replace("_", "-"): value for key, value in changes.items()}
    counted = {"title": "Fan-Out", "name": "fan_out", "id": "0b0e3ab8-17d6-4d6d-8d0a-1b3f7b1f7b23", "level": "medium",
               "correlation": {"type": "value_count", "rules": ["ssh"], "group-by": ["source.ip"], "timespan": "10m",
                               "condition": condition or {"field": "destination.ip", "gte": 20}, **named}}
    rules = {str(body["name"]): _rule(body) for body in (event, other, counted)}
    return rules["fan_out"], Pack(rules)


def _rule(body: Mapping[str, Any]) -> Rule:
    document = parse_documents(dump(dict(body)), "fan_out.yml")[0]
    kind = Kind.CORRELATION if "correlation" in body else Kind.EVENT
    return Rule(str(body["name"]), str(body["id"]), kind, str(body["title"]), str(body["level"]), "test",
                document.data, document, tuple(document.data.get("correlation", {}).get("rules", ())),
                kind is Kind.CORRELATION)


# ---------------------------------------------------------------- goldens

def golden_rules(root: Path) -> Iterator[tuple[Path, str]]:
    """The Kibana rules of the pack: as `convert` writes them unasked, and beside them the approximations."""
    for rule in pack().alerting():
        for ending, dialect in ((".json", None), (".threshold.json", "threshold"), (".new_terms.json", "new_terms")):
            for name, context in golden_forms(rule):
                try:
                    made = kibana(rule, dialect, name, context)
                except Rejected:
                    continue
                yield root / "elastic_rules" / name / context / f"{rule.name}{ending}", reviewed(made)


def reviewed(made: Mapping[str, Any]) -> str:
    """A rule to read: texts line by line, and no version that every release would change."""
    texts = {key: made[key].splitlines() for key in ("note", "setup")}
    tags = ["ewdetect:VERSION" if tag.startswith("ewdetect:") else tag for tag in made["tags"]]
    return json.dumps({**made, "tags": tags, **texts}, indent=2, ensure_ascii=False) + "\n"

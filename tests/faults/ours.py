"""Our conversion of the rules of ours.yml."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ewdetect.backends.base import Query
from ewdetect.convert import backend, convert_rule
from ewdetect.model import Pack
from ewdetect.resolve import ResolvedRule, resolve_rule
from ewdetect.yamlfile import read_documents
from tests.convert_world import office
from tests.world import pack, source

TARGETS: Mapping[str, str] = {
    "lucene": "elastic", "esql": "elastic", "spl": "splunk", "tstats": "splunk", "sql": "duckdb"}


@cache
def rules() -> Mapping[str, Any]:
    [document] = read_documents(Path(__file__).with_name("ours.yml"))
    made: Mapping[str, Any] = document.data
    return made


def document(name: str) -> dict[str, Any]:
    """One rule of ours.yml as a whole document."""
    body = copy.deepcopy(rules()[name])
    head = {"title": name.replace("_", " ").capitalize(), "name": name, "id": str(uuid5(NAMESPACE_URL, name)),
            "level": "medium"}
    log = {} if "correlation" in body else {"logsource": {"category": "network", "service": "connection"}}
    return {**head, **log, **body}


@cache
def _world(filters: tuple[str, ...]) -> Pack:
    return pack(*map(document, [*(name for name, body in rules().items() if "filter" not in body), *filters]))


def resolved(name: str, of: str = "flow", filters: tuple[str, ...] = ()) -> ResolvedRule:
    """The rule with all that it stands on and these filters, for one source, in the office network."""
    world = _world(filters)
    return resolve_rule(world.rules[name], world, source(of), office())


def converted(rule: ResolvedRule, to: str, context: str = "inline") -> Query:
    """Raises Rejected."""
    return convert_rule(rule, backend(TARGETS[to]), context, to)


def content(rule: ResolvedRule, to: str, context: str = "inline") -> str:
    """The whole rule as the SIEM takes it. Raises Rejected."""
    return backend(TARGETS[to]).content(rule, converted(rule, to, context))

"""ResolvedRule and Backend → Query."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from ewdetect.backends.base import CONTEXTS, Backend, Query, chosen
from ewdetect.coverage import Grade, cover
from ewdetect.load import load_fields
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule

# Loaded when asked for: pySigma and DuckDB take longer to import than `ewdetect --help` may take.
_BACKENDS = {
    "elastic": ("ewdetect.backends.elastic", "ElasticBackend"),
    "splunk": ("ewdetect.backends.splunk", "SplunkBackend"),
    "duckdb": ("ewdetect.backends.duckdb.query", "DuckdbBackend"),
}


def backend(name: str) -> Backend:
    """The backend of this name. Raises Rejected with a suggestion for another word."""
    module, cls = _BACKENDS[chosen(name, tuple(_BACKENDS), "target")]
    made: Backend = getattr(import_module(module), cls)()
    return made


def convert_rule(resolved: ResolvedRule, backend: Backend, context: str, dialect: str | None = None) -> Query:
    """The query of one rule, exact or not at all. What the telemetry makes worse is a caveat.

    Raises Rejected with `convert/…` problems that name the rule, the construct and the reason.
    """
    query = backend.render(resolved, chosen(context, CONTEXTS, "context"), dialect)
    if resolved.source is None:
        return query
    covered = cover(resolved, resolved.source, load_fields())
    reason = "; ".join(covered.reasons)
    if covered.grade is Grade.IMPOSSIBLE:
        raise Rejected([Problem("convert/not-told", f"`{resolved.rule.name}`: {reason}",
                                resolved.rule.document.at("title"),
                                "use a source that tells it; `ewdetect list coverage` shows which")])
    return replace(query, caveats=(*query.caveats, f"Degraded: {reason}.")) if reason else query

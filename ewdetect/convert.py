"""ResolvedRule and Backend → Query."""

from __future__ import annotations

from importlib import import_module

from ewdetect.backends.base import CONTEXTS, Backend, Query, chosen
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
    """The query of one rule, exact or not at all.

    Raises Rejected with `convert/…` problems that name the rule, the construct and the reason.
    """
    return backend.render(resolved, chosen(context, CONTEXTS, "context"), dialect)

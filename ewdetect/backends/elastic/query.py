"""The Elastic backend: event rules as Lucene (`query` rules) or ES|QL (`esql` rules)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ewdetect.backends import predicate
from ewdetect.backends.base import Query, chosen, no_rule_form
from ewdetect.backends.elastic import correlation
from ewdetect.backends.elastic.esql import EsqlPrinter
from ewdetect.backends.elastic.lucene import LucenePrinter
from ewdetect.backends.printing import ExplicitPrinter
from ewdetect.plan import Selection, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule

_PRINTERS: Mapping[str, type[ExplicitPrinter]] = MappingProxyType({"lucene": LucenePrinter, "esql": EsqlPrinter})


class ElasticBackend:
    """Rules for Elastic Security."""

    name = "elastic"
    dialects = tuple(_PRINTERS)
    cannot: Mapping[str, str] = MappingProxyType({
        **predicate.CANNOT,
        **{f"esql: {construct}": why for construct, why in correlation.CANNOT.items()},
        "lucene: fieldref": "Lucene cannot compare two fields; use the dialect esql",
    })

    def render(self, resolved: ResolvedRule, context: str, dialect: str | None) -> Query:
        """The query of a resolved event rule. Raises Rejected."""
        windowed = not isinstance(plan(resolved)[-1], Selection)
        word = chosen(dialect, self.dialects, "dialect") if dialect or not windowed else "esql"
        target = predicate.Target(self.name, word, "ecs", "elastic", self.cannot, _PRINTERS[word])
        if word == "esql" and windowed:
            return correlation.render(resolved, context, target)
        return predicate.render(resolved, context, target)

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """Raises Rejected: rules to deploy come with `content.py`."""
        raise Rejected([no_rule_form(resolved.rule, self.name)])

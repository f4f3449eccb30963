"""The Elastic backend: single flows in Lucene or ES|QL, windows and steps in ES|QL; if asked for, approximations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ewdetect.backends import predicate, types
from ewdetect.backends.base import Query, chosen
from ewdetect.backends.elastic import content, correlation, new_terms, threshold
from ewdetect.backends.elastic.esql import EsqlPrinter
from ewdetect.backends.elastic.lucene import LucenePrinter
from ewdetect.backends.printing import ExplicitPrinter
from ewdetect.model import Kind
from ewdetect.plan import Selection, plan
from ewdetect.resolve import ResolvedRule

_PRINTERS: Mapping[str, type[ExplicitPrinter]] = MappingProxyType({"lucene": LucenePrinter, "esql": EsqlPrinter})


class ElasticBackend:
    """Rules for Elastic Security."""

    name = "elastic"
    dialects = (*_PRINTERS, threshold.DIALECT, new_terms.DIALECT)
    cannot: Mapping[str, str] = MappingProxyType({
        **predicate.CANNOT,
        **{f"esql: {construct}": why for construct, why in correlation.CANNOT.items()},
        **threshold.CANNOT,
        **new_terms.CANNOT,
        **types.CANNOT,
        "first_seen": "a rule of type `new_terms` compares with the history before its run, not before each flow; it "
                      "has no warm-up, and another rule cannot count it; ask for it with `--dialect new_terms`",
        "lucene: fieldref": "Lucene cannot compare two fields; use the dialect esql",
        "lucene: full text": "Lucene finds the words of a text one by one, and no part of a line; use the dialect esql",
    })

    def render(self, resolved: ResolvedRule, context: str, dialect: str | None) -> Query:
        """The query of a resolved rule: Lucene for single flows and ES|QL for windows, unless a dialect is asked for.

        Raises Rejected.
        """
        if not (dialect == new_terms.DIALECT and resolved.rule.kind is Kind.FIRST_SEEN):
            types.refuse_types(resolved, self.name, self.cannot)
        windowed = not isinstance(plan(resolved)[-1], Selection)
        word = chosen(dialect or ("esql" if windowed else "lucene"), self.dialects, "dialect")
        if word == threshold.DIALECT:
            return threshold.render(resolved, context, self.target("lucene"))
        if word == new_terms.DIALECT:
            return new_terms.render(resolved, context, self.target("lucene"))
        if word == "esql":
            return correlation.render(resolved, context, self.target(word))
        return predicate.render(resolved, context, self.target(word))

    @classmethod
    def target(cls, dialect: str) -> predicate.Target:
        """What the conversion has to know of a dialect that prints predicates."""
        return predicate.Target(cls.name, dialect, "ecs", "elastic", cls.cannot, _PRINTERS[dialect])

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """A detection rule of Kibana, as one line of NDJSON. Raises Rejected."""
        return content.content(resolved, query)

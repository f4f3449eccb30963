"""The Splunk backend: event rules as `search` over the raw events of a source, correlations as searches of stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ewdetect.backends import predicate, types
from ewdetect.backends.base import Query, chosen, no_rule_form
from ewdetect.backends.splunk import correlation
from ewdetect.backends.splunk.spl import SplPrinter
from ewdetect.model import Kind
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule


class SplunkBackend:
    """Rules for Splunk Enterprise and Cloud."""

    name = "splunk"
    dialects = ("spl",)
    cannot: Mapping[str, str] = MappingProxyType({
        **predicate.CANNOT,
        **correlation.CANNOT,
        **types.CANNOT,
        "first_seen": "what was seen before would stand in a lookup that a scheduled search writes and reads, and the "
                      "first run, a late one and a repeated one answer differently",
        "fieldref": "`search` cannot compare two fields",
        "literal asterisk": "`search` takes every `*` as a wildcard and has no escape for it",
        "single wildcard": "`search` has no wildcard for one character",
        "backtick": "Splunk expands macros between backticks before it reads the search",
    })

    def render(self, resolved: ResolvedRule, context: str, dialect: str | None) -> Query:
        """The query of a resolved rule. Raises Rejected."""
        types.refuse_types(resolved, self.name, self.cannot)
        target = self.target(chosen(dialect, self.dialects, "dialect"))
        if resolved.rule.kind is Kind.EVENT:
            return predicate.render(resolved, context, target)
        return correlation.render(resolved, context, target)

    @classmethod
    def target(cls, dialect: str = "spl") -> predicate.Target:
        """What the conversion has to know of a dialect."""
        return predicate.Target(cls.name, dialect, "cim", "splunk", cls.cannot, SplPrinter)

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """Raises Rejected: rules to deploy come with `content.py`."""
        raise Rejected([no_rule_form(resolved.rule, self.name)])

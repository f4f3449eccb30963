"""The Splunk backend: searches over the raw events of a source, or over the data model Network_Traffic."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ewdetect.backends import predicate, types
from ewdetect.backends.base import Query, chosen
from ewdetect.backends.splunk import content, search
from ewdetect.backends.splunk.spl import SplPrinter
from ewdetect.resolve import ResolvedRule

# Of each dialect: the names that all sources share, and the file of a source.
_MAPPINGS = {"spl": ("cim", "splunk"), "tstats": ("network_traffic", "tstats")}


class SplunkBackend:
    """Rules for Splunk Enterprise and Cloud."""

    name = "splunk"
    dialects = ("spl", "tstats")
    cannot: Mapping[str, str] = MappingProxyType({
        **predicate.CANNOT,
        **search.CANNOT,
        **types.CANNOT,
        "first_seen": "what was seen before would stand in a lookup that a scheduled search writes and reads, and the "
                      "first run, a late one and a repeated one answer differently",
        "fieldref": "`search` cannot compare two fields",
        "literal asterisk": "`search` takes every `*` as a wildcard and has no escape for it",
        "single wildcard": "`search` has no wildcard for one character",
        "text that is a network": "`search` takes it for a network and compares addresses",
        "backtick": "Splunk expands macros between backticks before it reads the search",
    })

    def render(self, resolved: ResolvedRule, context: str, dialect: str | None) -> Query:
        """The query of a resolved rule. Raises Rejected."""
        types.refuse_types(resolved, self.name, self.cannot)
        target = self.target(chosen(dialect, self.dialects, "dialect"))
        return search.render(resolved, context, target)

    @classmethod
    def target(cls, dialect: str = "spl") -> predicate.Target:
        """What the conversion has to know of a dialect."""
        shared, siem = _MAPPINGS[dialect]
        return predicate.Target(cls.name, dialect, shared, siem, cls.cannot, SplPrinter)

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """The stanzas of savedsearches.conf and macros.conf that deploy the query, in Enterprise Security or not."""
        return content.content(resolved, query, self.target(query.dialect))

"""Canonical fields of a flow as ES|QL expressions: one text or number, null where the flow lacks the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.backends import predicate
from ewdetect.backends.elastic.rows import quoted
from ewdetect.backends.events import sums_of
from ewdetect.backends.predicate import Setting
from ewdetect.model import Kind, Rule
from ewdetect.resolve import ResolvedRule


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads fields of the documents that one rule's query is about."""

    resolved: ResolvedRule
    setting: Setting

    def text(self, name: str) -> str:
        """The field as it groups and counts. Raises Rejected."""
        field, target, vocabulary = self.setting.fields.get(name), self.name(name), self.setting.vocabulary
        if name in vocabulary.values:
            words = "".join(f"{self._meant(name, word)}, {quoted(word)}, " for word in vocabulary.values[name])
            return f"CASE({words}{self._plain(name, target)})"
        if field and field.origin == "context" and (field.default is not None or field.type == "boolean"):
            # The enrichment may leave a default out.
            default = "false" if field.type == "boolean" else str(field.default)
            return f"COALESCE({self._plain(name, target)}, {quoted(default)})"
        return self._plain(name, target)

    def number(self, name: str) -> str:
        """The field as it adds up. Raises Rejected."""
        target = self.name(name)
        return " + ".join(sums_of(self.setting).get(target, [target]))

    def time(self) -> str:
        """The start of the flow, in milliseconds. Raises Rejected."""
        return f"TO_LONG(TO_DATETIME({self.name('event.start')}))"

    def name(self, canonical: str) -> str:
        """The SIEM's name of a field. Raises Rejected where the documents do not hold it as it is meant."""
        names = self.setting.names
        if canonical in names:
            return names[canonical]
        raise predicate.unnamed(canonical, self.resolved, self.setting,
                                self.resolved.rule.document.at("correlation"), "documents")

    def _plain(self, name: str, target: str) -> str:
        field = self.setting.fields.get(name)
        if field is None or field.type in ("string", "token"):
            return f"TO_LOWER({target})" if self.setting.letters.get(target, "mixed") != "lower" else target
        return f"TO_STRING({target})"

    def _meant(self, name: str, word: str) -> str:
        """The condition under which the SIEM's fields mean a word, as a rule would ask for it."""
        rule = self.resolved.rule
        detection: Mapping[str, Any] = {"selection": {name: word}, "condition": "selection"}
        body = {"title": rule.title, "logsource": {"category": "network", "service": "connection"},
                "detection": detection}
        asked = Rule(rule.name, rule.id, Kind.EVENT, rule.title, rule.level, rule.status, body, rule.document)
        found = predicate.condition(asked, ResolvedRule(asked, (asked,)), self.setting)
        return predicate.spelt(found.tree, found.state, asked, self.setting)

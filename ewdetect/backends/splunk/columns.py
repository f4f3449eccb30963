"""Canonical fields of a flow as `eval` expressions over Splunk's events: null where the flow lacks the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.backends import predicate
from ewdetect.backends.predicate import Setting
from ewdetect.backends.splunk.rows import numbers, quoted
from ewdetect.backends.tree import without
from ewdetect.model import Kind, Rule
from ewdetect.problems import Location
from ewdetect.resolve import ResolvedRule

_NUMBERS = ("integer", "number")
_TEXTS = ("ip", "string")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads fields of the events that one rule's query is about."""

    resolved: ResolvedRule
    setting: Setting
    gone: frozenset[str] = frozenset()      # fields of the record that the rows no longer have

    def expression(self, name: str) -> str:
        """The field as it groups and counts: text in lower case, numbers as numbers. Raises Rejected."""
        self._refuse(name)
        read, vocabulary = self._typed(name), self.setting.vocabulary
        if name in vocabulary.values:
            words = "".join(f"searchmatch({quoted(self._meant({name: word}))}),{quoted(word)},"
                            for word in vocabulary.values[name])
            return f"case({words}true(),{read})"
        if name in vocabulary.guarded:
            return f"if(searchmatch({quoted(self._meant({f'{name}|exists': True}))}),{read},null())"
        return read

    def _typed(self, name: str) -> str:
        field, target = self.setting.fields[name], self.setting.names[name]
        if field.type in _NUMBERS:
            return numbers([target])
        if field.origin != "record" and name not in self.setting.vocabulary.sums:
            # The enrichment may leave a default out.
            default = "false" if field.type == "boolean" else field.default
            return f"lower('{target}')" if default is None else f"coalesce(lower('{target}'),{quoted(str(default))})"
        return f"lower('{target}')" if field.type in _TEXTS else f"'{target}'"

    def _meant(self, selection: Mapping[str, Any]) -> str:
        """The condition under which the SIEM's fields mean this, as a rule would ask for it."""
        rule = self.resolved.rule
        body = {"title": rule.title, "logsource": {"category": "network", "service": "connection"},
                "detection": {"selection": dict(selection), "condition": "selection"}}
        asked = Rule(rule.name, rule.id, Kind.EVENT, rule.title, rule.level, rule.status, body, rule.document)
        found = predicate.condition(asked, ResolvedRule(asked, (asked,)), self.setting)
        return predicate.spelt(without(found.tree, self.gone), found.state, asked, self.setting)

    def _refuse(self, name: str) -> None:
        """Raises Rejected for a field that the events do not hold as it is meant."""
        if name not in self.setting.names:
            raise predicate.unnamed(name, self.resolved, self.setting, self._place(), "events")

    def _place(self) -> Location:
        rule = self.resolved.rule
        return rule.document.at("correlation" if rule.kind is Kind.CORRELATION else "ewdetect")

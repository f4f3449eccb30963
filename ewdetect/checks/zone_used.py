"""Zones, roles and other words of the context that rules ask for exist in the network.

A rule about `domain_controller` is silent for ever in a network whose file says `dc`. Looked at only where a network
is given, and a warning: a network may well have no such hosts.

- `network/unused-value`: no entry of the network has that value. Correct the word in the rule or in the network file.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ewdetect.checks.scope import Scope
from ewdetect.load import Item, items
from ewdetect.model import Rule
from ewdetect.network import Network, values_of
from ewdetect.problems import Problem, Severity, suggest


def check(scope: Scope) -> list[Problem]:
    network = scope.network
    if network is None:
        return []
    return [problem for rule in scope.rules() for item in items(rule) if _is_word(item, scope)
            for problem in _item(rule, item, network)]


def _is_word(item: Item, scope: Scope) -> bool:
    field = scope.fields.get(item.field)
    return (field is not None and field.origin == "context" and field.type == "string" and not field.values
            and not {"re", "exists", "fieldref", "expand"} & set(item.modifiers))


def _item(rule: Rule, item: Item, network: Network) -> Iterator[Problem]:
    attribute = item.field.partition(".")[2]
    words = {str(word) for word in values_of(network, attribute)}
    for value, path in item.values:
        if isinstance(value, str) and not any(fnmatchcase(word, _pattern(value, item.modifiers)) for word in words):
            yield Problem("network/unused-value", f"no entry of network `{network.name}` has the {attribute} `{value}`",
                          rule.document.at(*path), suggest(value, sorted(words)), Severity.WARNING)


def _pattern(value: str, modifiers: tuple[str, ...]) -> str:
    before = "*" if {"contains", "endswith"} & set(modifiers) else ""
    after = "*" if {"contains", "startswith"} & set(modifiers) else ""
    return f"{before}{value.lower()}{after}"

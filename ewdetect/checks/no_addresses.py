"""Event rules test no addresses.

An address in a rule is true of one network only. What an address means there (zone, role, internal or not) is said in
the network file, and rules ask for that. An exception for one host belongs in a Sigma filter or in the network file.

- `rule/tests-address`: a selection tests an address field. Use `source.zone`, `source.role`, `source.is_internal` and
  their like, or `network.scope`.
"""

from __future__ import annotations

from ewdetect.checks.scope import Scope
from ewdetect.load import items
from ewdetect.problems import Problem


def check(scope: Scope) -> list[Problem]:
    addresses = {field.name for field in scope.fields.values() if field.type == "ip"}
    return [Problem("rule/tests-address", f"`{rule.name}` tests the address `{item.field}`",
                    rule.document.at(*item.path), "ask for a zone, a role or another attribute of the network context")
            for rule in scope.rules() for item in items(rule) if item.field in addresses and _compares(item.modifiers)]


def _compares(modifiers: tuple[str, ...]) -> bool:
    """Whether the test is one against an address, and not for presence or against another field."""
    return not {"exists", "fieldref"} & set(modifiers)

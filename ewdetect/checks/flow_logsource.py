"""Rules read flows: Sigma's log source `category: network, service: connection`.

That is the one log source whose fields mappings/flow.yml defines (Sigma 2.1, taxonomy appendix, network events). A rule
on another one would be converted with field names that nobody mapped.

- `rule/other-logsource`: the log source is another one. Write `logsource: {category: network, service: connection}`.
"""

from __future__ import annotations

from ewdetect.checks.scope import Scope
from ewdetect.model import Kind
from ewdetect.problems import Problem

FLOWS = {"category": "network", "service": "connection"}


def check(scope: Scope) -> list[Problem]:
    written = ", ".join(f"{key}: {value}" for key, value in FLOWS.items())
    return [Problem("rule/other-logsource", f"`{rule.name}` does not read flows", rule.document.at("logsource"),
                    f"write `logsource: {{{written}}}`")
            for rule in scope.rules()
            if rule.kind is Kind.EVENT and not FLOWS.items() <= rule.body["logsource"].items()]

"""Writes docs/parity.md from a ledger: `python -m tests.engines.report LEDGER`. `make parity` runs the suites and this."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ewdetect.docs.markdown import table as markdown_table
from tests.engines.ledger import Entry, Ledger, table, totals

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
HEAD = """# Executed parity

<!-- made by `make parity`; do not edit -->

A rule must mean the same in the local engine, in Elastic and in Splunk. So every rule's queries are executed on all cases of
its test file, and the alerts compared with those of the [reference semantics](semantics.md): the same groups, each episode
once, none extra. Elastic's queries run on a real Elasticsearch as Kibana runs them, run after run; Splunk's on an
executor of SPL that was written from Splunk's documentation and knows its limits
([how](../tests/engines/README.md)). Flows stand in the form of their integrations, and some arrive late.

**exact**: no difference in any case, on any source. **With caveats**: the same, and `convert` says what to mind.
**Refused**: there is no query, and `convert` says why.
"""


def page(entries: Sequence[Entry]) -> str:
    """The whole page."""
    head, *rows = table(entries)
    counted = "\n".join(f"- {line}" for line in totals(entries))
    return f"{HEAD}\n{counted}\n\n{markdown_table(head, rows)}\n"


def main(arguments: Sequence[str]) -> int:
    PAGE.write_text(page(Ledger(Path(arguments[0])).entries()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

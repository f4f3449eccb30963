"""docs/parity.md from a ledger: `python -m tests.engines.report [--check] LEDGER`.

`make parity` runs the suites and writes the page; `make test-engines` runs them and says whether the page is fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ewdetect.docs.markdown import table as markdown_table
from tests.engines.ledger import Entry, Ledger, table, totals

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
LANGUAGES = {"ES|QL", "SPL", "SPL tstats"}
HEAD = """# Executed parity

<!-- Made by `make parity`. Change what it is made from, not this file. -->

A rule must mean the same in the local engine, in Elastic and in Splunk. So every rule's queries are executed on all
cases of its test file, and the alerts compared with those of the [reference semantics](semantics.md): the same groups,
each episode once, none extra. Elastic's queries run on a real Elasticsearch as Kibana runs them, run after run.
Splunk's run on an executor of SPL that was written from Splunk's documentation and knows Splunk's limits. Flows stand
in the form of their integrations, and some arrive late. [How it works](../tests/engines/README.md).

- **exact**: no difference in any case of any source.
- **exact, with caveats**: the same, and `convert` says what to mind.
- **refused**: there is no query; the number is that of the reason [below](#why-a-query-is-refused).

"""


def page(entries: Sequence[Entry]) -> str:
    """The whole page."""
    (head, *rows), reasons = table(entries)
    counted = "\n".join(f"- {line}" for line in totals(entries))
    refused = "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    return f"{HEAD}{counted}\n\n{markdown_table(head, rows)}\n## Why a query is refused\n\n{refused}\n"


def main(arguments: Sequence[str]) -> int:
    entries = Ledger(Path(arguments[-1])).entries()
    if missing := sorted(LANGUAGES - {entry.language for entry in entries}):
        print(f"nothing was executed in {', '.join(missing)} (see the skipped tests); docs/parity.md is left as it is")
        return 0 if "--check" in arguments else 1
    made = page(entries)
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    fresh = PAGE.is_file() and PAGE.read_text("utf-8") == made
    if not fresh:
        print("docs/parity.md is out of date: run `make parity`, and read the diff")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

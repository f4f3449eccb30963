"""docs/parity.md from a ledger: `python -m tests.engines.report [--check] LEDGER`.

`make parity` runs the suites and writes the page; `make test-engines` runs them and says whether the page is fresh.
`make parity-sources` writes the part about the other sources alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ewdetect.docs.markdown import table as markdown_table
from tests.engines.ledger import Entry, Ledger, by_source, divided, table, totals

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
LANGUAGES = {"ES|QL", "SPL", "SPL tstats"}
OTHERS = "## Other sources"
ABOUT = """
Some cases of some rules, each on every other source that has a mapping, as records in the form that the mapping says
its integration gives them. The writer knows no more than the mapping and the source's own file, so it cannot see a
wrong name of a field; outcomes, directions, units and times are judged by the source's own file. A case is skipped
where the records show none of its flows. Where records may repeat, some are written twice.

"""
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
    """The part of the page about the sources on which every case of every rule is executed."""
    (head, *rows), reasons = table(entries)
    counted = "\n".join(f"- {line}" for line in totals(entries))
    refused = "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    return f"{HEAD}{counted}\n\n{markdown_table(head, rows)}\n## Why a query is refused\n\n{refused}\n"


def others(entries: Sequence[Entry]) -> str:
    """The part about the other sources."""
    head, *rows = by_source(entries)
    counted = "\n".join(f"- {line}" for line in totals(entries))
    return f"{OTHERS}\n{ABOUT}{counted}\n\n{markdown_table(head, rows)}"


def made_of(entries: Sequence[Entry], before: str) -> str:
    """The page, with the parts that were executed new and the others as they were."""
    full, rest = divided(entries)
    first, mark, second = before.partition(f"\n{OTHERS}\n")
    upper = page(full) if {entry.language for entry in full} >= LANGUAGES else first
    lower = f"\n{others(rest)}" if {entry.language for entry in rest} >= LANGUAGES - {"SPL tstats"} else mark + second
    return upper + lower


def main(arguments: Sequence[str]) -> int:
    before = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    entries = Ledger(Path(arguments[-1])).entries()
    for part, languages in zip(divided(entries), (LANGUAGES, LANGUAGES - {"SPL tstats"}), strict=True):
        if missing := sorted(languages - {entry.language for entry in part}):
            print(f"nothing was executed in {', '.join(missing)}; that part of docs/parity.md is left as it is")
    made = made_of(entries, before)
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if made != before:
        print("docs/parity.md is out of date: run `make parity`, and read the diff")
    return int(made != before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

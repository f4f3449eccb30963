"""Writes what tests compare with and people review.

tests/golden/<dialect>/<source>/<context>/<rule>.txt is what the pack's rules convert to;
tests/golden/elastic_rules the detection rules around them, with texts line by line; tests/golden/splunk_rules the
saved searches around those of Suricata (raw events) and Zeek (data model);
mappings/<source>/sample.flows.jsonl what raw records become; tests/golden/cli what the
command line prints; tests/golden/shared_data.txt what ../shared/data shows; docs/stock_converters.md what the official
converters make of rules about flows.

`python -m tests.golden_files` writes them, and `--check` says which differ; `make golden` and `make check` call it.
A test compares too, so that every change of a query is seen and reviewed. A query is one line; here each
of its commands has one, and after an empty line come its caveats. Where a rule is refused, the refusal stands there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ewdetect.docs.queries import one_command_a_line
from ewdetect.load import load_sources
from ewdetect.model import Kind, Rule
from ewdetect.problems import Rejected
from tests.convert_world import DIALECTS, ROOT, SOURCES, converted, golden_forms, pack, refusal, sayable
from tests.elastic_rules import golden_rules
from tests.faults.page import golden_page
from tests.samples import golden_samples
from tests.splunk_rules import golden_saved_searches
from tests.test_cli import golden_cli
from tests.test_shared_data import GOLDEN as SHARED_TABLE
from tests.test_shared_data import table
from tests.world import SHARED

GOLDEN = ROOT / "tests" / "golden"
CORRELATED = ("esql", "spl")          # the dialects that correlations convert to
FOLDERS = {"lucene": "elastic", "esql": "esql", "spl": "splunk"}
SAVED = "splunk_rules"


def golden_files(shared: bool = True) -> Iterator[tuple[Path, str]]:
    """Every golden file and what must stand in it. `shared`: also the table of ../shared/data, which takes a minute."""
    yield from golden_queries()
    yield from golden_rules(GOLDEN)
    yield from golden_saved_searches(GOLDEN / SAVED)
    yield from golden_names()
    yield from golden_samples()
    yield from golden_cli()
    yield from golden_page()
    if shared and SHARED.is_dir():
        yield SHARED_TABLE, table()


def golden_queries() -> Iterator[tuple[Path, str]]:
    """The queries of the pack, for every dialect."""
    for rule in pack().rules.values():
        if not rule.alerts or not sayable(rule):
            continue
        for dialect in DIALECTS if rule.kind is Kind.EVENT else CORRELATED:
            for source, context in golden_forms(rule):
                path = GOLDEN / FOLDERS[dialect] / source / context / f"{rule.name}.txt"
                yield path, _query(rule, dialect, source, context)


def _query(rule: Rule, dialect: str, source: str, context: str) -> str:
    """The query and its caveats, or why there is none: a refusal is reviewed like a query."""
    try:
        query = converted(rule, dialect, source_name=source, context=context)
    except Rejected as refused:
        return "\n".join(["refused", "", *refusal(refused)]) + "\n"
    return "\n".join([one_command_a_line(query.text), "", *query.caveats]) + "\n"


# Of the other sources, enough to review their names: two rules, context written in.
NAMED = tuple(s.name for s in load_sources() if s.name not in SOURCES)
NAMED_RULES = ("db_unapproved_role", "constrained_device_admin")


def golden_names() -> Iterator[tuple[Path, str]]:
    for dialect, siem in DIALECTS.items():
        for source in NAMED:
            if (ROOT / "mappings" / source / f"{siem}.yml").is_file():
                for rule in NAMED_RULES:
                    path = GOLDEN / FOLDERS[dialect] / source / "inline" / f"{rule}.txt"
                    yield path, _query(pack().rules[rule], dialect, source, "inline")


def write() -> None:
    for folder in (*FOLDERS.values(), "elastic_rules", SAVED):
        shutil.rmtree(GOLDEN / folder, ignore_errors=True)
    for path, text in golden_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def stale(shared: bool = True) -> list[Path]:
    """The golden files that are missing, differ, or belong to no rule."""
    expected = dict(golden_files(shared))
    assert not any(str(ROOT) in text for text in expected.values()), "a golden file names this very folder"
    there = {path for folder in FOLDERS.values() for path in (GOLDEN / folder).rglob("*.txt")}
    there |= set((GOLDEN / "elastic_rules").rglob("*.json")) | set((GOLDEN / SAVED).rglob("*.conf"))
    changed = {path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text}
    return sorted(changed | (there - expected.keys()))


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        write()
        return 0
    found = stale()
    for path in found:
        print(f"{path.relative_to(ROOT)} is out of date: run `make golden`, and read the diff")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

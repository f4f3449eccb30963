"""Writes tests/golden/<dialect>/<source>/<context>/<rule>.txt: what the pack's rules on single flows convert to.

`python -m tests.golden_files` writes them; `make golden` calls it. A test compares, so that every change of a query
is seen and reviewed. The first lines are the query, the ones after an empty line its caveats.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ewdetect.model import Kind
from tests.convert_world import DIALECTS, ROOT, SOURCES, converted, pack

GOLDEN = ROOT / "tests" / "golden"
FOLDERS = {"lucene": "elastic", "esql": "esql", "spl": "splunk"}


def golden_files() -> Iterator[tuple[Path, str]]:
    """Every golden file and what must stand in it."""
    for rule in pack().rules.values():
        if rule.kind is not Kind.EVENT or not rule.alerts:
            continue
        for dialect in DIALECTS:
            for source in SOURCES:
                for context in ("inline", "enriched"):
                    query = converted(rule, dialect, source_name=source, context=context)
                    path = GOLDEN / FOLDERS[dialect] / source / context / f"{rule.name}.txt"
                    yield path, "\n".join([query.text, "", *query.caveats]) + "\n"


def write() -> None:
    for folder in FOLDERS.values():
        shutil.rmtree(GOLDEN / folder, ignore_errors=True)
    for path, text in golden_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()

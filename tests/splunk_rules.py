"""The saved searches of the pack, as people review them: each command of a search on a line of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ewdetect.convert import backend, convert_rule
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule
from tests.convert_world import office, pack, refusal, source

# Raw events with a start of their own and the lookup; the data model, with the zones written in.
FORMS = (("suricata_eve", "spl", "enriched"), ("zeek_conn", "tstats", "inline"))


def golden_saved_searches(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file and what must stand in it: the .conf text, or why there is none."""
    splunk = backend("splunk")
    for rule in pack().alerting():
        for name, dialect, context in FORMS:
            resolved = resolve_rule(rule, pack(), source(name), office())
            try:
                text = splunk.content(resolved, convert_rule(resolved, splunk, context, dialect))
            except Rejected as rejected:
                text = "".join(f"# refused: {line}\n" for line in refusal(rejected))
            yield folder / name / dialect / f"{rule.name}.conf", text.replace(" | ", "\n    | ")

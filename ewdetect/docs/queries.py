"""What a rule becomes in each SIEM, folded away on its page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ewdetect.backends.base import Backend, Query
from ewdetect.convert import backend, convert_rule
from ewdetect.docs.markdown import bullets, code, fenced
from ewdetect.flows import Source
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule

# The page shows one source, and the way of context that every rule can have without a network file.
SOURCE, CONTEXT = "zeek_conn", "enriched"
_SIEMS = {"elastic": "Elastic", "splunk": "Splunk"}
_TEXT_OR_PIPE = re.compile(r'("(?:[^"\\]|\\.)*")| \| ')


def queries(resolved: ResolvedRule, sources: Sequence[Source], root: Path) -> str:
    """One folded block for each SIEM: the query with its caveats, or why there is none."""
    source = next(each for each in sources if each.name == SOURCE)
    asked = replace(resolved, source=source)
    how = (f"Flows of `{SOURCE}`, with context fields that the SIEM fills. `ewdetect convert {resolved.rule.name} "
           f"--to SIEM --source SOURCE --network FILE` writes it for your telemetry, with your network in it.")
    return "\n".join([f"{how}\n", *(_folded(asked, name, root) for name in _SIEMS)])


def one_command_a_line(query: str) -> str:
    """A query of piped commands with a line for each; a pipe inside a text stays where it is."""
    return _TEXT_OR_PIPE.sub(lambda found: found[1] or "\n| ", query)


def _folded(resolved: ResolvedRule, siem: str, root: Path) -> str:
    try:
        query = convert_rule(resolved, _backend(siem), CONTEXT)
        summary, content = f"{_SIEMS[siem]} ({query.dialect})", _shown(query)
    except Rejected as rejected:
        summary, content = f"{_SIEMS[siem]}: no query", bullets(_reasons(rejected, root))
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n</details>\n"


def _shown(query: Query) -> str:
    caveats = f"\n{bullets(query.caveats)}" if query.caveats else ""
    return fenced(one_command_a_line(query.text), query.dialect) + caveats


def _reasons(rejected: Rejected, root: Path) -> Iterator[str]:
    for problem in rejected.problems:
        yield f"{code([problem.code])}: {problem.message.replace(f'{root}/', '')}"


@cache
def _backend(name: str) -> Backend:
    return backend(name)

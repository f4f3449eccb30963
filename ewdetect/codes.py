"""Every problem code and what it means: from data/problems.yml, and for policy checks from their docstrings."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from ewdetect import schemas
from ewdetect.checks import CHECKS
from ewdetect.yamlfile import read_documents

_TABLE = Path(__file__).parent / "data" / "problems.yml"
_ITEM = re.compile(r"^- `([a-z/-]+)`: (.+(?:\n  .+)*)", re.MULTILINE)


@cache
def explanations() -> Mapping[str, str]:
    """Code → one to three sentences of markdown, sorted by code."""
    return dict(sorted([*_listed(), *_checked()]))


def _listed() -> Iterator[tuple[str, str]]:
    for code, text in read_documents(_TABLE)[0].data.items():
        area, _, word = code.partition("/")
        for name in schemas.names() if area == "*" else (area,):
            yield f"{name}/{word}", text


def _checked() -> Iterator[tuple[str, str]]:
    for check in CHECKS:
        for code, text in _ITEM.findall(sys.modules[check.__module__].__doc__ or ""):
            yield code, " ".join(text.split())

"""The first files of a new rule or source: complete, valid and ready to be changed. Templates are in data/new/."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from ewdetect.problems import Location, Problem, Rejected

_TEMPLATES = Path(__file__).parent / "data" / "new"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FAMILY = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*")

Files = Mapping[Path, str]


def new_rule(address: str, into: Path, author: str) -> Files:
    """A rule and its cases, for `family/name`: path → text. Raises Rejected for a bad or taken name."""
    family, _, name = address.rpartition("/")
    if not (_FAMILY.fullmatch(family) and _NAME.fullmatch(name)):
        raise Rejected([Problem("new/bad-name", f"`{address}` is no name for a rule", None,
                                "write family/name in lower case, such as discovery/scan_hosts")])
    words = {"name": name, "id": str(uuid.uuid4()), "date": datetime.now(UTC).date().isoformat(), "author": author}
    folder = into / family
    return _absent({folder / f"{name}.yml": _filled("rule.yml", words),
                    folder / f"{name}.test.yaml": _filled("rule.test.yaml", words)})


def new_source(name: str, into: Path) -> Files:
    """A telemetry source and a record that it reads: path → text. Raises Rejected for a bad or taken name."""
    if not _NAME.fullmatch(name):
        raise Rejected([Problem("new/bad-name", f"`{name}` is no name for a source", None,
                                "use lower-case letters, digits and _, such as aws_vpc_flow")])
    folder = into / name
    return _absent({folder / "source.yml": _filled("source.yml", {"name": name}),
                    folder / "sample.jsonl": _filled("sample.jsonl", {})})


def _filled(template: str, words: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)


def _absent(files: Files) -> Files:
    """The files, if none is there yet: nobody's work is overwritten."""
    there = [path for path in files if path.exists()]
    if there:
        raise Rejected(Problem("new/exists", f"`{path}` is there already", Location(str(path)), "choose another name")
                       for path in there)
    return files

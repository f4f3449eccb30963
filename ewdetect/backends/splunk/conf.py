"""Splunk's .conf files as text: one stanza after the other, each value on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Stanza:
    """A stanza and its keys, in the order in which they are written."""

    name: str
    keys: Mapping[str, Value]


def written(file: str, stanzas: Sequence[Stanza]) -> str:
    """The stanzas of one file, under a comment with its name."""
    parts = ["\n".join([f"[{_name(s.name)}]", *(f"{key} = {_value(v)}" for key, v in s.keys.items())]) for s in stanzas]
    return f"# {file}\n" + "\n\n".join(parts) + "\n"


def compact(value: Any) -> str:
    """JSON as Enterprise Security writes it back: sorted and without blanks, so that nothing seems to have changed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def one_line(text: str) -> str:
    """A text without line breaks. A backslash at the end would go on with the next line, so it goes."""
    return " ".join(text.split()).rstrip("\\ ")


def _name(name: str) -> str:
    return one_line(name.replace("[", "(").replace("]", ")"))


def _value(value: Value) -> str:
    """Booleans are 1 and 0: the user interface writes them so, and another spelling would hide every later default."""
    return str(int(value)) if isinstance(value, bool | int) else one_line(value)

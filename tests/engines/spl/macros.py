"""Macros in backticks, comments in three backticks. Expansion is textual and comes before parsing, as in Splunk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.engines.spl.errors import SplSyntaxError, UnknownSpl
from tests.engines.spl.limits import Limits, check

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|```.*?```|`([^`]*)`', re.S)
_CALL = re.compile(r"\s*([\w.\-]+)\s*(?:\((.*)\))?\s*", re.S)
_ARGUMENT = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,"]*?))\s*(?:,|$)', re.S)


@dataclass(frozen=True, slots=True)
class Macro:
    """A stanza of macros.conf. The definition names its arguments as `$name$`."""

    definition: str
    args: tuple[str, ...] = ()


def expand(spl: str, macros: Mapping[str, Macro | str], limits: Limits, depth: int = 0) -> str:
    """The text without macros and comments. Keys are as in macros.conf: `name`, or `name(2)` for two arguments."""
    def one(found: re.Match[str]) -> str:
        if found[0].startswith('"'):
            return found[0]
        if found[0].startswith("```"):
            return " "
        check("max_macro_depth", limits.max_macro_depth, depth + 1)
        return expand(_body(found, macros), macros, limits, depth + 1)
    result = _PARTS.sub(one, spl)
    if "`" in re.sub(r'"(?:[^"\\]|\\.)*"', "", result):
        raise SplSyntaxError("a backtick stands alone", result.index("`"))
    return result


def _body(found: re.Match[str], macros: Mapping[str, Macro | str]) -> str:
    call = _CALL.fullmatch(found[1])
    if not call:
        raise SplSyntaxError(f"not a macro call: {found[0]}", found.start())
    args = _arguments(call[2]) if call[2] is not None else []
    key = f"{call[1]}({len(args)})" if args else call[1]
    if key not in macros:
        raise UnknownSpl(f"no macro {key}", found.start())
    macro = macros[key]
    if isinstance(macro, str):
        macro = Macro(macro)
    if len(macro.args) != len(args):
        raise SplSyntaxError(f"macro {key} takes {len(macro.args)} arguments", found.start())
    text = macro.definition
    for name, value in zip(macro.args, args, strict=True):
        text = text.replace(f"${name}$", value)
    return text


def _arguments(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        argument = _ARGUMENT.match(text, at)
        if not argument or argument.end() == at:
            raise SplSyntaxError(f"not macro arguments: {text}")
        found.append(argument[1] if argument[1] is not None else argument[2])
        at = argument.end()
    return found

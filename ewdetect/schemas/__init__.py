"""The JSON Schemas of every file that users write, and what is wrong with a document by them, in plain words.

A schema may say `errorMessage` beside a rule of its own: the sentence that a person (and an editor that knows
the key) is shown when that rule is broken.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from ewdetect.problems import Problem, suggest
from ewdetect.yamlfile import Document, Path_

_FOLDER = Path(__file__).parent
_SUFFIX = ".schema.json"

_TYPES = {"string": "text", "array": "a list", "object": "a mapping", "integer": "a whole number",
          "number": "a number", "boolean": "true or false", "null": "nothing"}

# What a broken keyword means, with {value} for what the schema asks and {given} for what stands there.
_SENTENCES = {
    "minItems": "the list needs at least {value} entries",
    "maxItems": "the list may have at most {value} entries",
    "uniqueItems": "the list says the same thing twice",
    "minProperties": "the mapping needs at least {value} keys",
    "maxProperties": "the mapping may have at most {value} keys",
    "minLength": "the text is empty",
    "maxLength": "the text is longer than {value} characters",
    "minimum": "{given} is less than {value}",
    "maximum": "{given} is more than {value}",
    "exclusiveMinimum": "{given} is not more than {value}",
    "exclusiveMaximum": "{given} is not less than {value}",
    "pattern": "{given} does not have the right form",
    "const": "{given} must be `{value}`",
}


def names() -> tuple[str, ...]:
    """The schemas that ship, by the name that `validate` takes."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}")))


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """One schema as plain data. Raises FileNotFoundError for a name that is not in `names`."""
    loaded: dict[str, Any] = json.loads((_FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return loaded


@dataclass(frozen=True, slots=True)
class _Violation:
    """One broken keyword of a schema, as jsonschema tells it."""

    keyword: str
    asked: Any                      # what the schema says at the keyword
    given: Any                      # the part of the document that breaks it
    path: Path_                     # where that part stands
    rule: Mapping[str, Any]         # the schema object that holds the keyword
    of_name: bool                   # it is a key that breaks it, not a value

    @property
    def own_words(self) -> str:
        return str(self.rule.get("errorMessage", ""))

    @property
    def subject(self) -> str:
        keys = [part for part in self.path if isinstance(part, str)]
        if not keys:
            return "the document"
        return f"an entry of `{keys[-1]}`" if isinstance(self.path[-1], int) else f"`{keys[-1]}`"

    def about(self, key: str) -> str:
        """What the schema says of a key."""
        part = self.rule.get("properties", {}).get(key, {})
        return str(part.get("description", "")) if isinstance(part, dict) else ""


@dataclass(frozen=True, slots=True)
class _Finding:
    """A Problem that lacks its area and its position."""

    code: str
    message: str
    path: Path_
    fix: str


def validate(document: Document, schema_name: str) -> list[Problem]:
    """Every violation in `document`, each at its line and column.

    Codes are `<schema_name>/` and unknown-key, missing-key, wrong-type or bad-value.
    """
    errors = _validator(schema_name).iter_errors(document.data)
    found = dict.fromkeys(finding for error in errors for finding in _findings(error))
    return [Problem(f"{schema_name}/{f.code}", f.message, document.at(*f.path), f.fix) for f in found]


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def _violation(error: ValidationError) -> _Violation:
    rule = error.schema if isinstance(error.schema, Mapping) else {}
    return _Violation(str(error.validator), error.validator_value, error.instance, tuple(error.absolute_path), rule,
                      "propertyNames" in error.absolute_schema_path)


def _findings(error: ValidationError) -> Iterator[_Finding]:
    broken = _violation(error)
    if broken.keyword in ("anyOf", "oneOf") and error.context and not broken.own_words:
        for inner in _meant_branch(error.context):
            yield from _findings(inner)
    elif broken.of_name:
        yield _bad_name(broken)
    elif broken.keyword == "additionalProperties":
        yield from _unknown_keys(broken)
    elif broken.keyword == "not":
        yield _Finding("unknown-key", broken.own_words or "this does not belong here", broken.path, "remove it")
    elif broken.keyword in ("required", "dependentRequired"):
        yield from _missing_keys(broken)
    elif broken.keyword == "type":
        yield _wrong_type(broken)
    else:
        yield _bad_value(broken)


def _meant_branch(errors: Iterable[ValidationError]) -> list[ValidationError]:
    """The errors of the branch that the writer seems to have meant: right type first, then the fewest errors."""
    branches: dict[Any, list[ValidationError]] = {}
    for error in errors:
        branches.setdefault(error.relative_schema_path[0], []).append(error)
    return min(branches.values(), key=_distance)


def _distance(errors: list[ValidationError]) -> tuple[int, int]:
    strangers = sum(error.validator in ("type", "const", "enum") and not error.relative_path for error in errors)
    return strangers, len(errors)


def _bad_name(broken: _Violation) -> _Finding:
    key, path = str(broken.given), (*broken.path, broken.given)
    if broken.keyword == "enum":
        return _Finding("unknown-key", f"`{key}` is not a key here", path, suggest(key, broken.asked))
    return _Finding("bad-value", f"the key `{key}`: {_sentence(broken)}", path, broken.own_words or "rename it")


def _unknown_keys(broken: _Violation) -> Iterator[_Finding]:
    allowed = list(broken.rule.get("properties", ()))
    for key in broken.given:
        if key not in allowed:
            yield _Finding("unknown-key", f"`{key}` is not a key of {broken.subject}", (*broken.path, key),
                           suggest(str(key), allowed))


def _missing_keys(broken: _Violation) -> Iterator[_Finding]:
    for key in _required(broken):
        if key not in broken.given:
            about = broken.about(key)
            yield _Finding("missing-key", broken.own_words or f"`{key}` is missing in {broken.subject}", broken.path,
                           f"add `{key}:`" + (f" - {about}" if about else ""))


def _required(broken: _Violation) -> Iterator[str]:
    if broken.keyword == "required":
        yield from broken.asked
    else:
        for trigger, keys in broken.asked.items():
            yield from keys if trigger in broken.given else ()


def _wrong_type(broken: _Violation) -> _Finding:
    wanted = broken.asked if isinstance(broken.asked, list) else [broken.asked]
    meant = " or ".join(_TYPES[name] for name in wanted)
    return _Finding("wrong-type", f"{broken.subject} must be {meant}, not {_describe(broken.given)}", broken.path,
                    _type_fix(wanted, broken.given))


def _type_fix(wanted: list[str], given: Any) -> str:
    if "array" in wanted and not isinstance(given, dict):
        return "write it as a list: `[…]`, or one `- ` line for each entry"
    if "string" in wanted and isinstance(given, int | float):
        return f'put it in quotes: "{_plain(given)}"'
    if isinstance(given, str) and given.isdigit():
        return f"write {given} without quotes"
    return f"write {' or '.join(_TYPES[name] for name in wanted)}"


def _bad_value(broken: _Violation) -> _Finding:
    words = [str(value) for value in broken.asked] if broken.keyword == "enum" else []
    general = suggest(_plain(broken.given), words) if words else str(broken.rule.get("description", ""))
    fix = broken.own_words or general
    return _Finding("bad-value", f"{broken.subject}: {_sentence(broken)}", broken.path, fix)


def _sentence(broken: _Violation) -> str:
    if broken.keyword == "enum":
        return f"{_describe(broken.given)} is not one of the words allowed"
    template = _SENTENCES.get(broken.keyword, "{given} is not allowed")
    return template.format(value=broken.asked, given=_describe(broken.given))


def _describe(value: Any) -> str:
    if isinstance(value, str | int | float):
        return f"`{_plain(value)}`"
    return "nothing" if value is None else _TYPES["array" if isinstance(value, list) else "object"]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""YAML in, plain data out, with a position for every key and value. The only module that knows YAML.

Three things differ from `yaml.safe_load`, each because a detection was once lost to it:
duplicate keys are problems (with both places), scalars that YAML 1.1 reads as something else than they
look like (`no`, `010`, `12:30`) are problems, and aliases cannot blow a small file up.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ewdetect.problems import Location, Problem, Rejected, WorldFailed

Path_ = tuple[str | int, ...]

MAX_NODES_BY_ALIAS = 10_000
MAX_DEPTH = 60

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
# A date or an ISO 8601 time can be nothing else, so it stays the text that it is.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}([.]\d+)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: `data` as plain dicts, lists and scalars, and where each part of it stands.

    `keys` and `values` map a path into the data, such as `("detection", "selection", 0)`, to its position.
    """

    path: str
    data: Any
    keys: Mapping[Path_, Location]
    values: Mapping[Path_, Location]

    def at(self, *path: str | int) -> Location:
        """The position of the key at `path` (of the value for list items), or of the nearest parent."""
        for length in range(len(path), -1, -1):
            part = path[:length]
            if found := self.keys.get(part) or self.values.get(part):
                return found
        return Location(self.path, 1, 1)


def read_text(path: Path | str, code: str) -> str:
    """A file of text. Raises Rejected with `code` where it is not UTF-8, WorldFailed where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Rejected([Problem(code, f"byte {error.start} is not UTF-8", Location(str(path)),
                                "save the file as UTF-8")]) from error
    except OSError as error:
        raise WorldFailed(f"{path}: {error.strerror}") from error


def read_documents(path: Path | str) -> list[Document]:
    """All documents of a file. Raises Rejected for bad YAML, WorldFailed for an unreadable file."""
    return parse_documents(read_text(path, "yaml/not-utf8"), str(path))


def parse_documents(text: str, path: str) -> list[Document]:
    """All documents of a text; `path` names it in problems."""
    with _nothing_collected():
        return _parsed(text, path)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """All nodes of a file live until it is read, and Python would look through the growing heap for those that do not.

    A network of 20,000 entries took 2.4 times as long with it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parsed(text: str, path: str) -> list[Document]:
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.CSafeLoader) if node is not None]
    except RecursionError as error:
        raise Rejected([Problem("yaml/too-deep", f"nested deeper than {MAX_DEPTH} levels", Location(path),
                                "flatten the document")]) from error
    except yaml.YAMLError as error:
        raise Rejected([_syntax_problem(error, path)]) from error
    builders = [_Builder(path) for _ in nodes]
    documents = [builder.build(node) for builder, node in zip(builders, nodes, strict=True)]
    if problems := [p for builder in builders for p in builder.problems]:
        raise Rejected(problems)
    return documents


def dump(data: Any) -> str:
    """Plain data as YAML, in the order given."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def _syntax_problem(error: yaml.YAMLError, path: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem("yaml/syntax", f"not YAML: {what}", place, "check indentation, quotes and colons")


class _Builder:
    """Turns one node tree into data, noting positions and problems on the way."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.keys: dict[Path_, Location] = {}
        self.values: dict[Path_, Location] = {}
        self._seen: set[int] = set()
        self._by_alias = 0

    def build(self, node: yaml.Node) -> Document:
        try:
            data = self._value(node, (), False)
        except _TooMuch as error:
            self.problems = [error.problem]
            data = None
        return Document(self.path, data, self.keys, self.values)

    def _place(self, node: yaml.Node) -> Location:
        return Location(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def _value(self, node: yaml.Node, path: Path_, aliased: bool) -> Any:
        aliased = aliased or id(node) in self._seen
        self._seen.add(id(node))
        self._guard(node, path, aliased)
        self.values[path] = self._place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, aliased)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i), aliased) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _guard(self, node: yaml.Node, path: Path_, aliased: bool) -> None:
        if len(path) > MAX_DEPTH:
            raise _TooMuch(Problem("yaml/too-deep", f"nested deeper than {MAX_DEPTH} levels", self._place(node),
                                   "flatten the document"))
        self._by_alias += aliased
        if self._by_alias > MAX_NODES_BY_ALIAS:
            raise _TooMuch(Problem("yaml/alias-bomb", f"aliases expand to more than {MAX_NODES_BY_ALIAS} values",
                                   self._place(node), "write the values out"))

    def _mapping(self, node: yaml.MappingNode, path: Path_, aliased: bool) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            here = (*path, key)
            if key in data:
                self.problems.append(Problem(
                    "yaml/duplicate-key", f"`{key}` stands twice; the first is at line {self.keys[here].line}",
                    self._place(key_node), "merge the two, or rename one"))
                continue
            self.keys[here] = self._place(key_node)
            data[key] = self._value(value_node, here, aliased)
        return data

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.value != "<<":
            return str(node.value)
        self.problems.append(Problem("yaml/bad-key", "a key must be a plain word", self._place(node),
                                     "write the keys out; merge keys (`<<`) are not read"))
        return ""

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        if node.style or node.tag == "tag:yaml.org,2002:str":
            return text
        if text.lower() in _CONSTANTS and text.lower() in ("", "~", text):
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            return int(text) if len(text) <= 20 else self._surprise(node, text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _TIME.fullmatch(text):
            return text
        return self._surprise(node, text)

    def _surprise(self, node: yaml.Node, text: str) -> str:
        meant = node.tag.rpartition(":")[2]
        self.problems.append(Problem(
            "yaml/ambiguous-scalar", f"YAML reads `{text}` as {meant}, which is not what it looks like",
            self._place(node), f'write "{text}" in quotes if text is meant, else true, false or a plain number'))
        return text


class _TooMuch(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def walk(data: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value of plain data with its path, parents before children."""
    yield path, data
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from walk(value, (*path, key))

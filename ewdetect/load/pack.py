"""Rule files → Pack. All problems of all files are found before any is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ewdetect import schemas
from ewdetect.load.content import content_root
from ewdetect.load.detection import detection_problems
from ewdetect.load.files import find_files, rule_of
from ewdetect.load.references import Surroundings, reference_problems
from ewdetect.load.tuning import Tuning, tune
from ewdetect.model import OWN_KINDS, Field, Kind, Pack, Rule
from ewdetect.problems import Location, Problem, Rejected, ordered
from ewdetect.yamlfile import Document, read_documents

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KINDS = {"detection": Kind.EVENT, "correlation": Kind.CORRELATION, "filter": Kind.FILTER}


def load_pack(paths: Sequence[Path | str], fields: Mapping[str, Field], tuning: Tuning | None = None) -> Pack:
    """The rules and filters of files and folders, as one environment tunes them if `tuning` is given.

    Raises Rejected with every problem, WorldFailed for a file that cannot be read.
    """
    pack, problems = read_pack(paths, fields, tuning)
    if problems:
        raise Rejected(problems)
    return pack


def read_pack(paths: Sequence[Path | str], fields: Mapping[str, Field],
              tuning: Tuning | None = None) -> tuple[Pack, list[Problem]]:
    """The pack as far as its documents satisfy the schema, and every problem in reading order."""
    own = find_files(tuning.filters if tuning else ())
    files = find_files([*paths, *(tuning.filters if tuning else ())])
    problems = [*files.problems, *_orphans(files.tests)]
    documents: list[Document] = []
    for path in files.rules:
        found, wrong = _read(path)
        documents += found
        problems += wrong
    rules, wrong = _rules(documents)
    pack = _pack(rules)
    elsewhere = _shipped(files.rules) if tuning else frozenset[str]()
    names = frozenset([*_texts(documents, "name"), *_texts(documents, "id"), *(path.stem for path in files.rules)])
    problems += [*wrong, *_identity(documents), *(p for rule in rules for p in detection_problems(rule, fields)),
                 *reference_problems(tuple(rules), Surroundings(pack, fields, names, elsewhere)),
                 *_no_filters(rules, own.rules)]
    if tuning:
        pack, wrong = tune(pack, tuning, fields, elsewhere)
        problems += wrong
    if not pack.rules and not problems:
        problems.append(Problem("rule/none-found", "there is no rule here", Location(", ".join(map(str, paths))),
                                "name a file or a folder that holds `*.yml` rules"))
    return pack, ordered(problems)


def _shipped(files: Sequence[Path]) -> frozenset[str]:
    """Names and ids of the rules that ship, unless they are among `files`."""
    shipped = content_root() / "rules"
    if any(path.resolve().is_relative_to(shipped) for path in files):
        return frozenset()
    documents = [document for path in find_files([shipped]).rules for document in read_documents(path)]
    return frozenset([*_texts(documents, "name"), *_texts(documents, "id")])


def _no_filters(rules: Iterable[Rule], files: Sequence[Path]) -> Iterator[Problem]:
    """Rules among the filters of a tuning: there they would alert in some environments only."""
    paths = {str(path) for path in files}
    for rule in rules:
        if rule.kind is not Kind.FILTER and rule.document.path in paths:
            yield Problem("config/not-a-filter", f"`{rule.name}` is a rule, and filters are looked for here",
                          rule.document.at("title"), "move it to the folder of your rules")


def _read(path: Path) -> tuple[list[Document], list[Problem]]:
    try:
        documents = read_documents(path)
    except Rejected as rejected:
        return [], list(rejected.problems)
    if not documents:
        return [], [Problem("rule/empty-file", "the file holds no YAML document", Location(str(path)),
                            "write the rule, or remove the file")]
    return documents, [*_file_name(documents, path)]


def _orphans(tests: Iterable[Path]) -> Iterator[Problem]:
    for test in tests:
        if not (rule := rule_of(test)).is_file():
            yield Problem("test/no-rule", f"the rule that it proves, `{rule.name}`, is not beside it",
                          Location(str(test)), "name both files alike, or remove the test")


def _file_name(documents: list[Document], path: Path) -> Iterator[Problem]:
    """The file's name must be that of one of its documents; a file of filters may be called anything."""
    named = [d for d in documents if isinstance(d.data, dict) and "filter" not in d.data]
    names = [d.data.get("name") for d in named]
    if names and None not in names and path.stem not in names:
        yield Problem("rule/file-name", f"no document of the file is called `{path.stem}`", named[0].at("name"),
                      f"rename the file to `{names[0]}.yml`, or one document to `{path.stem}`")


def _rules(documents: list[Document]) -> tuple[list[Rule], list[Problem]]:
    rules: list[Rule] = []
    problems: list[Problem] = []
    silent = set(_silent(documents))
    for document in documents:
        if wrong := _document_problems(document):
            problems += wrong
        else:
            rules.append(_rule(document, silent))
    return rules, problems


def _document_problems(document: Document) -> list[Problem]:
    data = document.data
    problems = schemas.validate(document, "rule")
    if isinstance(data, dict) and "filter" not in data and "name" not in data:
        problems.append(Problem("rule/missing-name", "the document has no `name`", document.at(),
                                "add `name:`; the file's detection has the name of the file"))
    return problems


def _silent(documents: list[Document]) -> Iterator[str]:
    """Names and ids of rules that only feed others: a correlation names them without `generate`, or a rule of a type of
    our own."""
    for data in (document.data for document in documents if isinstance(document.data, dict)):
        correlation, own = data.get("correlation"), data.get("ewdetect")
        if isinstance(correlation, dict) and correlation.get("generate") is not True:
            rules = correlation.get("rules")
            yield from (name for name in (rules if isinstance(rules, list) else ()) if isinstance(name, str))
        if isinstance(own, dict) and isinstance(name := own.get("rule"), str):
            yield name


def _rule(document: Document, silent: set[str]) -> Rule:
    """A Rule of a document that satisfies the schema. A missing status claims the least: experimental."""
    body: dict[str, Any] = document.data
    kind = next((kind for key, kind in _KINDS.items() if key in body), None) or Kind(body["ewdetect"]["type"])
    name, level = body.get("name") or body["title"], body.get("level", "")
    referred = body["ewdetect"]["rule"] if kind in OWN_KINDS else (
        body.get("correlation") or body.get("filter") or {}).get("rules", ())
    return Rule(
        name=name, id=body["id"], kind=kind, title=body["title"], level=level,
        status=body.get("status", "experimental"), body=body, document=document,
        refers_to=(referred,) if isinstance(referred, str) else tuple(referred),
        alerts=kind is not Kind.FILTER and level != "informational" and not {name, body["id"]} & silent)


def _pack(rules: list[Rule]) -> Pack:
    first: dict[str, Rule] = {}
    for rule in rules:
        if rule.kind is not Kind.FILTER:
            first.setdefault(rule.name, rule)
    return Pack(first, tuple(rule for rule in rules if rule.kind is Kind.FILTER))


def _identity(documents: list[Document]) -> Iterator[Problem]:
    """Ids that are no UUID, and ids and names that two documents share."""
    for document in documents:
        for text in _texts([document], "id"):
            if not _UUID.fullmatch(text):
                yield Problem("rule/bad-id", f"`{text}` is not a UUID", document.at("id"),
                              "write a random UUID, such as `uuidgen` prints")
    yield from _twice(documents, "id", "every document needs a UUID of its own")
    yield from _twice(documents, "name", "rename one of them")


def _twice(documents: list[Document], key: str, fix: str) -> Iterator[Problem]:
    first: dict[str, Location] = {}
    for document in documents:
        for text in _texts([document], key):
            here = document.at(key)
            before = first.setdefault(text.lower(), here)
            if before != here:
                yield Problem(f"rule/duplicate-{key}", f"`{text}` is the {key} of another document too, at {before}",
                              here, fix)


def _texts(documents: list[Document], key: str) -> Iterator[str]:
    """What stands under a key, in every document where it is text."""
    for document in documents:
        if isinstance(document.data, dict) and isinstance(text := document.data.get(key), str):
            yield text

"""INLINE STATS for a server that has none (8.19), in the stages in which Elasticsearch 9.3 itself runs it.

9.3 computes `prefix | STATS … BY keys` first, and then joins the result to the rows of `prefix` by hash
(EsqlSession, InlineJoin). Here the first stage is a query, its rows become a lookup index, and LOOKUP JOIN is the
join. All else runs as written. What could differ from 9.3 is refused as Unstageable: null keys, a full answer.
Keys with several values join to nothing; emitted queries filter or expand them first.

Each first stage runs all that stands before it, so a long query would take the square of its stages. After every
STAGES of them the rows so far are stored, and the rest of the query reads them from there.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.engines.elasticsearch.client import Answer, Client

NATIVE = (9, 3)
CUT = (10_000, 1_000_000)       # where answers end: by default, and with the setting that the suites make
KEY = "ew_stage_key"
STAGES = 3
METADATA = ("_id", "_index")    # columns that no index can hold under their own names
SEPARATOR = ', "|", '
COMMAND = re.compile(r"INLINE\s+STATS\b(.*)", re.IGNORECASE | re.DOTALL)
CASTS = {"date": "datetime", "null": "keyword", "text": "keyword"}
OPENING, CLOSING = "([", ")]"
TOKEN = re.compile(r'"""(?:.*?)"""|"(?:\\.|[^"\\])*"|`(?:``|[^`])*`|//[^\n]*|/\*.*?\*/|.', re.DOTALL)


class Unstageable(Exception):
    """This INLINE STATS cannot be run in stages without a doubt about its meaning."""


@dataclass(frozen=True, slots=True)
class Inline:
    """One INLINE STATS: its aggregates as text, its keys as (name, expression)."""

    aggregates: str
    keys: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows in an index, and the commands that read them."""

    index: str
    query: str


def run(client: Client, query: str, window: Mapping[str, Any] | None = None) -> Answer:
    """The answer to an ES|QL query of 9.3, from a server of any version. Raises Failed and Unstageable."""
    if _version(client) >= NATIVE:
        return client.esql(query, window)
    done: list[str] = []
    stages, stored = 0, None
    commands = split(query, "|")
    try:
        for place, command in enumerate(commands):
            inline = parse(command)
            if inline and stages == STAGES:
                old, stored = stored, _rows(client, done, commands[place:], window)
                _forget(client, old)
                done, stages, window = [stored.query], 0, None
            done.append(_stage(client, done, inline, window) if inline else command)
            stages += inline is not None
        return client.esql(" | ".join(done), window)
    finally:
        _forget(client, stored)


@cache
def _version(client: Client) -> tuple[int, ...]:
    return client.version()


def split(text: str, separator: str) -> list[str]:
    """Parts between separators outside strings, quoted names and brackets; comments are dropped."""
    parts, depth = [""], 0
    for token in TOKEN.findall(text):
        depth += (token in OPENING) - (token in CLOSING)
        if token.startswith(("//", "/*")):
            parts[-1] += " "
        elif token == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def parse(command: str) -> Inline | None:
    """The parts of an INLINE STATS; None for any other command."""
    found = COMMAND.fullmatch(command)
    if not found:
        return None
    words = list(_words(found.group(1)))
    by = next((place for place, word in enumerate(words) if word.upper() == "BY"), len(words))
    keys = tuple(_key(part) for part in split("".join(words[by + 1 :]), ",") if part)
    return Inline("".join(words[:by]).strip(), keys)


def _words(text: str) -> Iterator[str]:
    """The text in pieces: words, and what is between them; strings and brackets stay whole."""
    for part in split(re.sub(r"\s+", " ", text), " "):
        yield from (part, " ")


def _key(text: str) -> tuple[str, str]:
    """`name = expression` or a bare field name."""
    name, assigned, expression = text.partition("=")
    if assigned and not expression.startswith("="):
        return name.strip(), expression.strip()
    return text.strip(), text.strip()


def _stage(client: Client, prefix: list[str], inline: Inline, window: Mapping[str, Any] | None) -> str:
    """Run the aggregation, store its rows in a lookup index, and return the commands that join it."""
    names = [name for name, _ in inline.keys]
    if not names:
        answer = client.esql(" | ".join([*prefix, f"STATS {inline.aggregates}"]), window)
        return _constants(answer)
    computed = [f"EVAL {name} = {expression}" for name, expression in inline.keys if name != expression]
    key = f"EVAL {KEY} = {_key_expression(uuid.uuid4().hex, names)}"
    stats = [*prefix, *computed, f"STATS {inline.aggregates} BY {', '.join(names)}", key, f"LIMIT {CUT[1]}"]
    answer = client.esql(" | ".join(stats), window)
    _check(answer, names)
    index = _store(client, answer, names)
    return " | ".join([*computed, key, f"LOOKUP JOIN {index} ON {KEY}", f"DROP {KEY}"])


def _rows(client: Client, done: list[str], rest: list[str], window: Mapping[str, Any] | None) -> Stored:
    """The rows so far in an index of their own, with the columns that the rest of the query names.

    Several keyword values come back sorted and once, as from any index.
    """
    answer = client.esql(" | ".join([*done, f"LIMIT {CUT[1]}"]), window)
    _check(answer, [])
    text = " | ".join(rest)
    columns = dict(answer.columns) if "KEEP" not in text else {n: k for n, k in answer.columns if n in text}
    names = {name: f"ew{name}" if name in METADATA else name for name in columns}
    index = f"ew-rows-{uuid.uuid4().hex}"
    client.create(index, {names[name]: _mapping(kind) for name, kind in columns.items()})
    client.load(index, [{held: row[name] for name, held in names.items()} for row in answer.records()])
    renamed = ", ".join(f"{name} = {held}" for name, held in names.items() if name != held)
    return Stored(index, f"FROM {index} | EVAL {renamed}" if renamed else f"FROM {index}")


def _forget(client: Client, stored: Stored | None) -> None:
    if stored:
        client.delete(stored.index)


def _constants(answer: Answer) -> str:
    """One group: its values as constants. (8.19 joins no row on a constant key when no field of FROM is kept.)"""
    (row,) = answer.rows
    assignments = [
        f"{name} = {json.dumps(value)}::{CASTS.get(kind, kind)}"
        for (name, kind), value in zip(answer.columns, row, strict=True)
    ]
    return f"EVAL {', '.join(assignments)}"


def _key_expression(stage: str, names: list[str]) -> str:
    """The stage and all keys as one string: LOOKUP JOIN of 8.19 joins on one field."""
    return f'CONCAT("{stage}|", {SEPARATOR.join(f"TO_STRING({name})" for name in names)})'


def _check(answer: Answer, names: list[str]) -> None:
    if len(answer.rows) in CUT:
        raise Unstageable(f"INLINE STATS has {len(answer.rows)} groups or more: the answer of its first stage is cut")
    if any(record[_bare(name)] is None for record in answer.records() for name in names):
        raise Unstageable(f"a key of INLINE STATS BY {', '.join(names)} is null: filter it before")


def _bare(name: str) -> str:
    """The column name of a possibly quoted name."""
    return name.strip("`") if name.startswith("`") else name


def _store(client: Client, answer: Answer, names: list[str]) -> str:
    """The name of a lookup index that holds the rows. Stages with the same columns share one: a new index is slow."""
    keys = {_bare(name) for name in names}
    kept = tuple((name, kind) for name, kind in answer.columns if name not in keys)
    index = _index(client, kept)
    client.load(index, [{name: record[name] for name, _ in kept} for record in answer.records()], numbered=False)
    return index


def _mapping(kind: str) -> dict[str, str]:
    """How an index holds a column of this ES|QL type."""
    return {"type": "keyword" if kind in ("null", "text") else kind}


@cache
def _index(client: Client, columns: tuple[tuple[str, str], ...]) -> str:
    types = {name: _mapping(kind) for name, kind in columns}
    index = f"ew-stage-{uuid.uuid4().hex}"
    client.create(index, types, {"index.mode": "lookup"})
    return index

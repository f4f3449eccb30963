"""Elasticsearch 9.5's own verdict on ES|QL text: its parser, analyzer and verifier, without a cluster.

They know every field's type, every function's argument types and the rules of each command. They do not execute.
"""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.engines.elasticsearch.java import built, find_java
from tests.engines.elasticsearch.stubs import write_stubs

PROJECT = Path(__file__).parent / "analyzer"
VERSIONS = {"es.version": "9.5.3", "core.version": "9.5.2", "h3.version": "8.19.4"}
MAIN = "org.elasticsearch.xpack.esql.analysis.CheckQueries"
# Placeholders do not satisfy the bytecode verifier everywhere.
FLAGS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote")


class Refused(Exception):
    """Elasticsearch does not accept the query; the message is its own."""


class Broken(Exception):
    """The analyzer met a part of Elasticsearch that is not there."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index or pattern exactly as the query names it, its fields as name → Elasticsearch type."""

    pattern: str
    fields: Mapping[str, str]
    mode: str = "standard"

    def line(self) -> str:
        """As CheckQueries reads it."""
        return " ".join([self.mode, self.pattern, *(f"{name}:{kind}" for name, kind in self.fields.items())])


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A running analyzer."""

    requests: IO[str]
    answers: IO[str]

    def check(self, query: str, indices: Sequence[Index]) -> tuple[tuple[str, str], ...]:
        """The columns of the query as (name, ES|QL type). Raises Refused and Broken."""
        mapping = "\n".join(index.line() for index in indices)
        self.requests.write(f"{_encoded(query)}\t{_encoded(mapping)}\n")
        self.requests.flush()
        verdict, *rest = self.answers.readline().rstrip("\n").split("\t")
        if verdict == "refused":
            raise Refused(_decoded(rest[0]))
        if verdict != "ok":
            raise Broken(_decoded(rest[0]) if rest else "the analyzer ended")
        return tuple((name, kind) for name, _, kind in (column.rpartition(":") for column in rest))


@contextmanager
def analyzer() -> Iterator[Analyzer]:
    """A running analyzer, for as long as the context lasts. Raises Unavailable."""
    java = find_java()
    home = build(java)
    classpath = os.pathsep.join([str(home / "build" / "classes"), str(home / "lib" / "*")])
    command = [str(java), *FLAGS, "-cp", classpath, MAIN]
    pipes = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipes, stdout=pipes, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        yield Analyzer(process.stdin, process.stdout)
        process.stdin.close()


def build(java: Path) -> Path:
    """The folder of the analyzer's jars, classes and placeholders. Raises Unavailable."""
    home = Path.home() / ".cache" / "ewdetect" / f"elasticsearch-analyzer-{VERSIONS['es.version']}"
    built(java, PROJECT, home, VERSIONS)
    if not (home / "lib" / "stubs.jar").is_file():
        write_stubs(home / "lib", "x-pack-esql*.jar", "org/elasticsearch/")
    return home


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return b64decode(text).decode()

"""What tests ask of Elasticsearch, over plain HTTP.

The `elasticsearch` package for 9.x refuses servers of 8.x (it sends `compatible-with=9`), so it is not used here.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SECONDS = 300
BATCH = 10_000      # lines of one bulk request; a server refuses more than 100 MB at once
FAST = {"number_of_replicas": 0, "translog.durability": "async"}     # nothing here outlives its test


class Failed(Exception):
    """The server refused or did not answer; the message holds its reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns (name, ES|QL type) and rows of an ES|QL answer; warnings of the server as text."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """Each row as column name → value."""
        return [dict(zip((name for name, _ in self.columns), row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Client:
    """A cluster at a URL. Every method raises Failed."""

    url: str

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request with a JSON body."""
        data = None if body is None else json.dumps(body).encode()
        answer, _ = self._send(method, path, data, "application/json")
        return answer

    def version(self) -> tuple[int, ...]:
        """(major, minor, patch). Asked of _nodes: the node of this folder has no `GET /`."""
        nodes = self.call("GET", "/_nodes/_local/none?filter_path=nodes.*.version")["nodes"]
        (node,) = nodes.values()
        return tuple(int(part) for part in node["version"].split("-")[0].split("."))

    def create(self, index: str, properties: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> None:
        """A new index; properties is the mapping, by field name."""
        body = {"mappings": {"dynamic": "strict", "properties": properties}, "settings": {**FAST, **(settings or {})}}
        self.call("PUT", f"/{index}", body)

    def delete(self, index: str) -> None:
        """Remove an index; no error if it is not there."""
        self.call("DELETE", f"/{index}?ignore_unavailable=true")

    def load(self, index: str, documents: Iterable[Mapping[str, Any]], numbered: bool = True) -> None:
        """Index documents, visible to queries at once; their ids are 0, 1, 2 … or the server's own."""
        lines = []
        for number, document in enumerate(documents):
            lines += [json.dumps({"index": {"_id": str(number)} if numbered else {}}), json.dumps(document)]
        for start in range(0, len(lines), BATCH):
            self._bulk(index, lines[start:start + BATCH])

    def _bulk(self, index: str, lines: list[str]) -> None:
        data = ("\n".join(lines) + "\n").encode()
        answer, _ = self._send("POST", f"/{index}/_bulk?refresh=true", data, "application/x-ndjson")
        if answer["errors"]:
            reasons = [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]
            raise Failed(f"{len(reasons)} documents were refused; the first: {reasons[0]}")

    def esql(self, query: str, window: Mapping[str, Any] | None = None) -> Answer:
        """Run ES|QL; window is the request's `filter` (query DSL), as Kibana sends the rule's time range."""
        body = {"query": query} | ({"filter": window} if window else {})
        answer, warnings = self._send("POST", "/_query", json.dumps(body).encode(), "application/json")
        if answer.get("is_partial"):
            raise Failed("the answer is partial")
        columns = tuple((column["name"], column["type"]) for column in answer["columns"])
        return Answer(columns, tuple(tuple(row) for row in answer["values"]), tuple(warnings))

    def search(self, index: str, lucene: str, window: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Hits of a Lucene query string, as a Kibana `query` rule asks it (analyze_wildcard on)."""
        text = {"query_string": {"query": lucene, "analyze_wildcard": True}}
        query = {"bool": {"filter": [text, *([window] if window else [])]}}
        answer = self.call("POST", f"/{index}/_search", {"query": query, "size": 10_000})
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def _send(self, method: str, path: str, data: bytes | None, kind: str) -> tuple[dict[str, Any], Sequence[str]]:
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.load(response), response.headers.get_all("Warning") or []
        except urllib.error.HTTPError as refused:
            raise Failed(f"{method} {path}: {refused.code} {_reason(refused.read())}") from refused
        except OSError as silent:
            raise Failed(f"{method} {path}: {silent}") from silent


def _reason(body: bytes) -> str:
    """The server's reason, or the start of whatever it answered."""
    try:
        return str(json.loads(body)["error"]["reason"])
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")

"""From a document to a network: every problem of the file at once, whatever shape it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any

from ewdetect.model import Field
from ewdetect.network.context import Entry, IPNetwork, Network
from ewdetect.network.ranges import V4_FIRST, V4_LAST
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.yamlfile import Document, Path_

# Private addresses: RFC 1918 (IPv4) and RFC 4193 (IPv6). What `internal:` is where a file leaves it out.
DEFAULT_INTERNAL: tuple[IPNetwork, ...] = tuple(
    ip_network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))

# ipaddress also takes netmasks, host masks and zone ids; a context file does not.
_CIDR = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")
# Types of flow.yml: how a fix says them, and what YAML makes of them. All others are text.
_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "boolean": ("true or false", (bool,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "port": ("a port number", (int,)),
}
_TEXT = ("text, in quotes where it looks like a number", (str,))


def network_from(document: Document, context: Mapping[str, Field]) -> Network:
    """The context file that `document` holds; `context` is the bare attribute names of flow.yml.

    Raises Rejected with every problem of the file. Does not rely on the schema having been checked.
    """
    reader = _Reader(document, context)
    network = reader.network()
    if reader.problems:
        raise Rejected(reader.problems)
    return network


class _Reader:
    """Turns one document into a network and notes every problem on the way."""

    def __init__(self, document: Document, context: Mapping[str, Field]) -> None:
        self.document = document
        self.context = context
        self.problems: list[Problem] = []

    def network(self) -> Network:
        data = self.document.data if isinstance(self.document.data, dict) else {}
        if data is not self.document.data:
            self._report("network/bad-value", "a network file holds keys and values", (), "begin with `name:`")
        internal = self._internal(data["internal"]) if "internal" in data else DEFAULT_INTERNAL
        return Network(
            name=self._name(data.get("name")),
            path=self.document.path,
            entries=tuple(self._entries(data.get("networks"))),
            internal=tuple(internal),
            defaults={name: field.default for name, field in self.context.items()})

    def _report(self, code: str, message: str, path: Path_, fix: str) -> None:
        self.problems.append(Problem(code, message, self.document.at(*path), fix))

    def _name(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self._report("network/bad-value", "the network has no name", ("name",), "write `name: office`")
            return ""
        return value

    def _list(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            self._report("network/bad-value", f"`{key}` must be a list", (key,), f"write `{key}:` and items with `-`")
            return []
        return value

    def _internal(self, value: Any) -> list[IPNetwork]:
        items = self._list("internal", value)
        cidrs = [self._cidr(item, ("internal", i)) for i, item in enumerate(items)]
        self._no_duplicates("internal", cidrs)
        return [cidr for cidr in cidrs if cidr]

    def _entries(self, value: Any) -> list[Entry]:
        items = self._list("networks", value)
        entries = [self._entry(item, i) for i, item in enumerate(items)]
        self._no_duplicates("networks", [entry.cidr if entry else None for entry in entries])
        return [entry for entry in entries if entry]

    def _entry(self, item: Any, index: int) -> Entry | None:
        path = ("networks", index)
        if not isinstance(item, dict):
            self._report("network/bad-value", "an entry must have a `cidr` and attributes", path,
                         f"write `cidr: {item}`" if isinstance(item, str) else "write `cidr:` and attributes")
            return None
        attributes = {name: self._value(name, value, (*path, name)) for name, value in item.items() if name != "cidr"}
        cidr = self._cidr(item.get("cidr"), (*path, "cidr"))
        return Entry(cidr, attributes, self.document.at(*path, "cidr")) if cidr else None

    def _cidr(self, value: Any, path: Path_) -> IPNetwork | None:
        try:
            interface = _interface(value)
        except ValueError:
            what = "the entry has no `cidr`" if value is None else f"`{value}` is neither an address nor a CIDR"
            self._report("network/bad-cidr", what, path, "write 10.1.2.3, 10.1.0.0/16 or fd00:1::/32")
            return None
        cidr = interface.network
        if interface.ip != cidr.network_address:
            self._report("network/host-bits-set", f"`{value}` has bits set beyond its prefix of {cidr.prefixlen}", path,
                         f"write {cidr}, or {interface.ip} for that one host")
            return None
        return cidr

    def _no_duplicates(self, key: str, cidrs: list[IPNetwork | None]) -> None:
        seen: dict[IPNetwork, int] = {}
        for index, cidr in enumerate(cidrs):
            if cidr is None or seen.setdefault(cidr, index) == index:
                continue
            first = self.document.at(*self._cidr_path(key, seen[cidr]))
            self._report("network/duplicate-entry", f"{cidr} stands twice; the first is at {first}",
                         self._cidr_path(key, index), "merge the two")

    def _cidr_path(self, key: str, index: int) -> Path_:
        return (key, index, "cidr") if key == "networks" else (key, index)

    def _value(self, name: str, value: Any, path: Path_) -> Any:
        field = self.context.get(name)
        kind, types = _KINDS.get(field.type, _TEXT) if field else _TEXT
        if field is None or name == "known":
            allowed = [attribute for attribute in self.context if attribute != "known"]
            fix = "leave it out: it is true wherever an entry is" if name == "known" else suggest(name, allowed)
            self._report("network/unknown-attribute", f"`{name}` is no attribute of an entry", path, fix)
        elif type(value) not in types or value == "":
            self._report("network/bad-value", f"`{name}` is of type {field.type}, and {_shown(value)} is not", path,
                         f"write {kind}, or leave it out")
        elif isinstance(value, str):
            return self._word(field, value.lower(), path)
        return value

    def _word(self, field: Field, value: str, path: Path_) -> str:
        if field.values and value not in field.values:
            self._report("network/bad-value", f"`{value}` is no {field.name}", path, suggest(value, field.values))
        return value


def _interface(value: Any) -> IPv4Interface | IPv6Interface:
    """An address with its prefix, IPv4-mapped turned into IPv4. Raises ValueError."""
    if not isinstance(value, str) or not _CIDR.fullmatch(value):
        raise ValueError(value)
    interface = ip_interface(value)
    length = interface.network.prefixlen
    if interface.version == 6 and length >= 96 and V4_FIRST <= int(interface.ip) <= V4_LAST:
        return IPv4Interface((int(interface.ip) - V4_FIRST, length - 96))
    return interface


def _shown(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", type(None): "an empty value"}
    return kinds.get(type(value)) or f"`{value!r}`"

"""Placeholders for classes that the jars refer to and do not hold, so that the JVM can link the rest.

Elasticsearch's ES|QL front end refers to the execution engine (x-pack-esql-compute) without running it. Each missing
class becomes an interface or a class whose methods throw null. Format: The Java Virtual Machine Specification, 4.
"""

from __future__ import annotations

import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

UTF8, INTEGER, FLOAT, LONG, DOUBLE, CLASS, STRING = 1, 3, 4, 5, 6, 7, 8
FIELD, METHOD, INTERFACE_METHOD, NAME_AND_TYPE, HANDLE = 9, 10, 11, 12, 15
ONE_INDEX = (CLASS, STRING, 16, 19, 20)
FOUR_BYTES = (INTEGER, FLOAT, FIELD, METHOD, INTERFACE_METHOD, NAME_AND_TYPE, 17, 18)
INVOKE_STATIC = 6
PUBLIC, STATIC, FINAL, SUPER, INTERFACE = 0x1, 0x8, 0x10, 0x20, 0x600
JAVA_21 = 65
THROW_NULL = b"\x01\xbf"
OF_OBJECT = ("getClass", "hashCode", "equals", "toString", "notify", "notifyAll", "wait", "clone")

Member = tuple[str, str]


class Entry(NamedTuple):
    """One entry of a constant pool: its tag, up to two indices, or its bytes."""

    tag: int
    first: int = 0
    second: int = 0
    text: str = ""


@dataclass(slots=True)
class Use:
    """How the jars use one missing class; methods say whether they are static."""

    is_class: bool = False
    methods: dict[Member, bool] = field(default_factory=dict)
    fields: set[Member] = field(default_factory=set)


def write_stubs(lib: Path, scanned: str, package: str) -> Path:
    """lib/stubs.jar: every class of `package` that the jars `scanned` (a glob) use and no jar of lib holds."""
    target = lib / "stubs.jar"
    target.unlink(missing_ok=True)
    present = {name[:-6] for jar in lib.glob("*.jar") for name in zipfile.ZipFile(jar).namelist()}
    uses: defaultdict[str, Use] = defaultdict(Use)
    for jar in sorted(lib.glob(scanned)):
        for data in _classes(jar):
            _note(data, package, present, uses)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name, use in sorted(uses.items()):
            out.writestr(f"{name}.class", stub(name, use))
    return target


def _classes(jar: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if name.endswith(".class") and not name.startswith("META-INF") and name != "module-info.class":
                yield archive.read(name)


def _note(data: bytes, package: str, present: set[str], uses: defaultdict[str, Use]) -> None:
    """Add what one class file uses of the missing classes."""
    pool, parent = _pool(data)
    names = {place: pool[entry.first].text for place, entry in pool.items() if entry.tag == CLASS}
    missing = {place: name for place, name in names.items() if name.startswith(package) and name not in present}
    for name in missing.values():
        uses[name].is_class |= name == names.get(parent)
    for entry in pool.values():
        target = pool[entry.second] if entry.tag == HANDLE else entry
        if target.tag in (FIELD, METHOD, INTERFACE_METHOD) and target.first in missing:
            static = entry.tag == HANDLE and entry.first == INVOKE_STATIC
            _note_member(pool, target, static, uses[missing[target.first]])


def _note_member(pool: Mapping[int, Entry], entry: Entry, static: bool, use: Use) -> None:
    pair = pool[entry.second]
    member = (pool[pair.first].text, pool[pair.second].text)
    use.is_class |= entry.tag == METHOD
    if entry.tag == FIELD:
        use.fields.add(member)
    elif member[0] not in OF_OBJECT:
        use.methods[member] = use.methods.get(member, False) or static


def _pool(data: bytes) -> tuple[dict[int, Entry], int]:
    """The constant pool by index, and the index of the parent class."""
    (count,) = struct.unpack_from(">H", data, 8)
    pool: dict[int, Entry] = {}
    at, place = 10, 1
    while place < count:
        pool[place], size = _entry(data, at)
        place += 2 if pool[place].tag in (LONG, DOUBLE) else 1
        at += size
    _, _, parent = struct.unpack_from(">HHH", data, at)
    return pool, parent


def _entry(data: bytes, at: int) -> tuple[Entry, int]:
    """The entry at an offset and its size in bytes."""
    tag = data[at]
    if tag == UTF8:
        (length,) = struct.unpack_from(">H", data, at + 1)
        return Entry(tag, text=data[at + 3 : at + 3 + length].decode("utf-8", "replace")), 3 + length
    if tag in ONE_INDEX:
        return Entry(tag, *struct.unpack_from(">H", data, at + 1)), 3
    if tag in FOUR_BYTES:
        return Entry(tag, *struct.unpack_from(">HH", data, at + 1)), 5
    if tag == HANDLE:
        return Entry(tag, *struct.unpack_from(">BH", data, at + 1)), 4
    return Entry(tag), 9


class Constants:
    """A constant pool that is being written."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def utf8(self, text: str) -> int:
        """The index of a text."""
        data = text.encode()
        return self._place(struct.pack(">BH", UTF8, len(data)) + data)

    def type(self, name: str) -> int:
        """The index of a class."""
        return self._place(struct.pack(">BH", CLASS, self.utf8(name)))

    def encoded(self) -> bytes:
        """The pool with its count."""
        return struct.pack(">H", len(self._entries) + 1) + b"".join(self._entries)

    def _place(self, entry: bytes) -> int:
        if entry not in self._places:
            self._entries.append(entry)
            self._places[entry] = len(self._entries)
        return self._places[entry]


def stub(name: str, use: Use) -> bytes:
    """A class file with the members that are used."""
    constants = Constants()
    names = (constants.type(name), constants.type("java/lang/Object"))
    methods = dict(use.methods) | ({("<init>", "()V"): False} if use.is_class else {})
    field_flags = PUBLIC | STATIC | (0 if use.is_class else FINAL)
    fields = [struct.pack(">HHHH", field_flags, *_indices(constants, member), 0) for member in sorted(use.fields)]
    bodies = [_method(constants, member, static) for member, static in sorted(methods.items())]
    flags = PUBLIC | (SUPER if use.is_class else INTERFACE)
    return b"".join(
        [
            struct.pack(">IHH", 0xCAFEBABE, 0, JAVA_21),
            constants.encoded(),
            struct.pack(">HHHH", flags, *names, 0),
            _counted(fields),
            _counted(bodies),
            struct.pack(">H", 0),
        ]
    )


def _counted(parts: Sequence[bytes]) -> bytes:
    return struct.pack(">H", len(parts)) + b"".join(parts)


def _indices(constants: Constants, member: Member) -> tuple[int, int]:
    return constants.utf8(member[0]), constants.utf8(member[1])


def _method(constants: Constants, member: Member, static: bool) -> bytes:
    """A public method whose body is `throw null`."""
    code = struct.pack(">HHI", 1, 255, len(THROW_NULL)) + THROW_NULL + struct.pack(">HH", 0, 0)
    flags = PUBLIC | (STATIC if static else 0)
    head = struct.pack(">HHHH", flags, *_indices(constants, member), 1)
    return head + struct.pack(">HI", constants.utf8("Code"), len(code)) + code

"""Which files to read, and what is in them: globs, folders, standard input, gzip, truncated gzip."""

from __future__ import annotations

import codecs
import glob
import gzip
import mmap
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ewdetect.flows.source import Format, Source
from ewdetect.problems import Location, Problem, Rejected, WorldFailed

ENDINGS = (".json", ".jsonl", ".ndjson", ".log", ".csv", ".tsv", ".parquet")
HEAD_BYTES = 65_536
LONGEST_LINE = 1_000_000        # characters; DuckDB takes lines of two million bytes
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"


class Container(StrEnum):
    """What a file is by its content. `document` is JSON laid out over lines, `csv` any other text."""

    NDJSON = "ndjson"
    DOCUMENT = "document"
    ZEEK_TSV = "zeek_tsv"
    CSV = "csv"
    PARQUET = "parquet"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A file to read. `shown` is its name in reports; `header` are the columns that a text file names."""

    path: str
    shown: str
    container: Container
    gzipped: bool
    header: tuple[str, ...] = ()
    marked: bool = False            # begins with a byte order mark


def expand(paths: Sequence[str], spool: Path) -> list[tuple[str, str]]:
    """(path, name to show) of every file that the arguments mean; `-` is standard input, kept under `spool`."""
    found: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for given in paths:
        here = [_stdin(spool)] if given == "-" else [(p, p) for p in _matches(given)]
        if not here:
            problems.append(Problem("path/missing", f"there is no `{given}`", Location(given),
                                    "check the path; quote a glob so that the shell leaves it alone"))
        found += here
    if problems:
        raise Rejected(problems)
    return list(dict.fromkeys(found))


def _matches(given: str) -> list[str]:
    path = Path(given)
    try:
        if path.is_dir():
            return sorted(str(p) for p in path.rglob("*") if p.is_file() and _ending(p) in ENDINGS)
        return [given] if path.exists() else sorted(p for p in glob.glob(given, recursive=True) if Path(p).is_file())
    except OSError as error:
        raise WorldFailed(f"{given}: {error.strerror}") from error


def _ending(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _stdin(spool: Path) -> tuple[str, str]:
    target = spool / "stdin"
    with target.open("wb") as out:
        shutil.copyfileobj(sys.stdin.buffer, out, 1 << 20)
    return str(target), "-"


def inspect(path: str, shown: str, source: Source | None = None) -> FlowFile:
    """Look at the beginning of a file. Raises WorldFailed where it cannot be opened."""
    try:
        with open(path, "rb") as file:
            start = file.read(HEAD_BYTES)
    except OSError as error:
        raise WorldFailed(f"{shown}: {error.strerror}") from error
    gzipped = start.startswith(GZIP_MAGIC)
    head = _inflate(start) if gzipped else start
    container = _container(head)
    return FlowFile(path, shown, container, gzipped, _header(container, head.decode("utf-8", "replace"), source),
                    head.startswith(codecs.BOM_UTF8))


def _inflate(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, HEAD_BYTES)
    except zlib.error:
        return b""


def _container(head: bytes) -> Container:
    if head.startswith(PARQUET_MAGIC):
        return Container.PARQUET
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not begin:
        return Container.EMPTY
    if any(line.startswith(b"#fields") for line in begin.splitlines()):
        return Container.ZEEK_TSV
    first = begin.splitlines()[0].strip()
    if first in (b"{", b"[") or first.startswith(b"[{"):
        return Container.DOCUMENT
    return Container.NDJSON if _jsonish(begin) else Container.CSV


def _jsonish(begin: bytes) -> bool:
    """JSON lines, even where the first lines are damaged."""
    lines = [line for line in begin.splitlines()[:50] if line.strip()]
    return any(line.lstrip().startswith(b"{") for line in lines)


def _header(container: Container, head: str, source: Source | None) -> tuple[str, ...]:
    """The columns that a text table names."""
    columns = source.lines.columns if source and source.lines else None
    if container is Container.CSV and columns:
        rows = ([word.strip() for word in line.removeprefix("\ufeff").split(columns.separator)]
                for line in head.splitlines())
        return next((tuple(row) for row in rows if set(columns.header) & set(row)), ())
    match container:
        case Container.ZEEK_TSV:
            return next(tuple(line.split("\t")[1:]) for line in head.splitlines() if line.startswith("#fields"))
        case Container.CSV:
            return tuple(head.splitlines()[0].split(","))
    return ()


def fits(file: FlowFile, source: Source) -> bool:
    """Whether a source reads this kind of file at all."""
    if file.container is Container.EMPTY:
        return True
    read = {c for form in source.formats for c in _CONTAINERS[form]}
    columns = source.lines.columns if source.lines else None
    nameless = file.container is Container.CSV and columns and not columns.names and not file.header
    return file.container in read and not nameless


_CONTAINERS = {
    Format.NDJSON: (Container.NDJSON, Container.DOCUMENT),
    Format.OBJECTS: (Container.NDJSON, Container.DOCUMENT),
    Format.ZEEK: (Container.ZEEK_TSV, Container.NDJSON),
    Format.LINES: (Container.CSV,),
    Format.PARQUET: (Container.PARQUET,),
    Format.TABLE: (Container.NDJSON, Container.CSV, Container.PARQUET),
}


def salvage(file: FlowFile, spool: Path) -> tuple[FlowFile, str] | None:
    """Decompress what can be decompressed of a damaged gzip file into `spool`, and say what is wrong; else None."""
    if not file.gzipped:
        return None
    target = spool / f"salvaged-{abs(hash(file.path))}"
    damage = ""
    with gzip.open(file.path) as packed, target.open("wb") as out:
        try:
            for chunk in _chunks(packed):
                out.write(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            damage = str(error) or "damaged"
    if not damage:
        target.unlink()
        return None
    return FlowFile(str(target), file.shown, file.container, False, file.header), damage


def _chunks(stream: gzip.GzipFile) -> Iterator[bytes]:
    while chunk := stream.read1(1 << 20):
        yield chunk


def lines_within(file: FlowFile, size: int) -> bool:
    """Whether no line of a text file is longer than `size` bytes, at least 1 MiB.

    DuckDB leaves out lines longer than its buffer, and says nothing. Of a file that is not compressed, this looks at
    one place in `size` bytes.
    """
    if file.gzipped:
        return _unpacked_within(file, size)
    with open(file.path, "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as text:
        begin = 0
        while len(text) - begin > size:
            begin = text.rfind(b"\n", begin, begin + size + 1) + 1 or len(text) + 1
        return begin <= len(text)


def _unpacked_within(file: FlowFile, size: int) -> bool:
    length = 0
    try:
        with gzip.open(file.path) as raw:
            while length <= size and (chunk := raw.read(1 << 20)):
                head, end, rest = chunk.partition(b"\n")
                length += len(head)
                if end and length <= size:
                    length = len(rest) - 1 - rest.rfind(b"\n")
    except (EOFError, OSError, zlib.error):
        pass        # a damaged end is the reader's to find
    return length <= size


def cleaned(file: FlowFile, spool: Path) -> FlowFile:
    """A copy of a text file without what no reader takes: bytes that are no UTF-8, NULs, the end of endless lines.

    Lines keep their numbers. A byte order mark is left out.
    """
    if file.container is Container.PARQUET:
        return file
    target = spool / f"cleaned-{abs(hash(file.path))}"
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    with (gzip.open(file.path) if file.gzipped else open(file.path, "rb") as raw,
          target.open("w", encoding="utf-8", newline="") as out):
        length = 0
        while chunk := raw.read(1 << 20):
            first, *others = decoder.decode(chunk).replace("\0", "\ufffd").split("\n")
            out.write(first[:max(LONGEST_LINE - length, 0)])
            length += len(first)
            out.writelines(f"\n{line[:LONGEST_LINE]}" for line in others)
            length = len(others[-1]) if others else length
    return FlowFile(str(target), file.shown, file.container, False, file.header)

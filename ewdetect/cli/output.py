"""Where verbs write: results to standard output, talk to standard error, alerts to a file, whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from ewdetect.problems import Location, Problem, Rejected, WorldFailed
from ewdetect.report.problems_text import problems_text

_WIDTH = 100            # where there is no terminal whose width could be asked for


def show(result: RenderableType, stream: TextIO | None = None, wrap: bool = True) -> None:
    """Print a report, in colours only on a terminal whose user has not set NO_COLOR."""
    out = stream or sys.stdout
    drawn = io.StringIO()
    _console(out, drawn).print(result, soft_wrap=not wrap)
    emit("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()), out)


def emit(text: str, stream: TextIO | None = None) -> None:
    """Write text at once. Raises WorldFailed for a full disk, BrokenPipeError where nobody reads."""
    out = stream or sys.stdout
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WorldFailed(f"standard output: {error.strerror}") from error


def tell(message: str) -> None:
    """Say something that is not the result."""
    print(message, file=sys.stderr)


def tell_problems(problems: Sequence[Problem]) -> None:
    """Say what is wrong, where that is not what was asked for."""
    show(problems_text(problems, source_line), sys.stderr, wrap=False)


@cache
def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:         # the excerpt is a courtesy
        return []


def source_line(location: Location) -> str:
    """The line of a file that a problem is about, or nothing."""
    lines = _lines(location.path)
    return lines[location.line - 1] if 0 < location.line <= len(lines) else ""


@contextmanager
def progress(verb: str) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error while long work lasts, and nothing where that is no terminal. Yields its updater."""
    console = _console(sys.stderr, sys.stderr)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(verb)) as status:
        yield lambda what: status.update(Text(f"{verb}: {what}"))


@contextmanager
def whole_file(target: str) -> Iterator[Callable[[Iterable[str]], None]]:
    """Opens the way to a file before the work begins, and yields what writes lines to it.

    The file appears under its name only when it is complete; until then, and after a failure, whatever had that name
    is untouched. `-` is standard output; a device or a pipe is written to directly. Raises WorldFailed, and
    Rejected for a folder that is not there.
    """
    path = Path(os.path.realpath(target))
    if target == "-":
        yield lambda lines: emit("".join(lines))
    elif path.is_dir() or not path.parent.is_dir():
        fix = "name a file in the folder" if path.is_dir() else "make the folder first"
        raise Rejected([Problem("path/missing", f"no file can be written at `{target}`", Location(target), fix)])
    elif path.exists() and not path.is_file():
        yield lambda lines: _write(path, lines)
    else:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            _write(part, ())
            yield lambda lines: _write(part, lines)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        with path.open("w", encoding="utf-8") as out:
            out.writelines(lines)
            out.flush()
            if path.is_file():
                os.fsync(out.fileno())
    except OSError as error:
        raise WorldFailed(f"{path}: {error.strerror}") from error


def _console(stream: TextIO, drawn: TextIO) -> Console:
    """A console that draws into `drawn` what fits `stream`.

    Rich keeps bold and underline under NO_COLOR; here it means no escape sequence at all.
    """
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH
    plain = bool(os.environ.get("NO_COLOR"))
    return Console(file=drawn, force_terminal=True if stream.isatty() else None, width=width,
                   color_system=None if plain else "auto", highlight=False, markup=False, emoji=False)

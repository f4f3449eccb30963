"""How every verb ends: the one place that turns results and failures into exit codes.

- 0 yes
- 1 no: problems in rules, tests or networks, a failed case, a missed step
- 2 asked wrongly: an unknown verb, option, rule or source, or a path that leads nowhere, on the command line
- 3 the world failed: a full disk, a file that may not be read, no memory
- 130 interrupted, and 141 the reader of standard output went away: what a shell shows of any program that a signal ends

Everything else is a bug and stays a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence

import click

from ewdetect.problems import Problem, Rejected, Severity, WorldFailed

YES, NO, ASKED_WRONGLY, WORLD_FAILED, INTERRUPTED, READER_LEFT = 0, 1, 2, 3, 130, 141

# Problems of the command line itself. If a rejection holds nothing else, the question was wrong, not the content.
_OF_THE_QUESTION = frozenset({
    "config/switched-off", "convert/no-source", "convert/unknown-context", "convert/unknown-dialect",
    "convert/unknown-target", "explain/unknown", "flows/wrong-source", "new/bad-name", "new/exists", "path/missing",
    "rule/unknown", "source/unknown"})


def code_of(problems: Sequence[Problem]) -> int:
    """The exit code for these problems; warnings alone are a yes."""
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if not errors:
        return YES
    return ASKED_WRONGLY if all(problem.code in _OF_THE_QUESTION for problem in errors) else NO


def guarded(work: Callable[[], int]) -> int:
    """Do the work of a verb, say what stopped it if anything did, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")       # a terminal that cannot show `→` is no reason to fail
    try:
        code = work()
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return ASKED_WRONGLY
    except Rejected as rejected:
        return _rejected(rejected)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except BrokenPipeError:
        _silence_stdout()
        return READER_LEFT
    except WorldFailed as failure:
        return _world_failed(str(failure))
    except OSError as failure:
        return _world_failed(": ".join(filter(None, [failure.filename, failure.strerror or str(failure)])))
    return code


def _rejected(rejected: Rejected) -> int:
    """The import waits until there is something to say: help must be quick."""
    from ewdetect.cli.output import tell_problems

    tell_problems(rejected.problems)
    return code_of(rejected.problems)


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return INTERRUPTED


def _world_failed(what: str) -> int:
    _silence_stdout()
    print(f"ewdetect: {what}", file=sys.stderr)
    return WORLD_FAILED


def _silence_stdout() -> None:
    """Nobody reads any more, and what is left in the buffer must not fail again while Python ends."""
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

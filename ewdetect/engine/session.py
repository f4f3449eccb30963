"""Rules on one connection: their stages are temporary relations, which no other connection sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

import duckdb

from ewdetect.backends.duckdb.stages import Block
from ewdetect.engine.alerts import Bundle, bundles
from ewdetect.plan import Stage


@dataclass(frozen=True, slots=True)
class Job:
    """A rule as the engine runs it: the statements, and what the last of them leaves."""

    name: str
    blocks: tuple[Block, ...]
    stages: tuple[Stage, ...]


class Session:
    """Runs one rule after the other. Rules that share a stage share its work."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self._made: dict[str, object] = {}
        self._stopped = False
        db.execute("SET TimeZone = 'UTC'")

    def run(self, job: Job) -> list[Bundle]:
        """What each alert of the rule holds, oldest first."""
        *before, last = job.blocks
        for block in before:
            self._make(block)
        return bundles(self._db, job.stages[-1]) if self._make(last, unless_empty=True) else []

    def forget(self) -> None:
        """The flows are others now."""
        self._made.clear()

    def stop(self) -> None:
        """From another thread: end the statement that runs, and begin no other."""
        self._stopped = True
        self._db.interrupt()

    def close(self) -> None:
        self._db.close()

    def _make(self, block: Block, unless_empty: bool = False) -> bool:
        """Run a block unless the same statements stand on the same inputs already.

        With `unless_empty` it is left undone, and the answer is False, where no row is there for it to look at: most
        rules have none, and planning the rest takes longer than anything else they do.
        """
        fingerprint = (block.statements, tuple(self._made.get(i) for i in block.inputs))
        if self._made.get(block.stage) == fingerprint:
            return True
        self._made.pop(block.stage, None)
        first, *others = block.statements
        if self._execute(first) == 0 and unless_empty:
            return False
        for statement in others:
            self._execute(statement)
        self._made[block.stage] = fingerprint
        return True

    def _execute(self, statement: str) -> int | None:
        """How many rows a new table has."""
        if self._stopped:
            raise duckdb.InterruptException("stopped")
        row = self._db.execute(statement).fetchone()
        return row[0] if row else None


def run_at_once(db: duckdb.DuckDBPyConnection, jobs: Sequence[Job], sessions: int,
                progress: Callable[[str], None]) -> list[list[Bundle]]:
    """What every rule finds, in the order of `jobs`, several of them at a time.

    Most of a rule's statements are planned for longer than they run, and a plan is made on one core.
    """
    free: SimpleQueue[Session] = SimpleQueue()

    def run(job: Job) -> list[Bundle]:
        session = free.get()
        try:
            progress(job.name)
            return session.run(job)
        finally:
            free.put(session)

    with _divided(db, sessions), ExitStack() as stack:
        opened = [stack.enter_context(closing(Session(db.cursor()))) for _ in range(sessions)]
        pool = stack.enter_context(ThreadPoolExecutor(sessions))
        for session in opened:
            free.put(session)
        asked = [pool.submit(run, job) for job in jobs]
        try:
            ended, _ = wait(asked, return_when=FIRST_EXCEPTION)
            for each in ended:
                each.result()
            return [each.result() for each in asked]
        finally:
            # Where one failed, or the user did not want to wait, the others end too.
            pool.shutdown(wait=False, cancel_futures=True)
            for session in opened:
                session.stop()


@contextmanager
def _divided(db: duckdb.DuckDBPyConnection, sessions: int) -> Iterator[None]:
    """Every session works too, so that many of the threads are left for all to share."""
    threads, = db.execute("SELECT CAST(current_setting('threads') AS INTEGER)").fetchone() or (sessions,)
    db.execute(f"SET threads = {max(1, threads - sessions + 1)}")
    try:
        yield
    finally:
        db.execute(f"SET threads = {threads}")

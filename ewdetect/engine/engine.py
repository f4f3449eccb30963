"""One engine: reads flows once, then answers rules."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from ewdetect.backends.duckdb.query import compile_rule
from ewdetect.engine.addresses import MACROS, build_addresses, load_segments
from ewdetect.engine.alerts import Addresses, Bundle, alerts_of, all_flows
from ewdetect.engine.flow import build_flows, drop_duplicates, kept_fields
from ewdetect.engine.merge import drop_merged, merge
from ewdetect.engine.read import stage
from ewdetect.engine.recognise import recognise
from ewdetect.engine.report import ReadReport, report_of
from ewdetect.engine.session import Job, Session, run_at_once
from ewdetect.flows import Orientation, Source
from ewdetect.flows.files import expand
from ewdetect.flows.sql import text
from ewdetect.load import context_fields
from ewdetect.model import Alert, Field
from ewdetect.network import Network
from ewdetect.plan import plan
from ewdetect.problems import WorldFailed
from ewdetect.resolve import ResolvedRule

# Flows beyond this many are kept in a file: a million take some 100 MB as they are, and a tenth of it compressed.
IN_MEMORY = 3_000_000
# Rules that run at a time; threads and memory are shared between them.
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """How much of the machine the engine may use. Beyond `memory` it spills to `folder`, or the temporary folder.

    `samples` is how many of its flows an alert shows; with 0 it carries no context either.
    """

    memory: str = "512MB"
    threads: int | None = None
    folder: Path | None = None
    samples: int = 5


class Engine:
    """Use as a context manager: everything it wrote to disk is gone afterwards."""

    def __init__(self, fields: Mapping[str, Field], orientation: Orientation, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self._fields = fields
        self._orientation = orientation
        self._samples = settings.samples
        self._at_once = min(AT_ONCE, settings.threads or os.cpu_count() or 1)
        self._scratch = tempfile.TemporaryDirectory(prefix="ewdetect-", dir=settings.folder)
        self._folder = Path(self._scratch.name)
        with _world():
            self._db = duckdb.connect(config=self._config(settings))
            self._session = Session(self._db)
            for macro in MACROS:
                self._db.execute(macro)

    def _config(self, settings: Settings) -> dict[str, Any]:
        config: dict[str, Any] = {"memory_limit": settings.memory, "temp_directory": str(self._folder / "spill"),
                                  "preserve_insertion_order": False, "autoinstall_known_extensions": False,
                                  "autoload_known_extensions": False}
        return config | ({"threads": settings.threads} if settings.threads else {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        self._scratch.cleanup()

    def read(self, source: Source, paths: Sequence[str], network: Network, used: Iterable[str],
             until: int | None = None) -> ReadReport:
        """Read flows, join the context, and keep of context and derived fields those in `used`.

        `until` is the latest time, in microseconds since 1970, of a log whose times have no year.
        Raises Rejected where files and source do not fit, WorldFailed where disk or memory run out.
        """
        kept = kept_fields(self._fields, used)
        context = tuple(context_fields(self._fields).values())
        with _world():
            staged = stage(self._db, source, kept, expand(paths, self._folder), self._folder, until)
            load_segments(self._db, network, context, self._folder)
            build_addresses(self._db, network, context)
            joined = merge(self._db, source, kept, self._orientation) if source.merge else 0
            try:
                place = self._place()
                build_flows(self._db, kept, self._orientation, place)
                # Records of one connection that agree in everything were put together with its others.
                duplicates = 0 if source.merge else drop_duplicates(self._db, place)
                self._addresses = Addresses(self._db)
                self._session.forget()
                report = report_of(self._db, source, kept, staged, duplicates, joined)
            finally:
                if source.merge:
                    drop_merged(self._db)
                else:
                    self._db.execute(f"DROP {staged.kind} record")
        return report

    def recognise(self, sources: Sequence[Source], paths: Sequence[str]) -> Source:
        """The one source that finds flows in the files. Raises Rejected where none does, or more than one."""
        with _world():
            return recognise(self._db, sources, self._fields, expand(paths, self._folder), self._folder)

    def alerts(self, resolved: ResolvedRule) -> list[Alert]:
        """Every alert of a rule, oldest first."""
        return self.all_alerts([resolved])

    def all_alerts(self, rules: Sequence[ResolvedRule],
                   progress: Callable[[str], None] = lambda _: None) -> list[Alert]:
        """Every alert of every rule, rule by rule. `progress` is told the name of each as it begins, from any thread.

        Raises Rejected for what SQL cannot say, before any rule runs.
        """
        jobs = [Job(each.rule.name, compile_rule(each), plan(each)) for each in rules]
        with _world():
            found = [(each.rule, job.stages, some)
                     for each, job, some in zip(rules, jobs, self._run(jobs, progress), strict=True)]
            return alerts_of(self._db, found, self._fields, self._addresses, self._samples)

    def _run(self, jobs: Sequence[Job], progress: Callable[[str], None]) -> list[list[Bundle]]:
        at_once = min(self._at_once, len(jobs))
        if at_once > 1:
            return run_at_once(self._db, jobs, at_once, progress)
        found = []
        for job in jobs:
            progress(job.name)
            found.append(self._session.run(job))
        return found

    def flows(self) -> list[dict[str, Any]]:
        """Every flow in canonical fields, oldest first, without what is missing. For small tables."""
        return all_flows(self._db, self._fields, self._addresses)

    def _place(self) -> str:
        """Where the flows go: into memory, or, where they are many, into a compressed file beside what is spilled."""
        if self._db.execute(f"SELECT count(*) <= {IN_MEMORY} FROM record").fetchone() == (True,):
            return "memory"
        self._db.execute(f"ATTACH IF NOT EXISTS {text(str(self._folder / 'flows.db'))} AS disk")
        return "disk"


@contextmanager
def _world() -> Iterator[None]:
    """What the machine lacks is not the user's mistake and not a bug."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise WorldFailed(str(error).splitlines()[0]) from error
    except RuntimeError as error:
        # DuckDB turns Ctrl-C in the middle of a query into a plain RuntimeError.
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise

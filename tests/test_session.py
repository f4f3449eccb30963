"""Rules that run at a time: the same alerts in the same order, and an end when one fails or the user stops them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import duckdb
import pytest

from ewdetect.backends.duckdb.stages import Block
from ewdetect.backtest import run_backtest
from ewdetect.engine import Settings
from ewdetect.engine.session import Job, run_at_once
from ewdetect.load import load_network
from ewdetect.plan import Selection
from tests.convert_world import ROOT
from tests.convert_world import pack as shipped
from tests.world import fields, orientation, source

LAB = ROOT / "fixtures/recordings/office_lab"


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as made:
        yield made


def job(name: str, *statements: str) -> Job:
    """One alert, after some work."""
    view = f"""CREATE TEMP VIEW "{name} hits" AS SELECT 1 AS "#t", '{name}' AS "event.id", 1 AS "#row" """
    return Job(name, (Block(name, (*statements, view)),), (Selection(name),))


def endless(name: str) -> Job:
    """An hour of statements that take seconds."""
    return job(name, *["SELECT sum(sin(i)) FROM range(100_000_000) t(i)"] * 1000)


def no_progress(_: str) -> None:
    pass


def test_what_two_sessions_find_is_what_one_finds() -> None:
    found = [run_backtest(shipped(), source("suricata_eve"), [str(LAB / "flows.eve.jsonl.gz")],
                          load_network(str(LAB / "network.yml"), fields()), fields(), orientation(),
                          settings=Settings(threads=threads)) for threads in (1, 2)]
    assert len(found[0].alerts) >= 18
    assert found[0] == found[1]


def test_findings_come_in_the_order_of_the_rules(db: duckdb.DuckDBPyConnection) -> None:
    begun: list[str] = []
    jobs = [job("slow", "SELECT sum(sin(i)) FROM range(5_000_000) t(i)"), *(job(f"quick{i}") for i in range(9))]
    found = run_at_once(db, jobs, 2, begun.append)
    assert [[bundle.ids for bundle in each] for each in found] == [[[one.name]] for one in jobs]
    assert sorted(begun) == sorted(one.name for one in jobs)


def test_every_thread_is_there_again_afterwards(db: duckdb.DuckDBPyConnection) -> None:
    run_at_once(db, [job("a"), job("b")], 2, no_progress)
    assert db.execute("SELECT current_setting('threads')").fetchone() == (2,)


def test_one_that_fails_ends_the_others(db: duckdb.DuckDBPyConnection) -> None:
    begun = time.monotonic()
    with pytest.raises(duckdb.CatalogException, match="nowhere"):
        run_at_once(db, [endless("long"), job("wrong", "SELECT * FROM nowhere"), endless("waits")], 2, no_progress)
    assert time.monotonic() - begun < 60


def test_an_interrupt_ends_them(db: duckdb.DuckDBPyConnection) -> None:
    begun = time.monotonic()
    # A shell makes what it runs in the background ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_at_once(db, [endless("a"), endless("b"), endless("c")], 2, no_progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 60

"""What the suites of all engines share: one Elasticsearch node, and a ledger of what was executed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.elasticsearch.analyzer import Analyzer, analyzer
from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.java import Unavailable
from tests.engines.elasticsearch.node import elasticsearch_node
from tests.engines.ledger import Ledger, divided, totals

LIMIT = "esql.query.result_truncation_max_size"
ROWS = 1_000_000        # ES|QL answers no more than 10,000 rows unless it is told to
LEDGER = "EWDETECT_LEDGER"
# Minutes: `make test-engines` runs them.
SLOW = ["test_esql_*.py", "test_elastic_*.py", "test_other_parity.py", "test_spl_parity.py"]
collect_ignore_glob = [] if "EWDETECT_ENGINES" in os.environ else SLOW


def pytest_configure(config: pytest.Config) -> None:
    """One file for all workers."""
    if LEDGER not in os.environ:
        handle, os.environ[LEDGER] = tempfile.mkstemp(prefix="ewdetect-ledger-")
        os.close(handle)


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return Ledger(Path(os.environ[LEDGER]))


@pytest.fixture(scope="session")
def node() -> Iterator[Client]:
    """A running Elasticsearch that answers with many rows."""
    try:
        with elasticsearch_node() as url:
            client = Client(url)
            client.call("PUT", "/_cluster/settings", {"persistent": {LIMIT: ROWS}})
            yield client
            client.call("PUT", "/_cluster/settings", {"persistent": {LIMIT: None}})     # a given cluster lives on
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def front() -> Iterator[Analyzer]:
    """Elasticsearch 9's own verdict on queries."""
    try:
        with analyzer() as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of what was executed."""
    full, others = divided(Ledger(Path(os.environ[LEDGER])).entries())
    for line in (*totals(full), *(f"other sources, {line}" for line in totals(others))):
        terminalreporter.write_line(line)

"""What the suites of all engines share: one Elasticsearch node, and a ledger of what was executed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.java import Unavailable
from tests.engines.elasticsearch.node import elasticsearch_node
from tests.engines.ledger import Ledger, totals

LEDGER = Ledger()
ROWS = 1_000_000        # ES|QL answers no more than 10,000 rows unless it is told to
collect_ignore_glob = [] if "EWDETECT_ENGINES" in os.environ else ["test_esql_*.py"]


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return LEDGER


@pytest.fixture(scope="session")
def node() -> Iterator[Client]:
    """A running Elasticsearch that answers with many rows."""
    try:
        with elasticsearch_node() as url:
            client = Client(url)
            client.call("PUT", "/_cluster/settings", {"persistent": {"esql.query.result_truncation_max_size": ROWS}})
            yield client
    except Unavailable as reason:
        pytest.skip(str(reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of what was executed."""
    for line in totals(LEDGER.entries):
        terminalreporter.write_line(line)

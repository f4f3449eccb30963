"""These tests need Java 21, Maven and Elasticsearch's jars: `make test-engines` runs them, `make test` does not."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "EWDETECT_ENGINES" in os.environ else ["test_*.py"]

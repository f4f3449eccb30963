"""The limits that Splunk documents, as errors. Defaults are those of limits.conf.spec 9.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from tests.engines.spl.errors import SplunkLimit

_MEGABYTE = 1 << 20
_SAMPLE = 100           # rows that are measured to estimate a table's size
_CELL_OVERHEAD = 16     # bytes; an estimate, Splunk documents none


@dataclass(frozen=True, slots=True)
class Limits:
    """One search head's limits.conf. Counts are rows or events unless the name says otherwise."""

    max_stream_window: int = 10_000             # [stats]: window and time_window of streamstats
    sort_count: int = 10_000                    # the sort page: what `sort` returns without a count
    list_maxsize: int = 100                     # [stats]: list()
    approx_dc_threshold: int = 1_000            # [stats]: estdc() is exact up to here
    perc_distinct: int = 1_000                  # aggregate functions page: perc() is approximate above
    stats_max_mem_usage_mb: int = 200           # [default]: eventstats and streamstats stop adding fields
    mvexpand_max_mem_usage_mb: int = 500        # [mvexpand]: output is cut
    maxresultrows: int = 50_000                 # [searchresults]: commands that make rows; mvexpand goes by memory
    append_maxout: int = 50_000                 # the append page: maxout
    max_macro_depth: int = 100                  # [search]


def check(setting: str, limit: int, found: int) -> None:
    """Raise SplunkLimit if `found` is over the limit."""
    if found > limit:
        raise SplunkLimit(setting, limit, found)


def check_memory(setting: str, megabytes: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise SplunkLimit if the rows are estimated, from a sample, to take more memory than `megabytes`."""
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    if not sample:
        return
    each = sum(len(k) + len(str(v)) + _CELL_OVERHEAD for row in sample for k, v in row.items()) / len(sample)
    check(setting, megabytes, ceil(each * len(rows) / _MEGABYTE))

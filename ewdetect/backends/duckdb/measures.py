"""What is counted, added or compared, as an SQL aggregate over `v0`, `v1` … and `step`."""

from __future__ import annotations

from ewdetect.flows.sql import text
from ewdetect.plan import Measure


def measured(measure: Measure, over: str = "") -> str:
    """The measure of a group, or with `over` that of a window. An empty window counts and sums to 0."""
    over = f" OVER {over}" if over else ""
    match measure.function:
        case "count":
            return f"count(*){over}"
        case "temporal":
            return f"count(DISTINCT step){over}"
        case "distinct":
            width = len(next(iter(measure.fields.values())))
            value = "v0" if width == 1 else f"({', '.join(f'v{i}' for i in range(width))})"
            return f"count(DISTINCT {value}){over}"
        case "sum":
            return f"coalesce(sum(v0){over}, 0)"
        case "avg":
            return f"avg(v0){over}"
        case "median":
            return f"median(v0){over}"
    return f"quantile_cont(v0, {text((measure.percentile or 0) / 100)}){over}"

"""The dataset All_Traffic of CIM's Network_Traffic: its calculated fields, over a table of raw fields.

From Network_Traffic.json of Splunk_SA_CIM (CIM 6): what is null becomes "unknown", a port that is no number becomes 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.engines.spl.context import DataModel
from tests.engines.spl.values import Number

_UNKNOWN = ("action", "src", "dest", "dvc", "rule", "user")
_PORTS = ("src_port", "dest_port")
_VOLUMES = ("bytes", "packets")


def network_traffic(fields: Mapping[str, str], constraint: str = "*",
                    summarized_until: Number | None = None) -> Mapping[str, DataModel]:
    """`datamodels` for `run`: `fields` gives CIM fields as SPL `eval` expressions over an event.

    `constraint` is a search that chooses the events. Fields that CIM calculates come out calculated, whether given
    or not; the volumes only if given.
    """
    made = dict(fields)
    for name in _UNKNOWN:
        made[name] = f'coalesce({made.get(name, "null()")}, "unknown")'
    made["transport"] = f'coalesce(lower({made.get("transport", "null()")}), "unknown")'
    for name in _PORTS:
        port = made.get(name, "null()")
        made[name] = f"if(isnum({port}), {port}, 0)"
    for name in _VOLUMES:
        total, into, out = (made.get(n, "null()") for n in (name, f"{name}_in", f"{name}_out"))
        made[name] = f"coalesce({total}, ({into}) + ({out}))"
        made[f"{name}_in"] = f"coalesce({into}, ({total}) - ({out}))"
        made[f"{name}_out"] = f"coalesce({out}, ({total}) - ({into}))"
    return {"Network_Traffic": DataModel("All_Traffic", made, constraint, summarized_until)}

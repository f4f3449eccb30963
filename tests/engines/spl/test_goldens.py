"""The converted queries that this repository keeps parse and run, and the conditions of ESCU's kind too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ewdetect.load import context_fields
from tests.engines.spl import Lookup, Macro, network_traffic, run

GOLDENS = sorted(path for path in (Path(__file__).parents[2] / "golden" / "splunk").rglob("*.txt")
                 if not path.read_text().startswith("refused"))
ESCU = (
    "| tstats `security_content_summariesonly` count min(_time) AS firstTime max(_time) AS lastTime "
    "values(All_Traffic.dest_port) AS dest_port dc(All_Traffic.dest) AS dests from datamodel=Network_Traffic "
    'where All_Traffic.action="allowed" All_Traffic.dest_port IN ("139", "445") by All_Traffic.src '
    "| `drop_dm_object_name(\"All_Traffic\")` | where dests > 1 | `security_content_ctime(firstTime)` | `smb_filter`")
MACROS_TEXT = {
    "security_content_summariesonly": "summariesonly=false allow_old_summaries=true fillnull_value=null",
    "smb_filter": "search *"}


LOOKUPS = {"ewdetect_context": Lookup([dict.fromkeys(("inside", *context_fields()), "false") | {
    "cidr": "10.30.0.250/32", "inside": "true", "is_decoy": "true"},
    dict.fromkeys(("inside", *context_fields()), "") | {"cidr": "10.0.0.0/8", "inside": "true"}],
    {"cidr": "CIDR"}, max_matches=1)}


def query_of(path: Path) -> str:
    """The query of a golden, on one line again."""
    return path.read_text().partition("\n\n")[0].replace("\n| ", " | ")


def found(path: Path, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return run(query_of(path), events, macros={f"ewdetect_{path.stem}_filter": "search *"}, lookups=LOOKUPS,
               now=100_000, earliest=0, latest=100_000)


@pytest.mark.parametrize("path", GOLDENS, ids=lambda p: "/".join(p.parts[-3:]))
def test_goldens_run(path: Path) -> None:
    assert found(path, [{"_time": 99_900, "index": "other"}]) == []


def test_there_are_goldens() -> None:
    assert GOLDENS


@pytest.mark.parametrize("context", ["inline", "enriched"])
def test_a_golden_finds_what_it_is_for(context: str) -> None:
    path = next(p for p in GOLDENS if p.parts[-3:] == ("flow", context, "decoy_touch.txt"))
    flow = {"_time": 99_900, "index": "ewdetect", "sourcetype": "ewdetect:flow", "source.ip": "10.10.1.7",
            "destination.ip": "10.30.0.250", "destination.port": 22}
    alert = {"_time": 99_900, "src": "10.10.1.7", "dest": "10.30.0.250", "dest_port": "22", "value": 1,
             "window_start": 99_900, "window_end": 99_900}
    assert found(path, [flow]) == [alert]
    assert found(path, [{**flow, "_time": 99_699}]) == []
    for change in ({"destination.ip": "10.30.0.251"}, {"source.ip": "8.8.8.8"}):
        assert found(path, [{**flow, **change}]) == []


def test_a_search_as_escu_writes_it() -> None:
    macros: dict[str, Macro | str] = {**MACROS_TEXT, "drop_dm_object_name(1)": Macro("rename $n$.* AS *", ("n",)),
              "security_content_ctime(1)": Macro('eval $field$=strftime($field$, "%Y-%m-%dT%H:%M:%S")', ("field",))}
    events = [{"_time": t, "src": "10.0.0.1", "dest": f"10.0.1.{t}", "port": 445, "a": "allowed"} for t in range(3)]
    model = network_traffic({"src": "src", "dest": "dest", "dest_port": "port", "action": "a"})
    assert run(ESCU, events, macros=macros, datamodels=model) == [
        {"src": "10.0.0.1", "count": 3, "firstTime": "1970-01-01T00:00:00", "lastTime": 2, "dest_port": "445",
         "dests": 3}]

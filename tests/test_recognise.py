"""`--source auto`: every sample is recognised by its content, and what is not clear is refused with the candidates."""

from __future__ import annotations

from pathlib import Path

import pytest

from ewdetect.engine import Engine
from ewdetect.load import load_sources
from ewdetect.problems import Rejected
from tests.samples import samples
from tests.world import ROOT, SHARED, fields, orientation

MAPPINGS = ROOT / "mappings"


def recognised(*paths: Path) -> str:
    with Engine(fields(), orientation()) as engine:
        return engine.recognise(load_sources(fields()), [str(path) for path in paths]).name


@pytest.mark.parametrize(("name", "raw"), list(samples()))
def test_every_sample_is_recognised(name: str, raw: Path) -> None:
    assert recognised(raw) == name


def test_two_sources_in_one_file_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mixed.log"
    path.write_text("".join((MAPPINGS / name / "sample.log").read_text() for name in ("cisco_asa", "palo_alto")))
    with pytest.raises(Rejected) as refused:
        recognised(path)
    assert {p.code for p in refused.value.problems} == {"flows/several-sources"}
    assert all("cisco_asa, palo_alto" in p.fix for p in refused.value.problems)


def test_the_source_that_asks_for_more_is_meant_where_it_fits_all_files(tmp_path: Path) -> None:
    """Corelight's log is Zeek's with more in front; a folder that holds both is Zeek's or has to be named."""
    line = (MAPPINGS / "corelight" / "sample.jsonl").read_text().partition("\n")[0]
    plain = tmp_path / "plain.jsonl"
    plain.write_text(line.replace('"_system_name":"sensor-01",', "") + "\n")
    assert recognised(plain) == "zeek_conn"
    with pytest.raises(Rejected) as refused:
        recognised(plain, MAPPINGS / "corelight" / "sample.jsonl")
    assert all("corelight" in p.fix and "zeek_conn" in p.fix for p in refused.value.problems)


def test_a_file_of_no_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.log"
    path.write_text("nothing to see here\n" * 3)
    with pytest.raises(Rejected) as refused:
        recognised(path)
    assert [p.code for p in refused.value.problems] == ["flows/no-source"]


def test_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    sample = (MAPPINGS / "cisco_asa" / "sample.log").read_text()
    path.write_text(sample * 200 + (MAPPINGS / "palo_alto" / "sample.log").read_text())
    assert recognised(path) == "cisco_asa"


SHARED_FILES = {
    "netflow/tools/lab.nfdump.json.gz": "netflow", "netflow/tools/lab.nfdump.csv.gz": "netflow",
    "netflow/tools/lab.pmacct.jsonl.gz": "netflow", "hubble": "cilium_hubble", "netobserv": "openshift_netobserv",
    "azure_nsg": "azure_flow", "zeek_zat": "zeek_conn", "lab/lab.eve.jsonl.gz": "suricata_eve",
    "mordor/*sysmon_3*": "sysmon_3", "mordor/*5156*": "windows_5156",
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize("pattern", SHARED_FILES)
def test_real_files_are_recognised(pattern: str) -> None:
    assert recognised(SHARED / pattern) == SHARED_FILES[pattern]

"""How much there is: counted, never written down."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ewdetect.cases import cases_from
from ewdetect.cli.worlds import world_of
from ewdetect.counts import MEANINGS, count
from ewdetect.load import load_pack, only_document
from ewdetect.mutate import run_mutants
from tests.test_cli import DECOY, RULES, ew
from tests.world import ROOT, fields

CASES = """\
network: office
cases:
  - name: touched
    flows: |
      id  at     source.ip   destination.ip
      a   09:00  10.10.4.17  10.30.0.250
    alerts: [{source.ip: 10.10.4.17}]
  - name: known gap - not marked
    flows: |
      id  at     source.ip   destination.ip
      a   09:00  10.10.4.17  10.30.0.251
    alerts: []
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Two families: a correlation with its base, tagged, and an event rule with two cases."""
    for family, name, text in (("one", "fanout", RULES), ("two", "decoy", DECOY)):
        (tmp_path / "rules" / family).mkdir(parents=True)
        (tmp_path / "rules" / family / f"{name}.yml").write_text(text, encoding="utf-8")
    (tmp_path / "rules" / "two" / "decoy.test.yaml").write_text(CASES, encoding="utf-8")
    for name in ("lab", "half"):
        (tmp_path / "recordings" / name).mkdir(parents=True)
    (tmp_path / "recordings" / "lab" / "truth.yml").write_text("steps: []\n", encoding="utf-8")
    return tmp_path / "rules"


def test_everything_is_counted(rules: Path) -> None:
    found = count(load_pack([rules], fields()), [rules], rules.parent / "recordings", fields())
    mutants = found["mutants"]
    assert dict(found) == {"rules": 3, "alerting rules": 2, "families": 2, "cases": 2, "mutants": mutants,
                           "recordings": 1, "techniques": 1}
    file = cases_from(only_document(rules / "two" / "decoy.test.yaml", "test"), fields())
    ran = run_mutants(load_pack([rules], fields()), file, world_of(fields()), fields())
    assert mutants == len(ran.verdicts) > 0


def test_only_what_was_asked_for_is_counted(rules: Path) -> None:
    """Other rules of the pack are there to be referred to."""
    found = count(load_pack([rules], fields()), [rules / "one"], rules.parent, fields())
    assert (found["rules"], found["alerting rules"], found["cases"], found["mutants"]) == (2, 1, 0, 0)


def test_the_command_and_the_readme_say_the_same() -> None:
    rows = json.loads(ew("list", "counts", "--format", "json").stdout)["counts"]
    assert [row["what"] for row in rows] == [*MEANINGS]
    block = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- counts")[2].partition("<!-- end")[0]
    assert [row["count"] for row in rows] == re.findall(r"^\| [a-z ]+ \| ([0-9,]+) \|", block, re.MULTILINE)
    assert all(row["count"] != "0" for row in rows)

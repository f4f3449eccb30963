"""What the rules look for, as `list families` and `list attack` tell it, and the layer for ATT&CK Navigator."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ewdetect.attack import Cell, matrix, techniques
from ewdetect.load import load_attack, load_attack_version, load_pack, load_strategies, load_tactics
from ewdetect.model import Rule
from ewdetect.report.navigator import navigator_layer
from tests.test_cli import DECOY, ew
from tests.world import ROOT, event_rule, fields, pack

LAYER = Draft202012Validator(json.loads((ROOT / "tests" / "navigator_layer.schema.json").read_text(encoding="utf-8")))


def tagged(name: str, *tags: str) -> dict[str, Any]:
    return {**event_rule(name, {"source.port": 1}), "tags": [f"attack.{tag}" for tag in tags]}


def rules(*documents: dict[str, Any]) -> list[Rule]:
    return [*pack(*documents).rules.values()]


def cells(*documents: dict[str, Any]) -> list[Cell]:
    return matrix(rules(*documents), load_attack(), load_tactics())


def shown(found: list[Cell]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(cell.tag, cell.technique.id, cell.rules) for cell in found]


@cache
def shipped() -> tuple[Rule, ...]:
    return load_pack([ROOT / "rules"], fields()).alerting()


def test_techniques_are_told_from_tactics_groups_and_software() -> None:
    rule = rules(tagged("a", "discovery", "t1046", "t1021.002", "g0007", "s0002", "ta0007", "t10", "t1046.2"))[0]
    assert techniques(rule) == ["T1046", "T1021.002"]


def test_cells_stand_in_the_order_of_the_matrix_and_under_the_tactics_that_are_tagged() -> None:
    """T1570 is lateral movement only. T1557 is credential access and collection; one rule says one of the two."""
    found = cells(tagged("one", "lateral-movement", "collection", "t1570", "t1557"),
                  tagged("two", "credential-access", "collection", "t1557", "t1557"))
    assert shown(found) == [("credential-access", "T1557", ("two",)), ("lateral-movement", "T1570", ("one",)),
                            ("collection", "T1557", ("one", "two"))]


def test_every_technique_of_the_pack_has_a_cell_and_no_rule_is_lost() -> None:
    found = matrix(shipped(), load_attack(), load_tactics())
    assert {cell.technique.id for cell in found} == {each for rule in shipped() for each in techniques(rule)}
    assert {name for cell in found for name in cell.rules} == {rule.name for rule in shipped()}
    assert all(cell.technique.status == "active" for cell in found)


def test_the_version_of_attack_is_that_of_the_table() -> None:
    assert load_attack_version() == "19"


def test_the_layer_of_the_pack_is_one() -> None:
    layer = json.loads(ew("list", "attack", "--format", "navigator").stdout)
    LAYER.validate(layer)
    found = matrix(shipped(), load_attack(), load_tactics())
    assert [(each["tactic"], each["techniqueID"], each["score"], each["comment"].partition(": ")[2])
            for each in layer["techniques"]] == [
        (cell.tag, cell.technique.id, len(cell.rules), ", ".join(cell.rules)) for cell in found]
    assert layer["versions"] == {"attack": "19", "navigator": "4.9.0", "layer": "4.5"}
    assert layer["gradient"]["maxValue"] == max(len(cell.rules) for cell in found)


def test_a_layer_without_techniques_is_one_too() -> None:
    layer = json.loads(navigator_layer([], "19"))
    LAYER.validate(layer)
    assert layer["gradient"]["minValue"] < layer["gradient"]["maxValue"]


@pytest.mark.parametrize(("path", "value"), [
    (("versions", "layer"), "4.4"), (("versions", "navigator"), "4.8.2"), (("domain",), "enterprise"),
    (("techniques", 0, "techniqueID"), "t1046"), (("techniques", 0, "score"), "3"), (("techniques", 0, "rules"), []),
    (("gradient", "colors"), ["#ffffff"]), (("name",), None), (("sorting",), 4)])
def test_the_schema_refuses_what_the_specification_does(path: tuple[str | int, ...], value: Any) -> None:
    layer = json.loads(navigator_layer(cells(tagged("one", "discovery", "t1046")), "19"))
    broken = copy.deepcopy(layer)
    part = broken
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert LAYER.is_valid(layer) and not LAYER.is_valid(broken)


def test_lists_are_told_as_text_and_json(tmp_path: Path) -> None:
    """Of rules of one's own as well."""
    (tmp_path / "mine").mkdir()
    rule = tmp_path / "mine" / "decoy.yml"
    rule.write_text(DECOY.replace("logsource", "tags: [attack.discovery, attack.t1046]\nlogsource"), encoding="utf-8")
    families = json.loads(ew("list", "families", "--rules", str(rule), "--format", "json").stdout)["families"]
    assert families == [{"family": "mine", "rules": "1", "names": "decoy", "techniques": "T1046"}]
    found = ew("list", "attack", "--rules", str(tmp_path))
    assert found.stdout.splitlines()[1].split() == ["T1046", "Network", "Service", "Discovery", "Discovery", "decoy"]
    as_json = json.loads(ew("list", "attack", "--rules", str(tmp_path), "--format", "json").stdout)["attack"]
    assert as_json == [{"technique": "T1046", "name": "Network Service Discovery", "tactic": "Discovery",
                        "rules": "decoy"}]


def test_families_hold_every_rule_once() -> None:
    rows = json.loads(ew("list", "families", "--format", "json").stdout)["families"]
    assert sorted(name for row in rows for name in row["names"].split(", ")) == sorted(rule.name for rule in shipped())
    assert [row["family"] for row in rows] == sorted(path.name for path in (ROOT / "rules").iterdir())
    assert all(int(row["rules"]) == len(row["names"].split(", ")) for row in rows)


@pytest.mark.parametrize("tags", ["attack.discovery, attack.t9046", "attack.defense-evasion, attack.t1562.004"])
@pytest.mark.parametrize("form", ["text", "json", "navigator"])
def test_a_technique_that_attack_does_not_have_is_refused(tags: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "decoy.yml").write_text(DECOY.replace("logsource", f"tags: [{tags}]\nlogsource"), encoding="utf-8")
    result = ew("list", "attack", "--rules", str(tmp_path), "--format", form)
    assert result.exit_code == 1 and result.stdout == "" and "decoy.yml:4:" in result.stderr


@pytest.mark.parametrize("words", [("rules", "--format", "navigator"), ("fields", "--rules", "rules")])
def test_what_does_not_go_together_is_asked_wrongly(words: tuple[str, ...]) -> None:
    assert ew("list", *words).exit_code == 2


def test_detection_strategies_are_of_techniques_that_are_active() -> None:
    known = load_strategies()
    assert {load_attack()[technique].status for technique in known} == {"active"}
    assert all(re.fullmatch(r"DET\d{4}", strategy) for strategy in known.values())
    assert len(set(known.values())) == len(known)


def test_a_page_links_the_detection_strategy() -> None:
    page = (ROOT / "docs" / "rules" / "scan_ports.md").read_text(encoding="utf-8")
    assert "([DET0376](https://attack.mitre.org/detectionstrategies/DET0376/))" in page

"""Loading a pack: what is found in it, and what is wrong with it, at its line and column."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ewdetect.load import (
    content_root,
    context_fields,
    load_attack,
    load_fields,
    load_network,
    load_pack,
    load_source,
    read_pack,
    test_files,
)
from ewdetect.model import Field, Kind, Pack
from ewdetect.problems import Problem, Rejected, WorldFailed
from ewdetect.yamlfile import dump, parse_documents, walk

test_files.__test__ = False     # type: ignore[attr-defined]  # it is no test, whatever its name

Write = Callable[..., Path]

FANOUT = """\
title: SMB Fan-Out
id: 11111111-1111-4111-8111-111111111111
name: smb_fanout
correlation:
    type: value_count
    rules: [smb_flow]
    group-by: [source.ip]
    timespan: 10m
    condition: {gte: 5, field: destination.ip}
level: high
---
title: SMB Session
id: 22222222-2222-4222-8222-222222222222
name: smb_flow
logsource: {category: network, service: connection}
detection:
    selection:
        destination.port: [139, 445]
        flow.outcome: established
    filter_main_scanner:
        source.is_scanner: true
    condition: selection and not 1 of filter_main_*
level: informational
"""

CHAIN = """\
title: Pivot Chain
id: 33333333-3333-4333-8333-333333333333
name: chain
correlation:
    type: temporal_ordered
    rules: [hop_in, hop_out]
    aliases:
        pivot:
            hop_in: destination.ip
            hop_out: source.ip
        peer:
            hop_in: source.ip
            hop_out: destination.ip
    group-by: [pivot]
    timespan: 10m
level: high
ewdetect:
    distinct: [peer]
---
title: Hop In
id: 44444444-4444-4444-8444-444444444444
name: hop_in
logsource: {category: network, service: connection}
detection:
    selection: {destination.port: 22}
    condition: selection
level: informational
---
title: Hop Out
id: 55555555-5555-4555-8555-555555555555
name: hop_out
logsource: {category: network, service: connection}
detection:
    selection: {destination.port: 22}
    condition: selection
level: low
ewdetect:
    suppress: {by: [source.ip], for: 1h}
    needs: {telemetry: [source.bytes, bidirectional], context: [zone]}
"""

FILTER = """\
title: Our Scanners
id: 66666666-6666-4666-8666-666666666666
logsource: {category: network, service: connection}
filter:
    rules: [smb_flow]
    selection: {source.name: scan01}
    condition: not selection
"""


@pytest.fixture(scope="module")
def fields() -> Mapping[str, Field]:
    return load_fields()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files into an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def writer(**files: str) -> Path:
        for name, text in files.items():
            Path(f"{name}.yml").write_text(text, encoding="utf-8")
        return Path()
    return writer


def one(problems: list[Problem], code: str) -> Problem:
    found = [p for p in problems if p.code == code]
    assert len(found) == 1, problems
    return found[0]


# Each: the rule file, what is replaced in it by what, and the problem with its line, column and a part of what it says.
EDITS = {
    "field": ("smb_fanout", "flow.outcome:", "flow.outcom:", "rule/unknown-field", 19, 9,
              "did you mean `flow.outcome`?"),
    "context attribute": ("smb_fanout", "source.is_scanner:", "source.is_scaner:", "rule/unknown-field", 21, 9,
                          "`source.is_scanner`"),
    "field without its side": ("smb_fanout", "source.is_scanner:", "zone:", "rule/unknown-field", 21, 9, "`zone`"),
    "group-by": ("smb_fanout", "group-by: [source.ip]", "group-by: [source.ipp]", "rule/unknown-field", 7, 16,
                 "`source.ip`"),
    "counted field": ("smb_fanout", "field: destination.ip", "field: dest.ip", "rule/unknown-field", 9, 25, "dest.ip"),
    "alias field": ("chain", "hop_out: source.ip", "hop_out: source.address", "rule/unknown-field", 10, 13,
                    "source.address"),
    "suppressed by": ("chain", "by: [source.ip]", "by: [source.pi]", "rule/unknown-field", 38, 21, "`source.ip`"),
    "needed field": ("chain", "telemetry: [source.bytes", "telemetry: [source.byte", "rule/unknown-field", 39, 25,
                     "`source.bytes`"),
    "needed attribute": ("chain", "context: [zone]", "context: [zones]", "rule/unknown-field", 39, 65, "`zone`"),
    "field reference": ("smb_fanout", "flow.outcome: established", "source.zone|fieldref: dest.zone",
                        "rule/unknown-field", 19, 9, "dest.zone"),
    "modifier": ("smb_fanout", "flow.outcome:", "flow.outcome|startwith:", "rule/unknown-modifier", 19, 9,
                 "did you mean `startswith`?"),
    "regular expression on a port": ("smb_fanout", "destination.port: [139, 445]", "destination.port|re: '^4'",
                                     "rule/bad-value-type", 18, 9, "for which `re` means nothing"),
    "part of an address": ("smb_fanout", "flow.outcome: established", "source.ip|startswith: '10.'",
                           "rule/bad-value-type", 19, 9, "cidr"),
    "wildcard in an address": ("smb_fanout", "flow.outcome: established", "source.ip: '10.*'", "rule/bad-value-type",
                               19, 9, "|cidr"),
    "network without cidr": ("smb_fanout", "flow.outcome: established", "source.ip: 10.0.0.0/8", "rule/bad-value-type",
                             19, 9, "|cidr"),
    "wildcard in a port": ("smb_fanout", "[139, 445]", "[139, '44*']", "rule/bad-value-type", 18, 33, "a port"),
    "port in quotes": ("smb_fanout", "[139, 445]", "[139, '445']", "rule/bad-value-type", 18, 33, "445 without quotes"),
    "number for text": ("smb_fanout", "flow.outcome: established", "source.name: 17", "rule/bad-value-type", 19, 9,
                        'in quotes, such as "17"'),
    "text for a flag": ("smb_fanout", "is_scanner: true", "is_scanner: 'yes'", "rule/bad-value-type", 21, 9,
                        "true or false"),
    "text for exists": ("smb_fanout", "flow.outcome: established", "flow.outcome|exists: 'yes'", "rule/bad-value-type",
                        19, 9, "true or false"),
    "reference to another type": ("smb_fanout", "flow.outcome: established", "source.port|fieldref: source.ip",
                                  "rule/bad-value-type", 19, 9, "one type"),
    "sum of text": ("smb_fanout", "type: value_count", "type: value_sum", "rule/bad-value-type", 9, 25, "numbers"),
    "value": ("smb_fanout", "established", "establishd", "rule/unknown-value", 19, 9, "did you mean `established`?"),
    "address": ("smb_fanout", "flow.outcome: established", "source.ip: 10.0.0.256", "rule/bad-address", 19, 9, "256"),
    "port": ("smb_fanout", "[139, 445]", "[139, 70000]", "rule/bad-port", 18, 33, "0 to 65535"),
    "host bits": ("smb_fanout", "flow.outcome: established", "source.ip|cidr: 10.1.2.3/8", "rule/bad-cidr", 19, 9,
                  "write 10.0.0.0/8"),
    "network": ("smb_fanout", "flow.outcome: established", "source.ip|cidr: 10.1.0.0/33", "rule/bad-cidr", 19, 9, "33"),
    "selection": ("smb_fanout", "1 of filter_main_*", "1 of filter_man_*", "rule/unknown-selection", 22, 5,
                  "filter_man_*"),
    "selection left out": ("smb_fanout", "selection and not 1 of filter_main_*", "selection", "rule/unused-selection",
                           20, 5, "filter_main_scanner"),
    "selection like an operator": ("chain", "selection: {destination.port: 22}\n    condition: selection\nlevel: low",
                                   "a: {destination.port: 22}\n    nota: {source.port: 1}\n    condition: a and nota\n"
                                   "level: low", "rule/ambiguous-selection", 35, 5, "rename"),
    "id": ("smb_fanout", "22222222-2222-4222-8222-222222222222", "smb-flow", "rule/bad-id", 13, 1, "uuidgen"),
    "duplicate id": ("smb_fanout", "22222222-2222-4222-8222-222222222222", "11111111-1111-4111-8111-111111111111",
                     "rule/duplicate-id", 13, 1, "smb_fanout.yml:2:1"),
    "name": ("smb_fanout", "name: smb_flow\n", "", "rule/missing-name", 12, 1, "name"),
    "file name": ("smb_fanout", "name: smb_fanout", "name: smb_fan_out", "rule/file-name", 3, 1, "smb_fan_out.yml"),
    "reference": ("smb_fanout", "rules: [smb_flow]", "rules: [smb_flows]", "rule/missing-reference", 6, 13,
                  "did you mean `smb_flow`?"),
    "alias of another rule": ("chain", "hop_out: source.ip", "hop_over: source.ip", "rule/alias-of-stranger", 10, 13,
                              "hop_over"),
    "alias of one rule only": ("chain", "            hop_out: source.ip\n", "", "rule/incomplete-alias", 8, 9,
                               "hop_out"),
    "distinct alias": ("chain", "distinct: [peer]", "distinct: [pier]", "rule/unknown-alias", 18, 16, "`peer`"),
    "distinct without order": ("chain", "type: temporal_ordered", "type: temporal", "rule/distinct-needs-steps", 18, 5,
                               "two steps"),
    "filter of a missing rule": ("filter_ours", "rules: [smb_flow]", "rules: [smb_flw]", "filter/hits-nothing", 5, 13,
                                 "did you mean `smb_flow`?"),
    "filter of a correlation": ("filter_ours", "rules: [smb_flow]", "rules: [smb_fanout]", "filter/hits-nothing", 5, 13,
                                "`smb_flow`"),
    "filter of another log source": ("filter_ours", "service: connection", "service: dns", "filter/hits-nothing", 5, 13,
                                     "log source"),
    "filter of nothing": ("filter_ours", "service: connection}\nfilter:\n    rules: [smb_flow]",
                          "service: dns}\nfilter:\n    rules: any", "filter/hits-nothing", 5, 5, "no rule of the pack"),
    "field in a filter": ("filter_ours", "source.name", "source.nam", "rule/unknown-field", 6, 17, "`source.name`"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_fault_is_found_where_it_is(edit: tuple[str, str, str, str, int, int, str], write: Write,
                                      fields: Mapping[str, Field]) -> None:
    name, old, new, code, line, column, said = edit
    texts = {"smb_fanout": FANOUT, "chain": CHAIN, "filter_ours": FILTER}
    assert old in texts[name]
    texts[name] = texts[name].replace(old, new, 1)
    problem = one(read_pack([write(**texts)], fields)[1], code)
    assert (str(problem.location), code) == (f"{name}.yml:{line}:{column}", code)
    assert said in problem.message + problem.fix


def load(write: Write, fields: Mapping[str, Field], **files: str) -> Pack:
    return load_pack([write(**files)], fields)


def test_a_sound_pack_has_its_rules_in_file_order(write: Write, fields: Mapping[str, Field]) -> None:
    pack = load(write, fields, smb_fanout=FANOUT, chain=CHAIN, filter_ours=FILTER)
    assert list(pack.rules) == ["chain", "hop_in", "hop_out", "smb_fanout", "smb_flow"]
    assert [rule.name for rule in pack.alerting()] == ["chain", "smb_fanout"]
    chain = pack.rules["chain"]
    assert (chain.kind, chain.level, chain.refers_to) == (Kind.CORRELATION, "high", ("hop_in", "hop_out"))
    assert [(f.kind, f.refers_to, f.alerts) for f in pack.filters] == [(Kind.FILTER, ("smb_flow",), False)]


def test_generate_lets_a_correlated_rule_alert_too(write: Write, fields: Mapping[str, Field]) -> None:
    pack = load(write, fields, chain=CHAIN.replace("timespan: 10m", "timespan: 10m\n    generate: true"))
    assert [rule.name for rule in pack.alerting()] == ["chain", "hop_out"]


def test_rules_may_be_referred_to_by_id(write: Write, fields: Mapping[str, Field]) -> None:
    pack = load(write, fields, smb_fanout=FANOUT.replace("[smb_flow]", "[22222222-2222-4222-8222-222222222222]"))
    assert pack.rules["smb_flow"].alerts is False


def test_a_filter_may_name_any_rule(write: Write, fields: Mapping[str, Field]) -> None:
    pack = load(write, fields, smb_fanout=FANOUT, ours=FILTER.replace("[smb_flow]", "any"))
    assert pack.filters[0].refers_to == ("any",)


def test_all_problems_are_reported_at_once(write: Write, fields: Mapping[str, Field]) -> None:
    folder = write(smb_fanout=FANOUT.replace("445", "70000").replace("flow.outcome", "outcome"),
                   chain=CHAIN.replace("timespan: 10m", "timespan: ten"), broken="a: [")
    with pytest.raises(Rejected) as caught:
        load_pack([folder], fields)
    assert [p.code for p in caught.value.problems] == [
        "yaml/syntax", "rule/bad-value", "rule/bad-port", "rule/unknown-field"]


def test_two_files_with_one_name_are_named_both(write: Write, fields: Mapping[str, Field]) -> None:
    _, problems = read_pack([write(chain=CHAIN, hop_in=CHAIN.split("---\n")[1].replace("4444-8", "4440-8"))], fields)
    problem = one(problems, "rule/duplicate-name")
    assert (str(problem.location), "chain.yml:22:1" in problem.message) == ("hop_in.yml:3:1", True)


def test_a_cycle_is_named_whole_and_once(write: Write, fields: Mapping[str, Field]) -> None:
    ring = "---\n".join(FANOUT.split("---\n")[0].replace("11111111-", f"1111111{i}-").replace("smb_fanout", name)
                        .replace("smb_flow", other).replace("condition: {gte: 5, field: destination.ip}",
                                                            "condition: {gte: 5}").replace("value_count", "event_count")
                        for i, (name, other) in enumerate([("a", "b"), ("b", "c"), ("c", "a")]))
    _, problems = read_pack([write(a=ring)], fields)
    problem = one(problems, "rule/cyclic-correlation")
    assert (str(problem.location), problem.message) == ("a.yml:6:5", "correlations go round in a ring: a → b → c → a")


def test_alerts_of_a_correlation_carry_only_its_group(write: Write, fields: Mapping[str, Field]) -> None:
    outer = (FANOUT.split("---\n")[0].replace("smb_fanout", "outer").replace("11111111-", "77777777-")
             .replace("smb_flow", "smb_fanout").replace("source.ip", "source.port"))
    _, problems = read_pack([write(smb_fanout=FANOUT, outer=outer)], fields)
    assert [(str(p.location), p.code) for p in problems] == [
        ("outer.yml:7:16", "rule/unknown-field"), ("outer.yml:9:25", "rule/unknown-field")]
    assert "source.ip" in problems[0].fix


def test_a_document_with_problems_still_counts_as_there(write: Write, fields: Mapping[str, Field]) -> None:
    _, problems = read_pack([write(smb_fanout=FANOUT.replace("level: informational", "level: none"))], fields)
    assert [(str(p.location), p.code) for p in problems] == [("smb_fanout.yml:23:1", "rule/bad-value")]


DAMAGE: tuple[Any, ...] = (None, True, -1, "", "x|y", "1 of them", [], [[None]], {}, {"rules": {"a": [{}]}})


def damaged(data: Any) -> Iterator[Any]:
    """A document with each of its parts in turn replaced by each of DAMAGE, or taken out."""
    for path, _ in walk(data):
        for value in (*DAMAGE, KeyError):
            if path:
                copied = copy.deepcopy(data)
                holder = functools.reduce(lambda part, key: part[key], path[:-1], copied)
                if value is KeyError:
                    del holder[path[-1]]
                else:
                    holder[path[-1]] = value
                yield copied


@pytest.mark.parametrize("text", [FANOUT, CHAIN, FILTER], ids=["value_count", "temporal_ordered", "filter"])
def test_no_damage_to_a_document_crashes_the_loader(text: str, write: Write, fields: Mapping[str, Field]) -> None:
    first, *others = (document.data for document in parse_documents(text, "a.yml"))
    rest = "".join(f"---\n{dump(other)}" for other in others)
    for data in damaged(first):
        pack, problems = read_pack([write(a=dump(data) + rest)], fields)
        assert pack.rules or pack.filters or problems


def test_a_yaml_bomb_is_a_problem_of_its_file(write: Write, fields: Mapping[str, Field]) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    pack, problems = read_pack([write(bomb=bomb, chain=CHAIN)], fields)
    assert [(p.code, str(p.location)[:8]) for p in problems] == [("yaml/alias-bomb", "bomb.yml")]
    assert "chain" in pack.rules


def test_a_test_file_without_its_rule_is_a_problem(write: Write, fields: Mapping[str, Field]) -> None:
    folder = write(chain=CHAIN)
    Path("chian.test.yaml").write_text("network: office\ncases: []\n")
    problem = one(read_pack([folder], fields)[1], "test/no-rule")
    assert (str(problem.location), "chian.yml" in problem.message) == ("chian.test.yaml", True)


@pytest.mark.parametrize(("name", "code"), [("chain.yaml", "rule/file-ending"), ("chain.test.yml", "test/file-ending")])
def test_a_file_that_would_be_passed_over_is_a_problem(name: str, code: str, write: Write,
                                                       fields: Mapping[str, Field]) -> None:
    folder = write(smb_fanout=FANOUT)
    Path(name).write_text(CHAIN)
    assert str(one(read_pack([folder], fields)[1], code).location) == name


def test_nothing_to_load_is_a_problem(write: Write, fields: Mapping[str, Field]) -> None:
    assert [p.code for p in read_pack([write()], fields)[1]] == ["rule/none-found"]
    assert [p.code for p in read_pack([write(empty="# nothing\n")], fields)[1]] == ["rule/empty-file"]


def test_a_path_that_does_not_exist_is_a_problem_with_a_suggestion(write: Write, fields: Mapping[str, Field]) -> None:
    write(chain=CHAIN)
    with pytest.raises(Rejected) as caught:
        load_pack(["chian.yml"], fields)
    problem = one(list(caught.value.problems), "path/missing")
    assert (str(problem.location), problem.fix) == ("chian.yml", "did you mean `chain.yml`?")


def test_a_file_that_may_not_be_read_is_no_problem_of_the_user(write: Write, fields: Mapping[str, Field],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")
    folder = write(chain=CHAIN)
    monkeypatch.setattr(Path, "read_text", refuse)      # root may read everything, so a mode would prove nothing
    with pytest.raises(WorldFailed, match=r"chain\.yml: Permission denied"):
        load_pack([folder], fields)


def test_files_named_twice_are_loaded_once(write: Write, fields: Mapping[str, Field]) -> None:
    folder = write(chain=CHAIN)
    assert len(load_pack([folder, "chain.yml", folder.resolve()], fields).rules) == 3


def test_the_test_files_of_a_folder_and_of_a_rule(write: Write) -> None:
    write(chain=CHAIN, smb_fanout=FANOUT)
    Path("chain.test.yaml").write_text("cases: []\n")
    for paths in (["."], ["chain.yml"], ["chain.test.yaml"], [".", "chain.yml"]):
        assert test_files(paths) == [Path("chain.test.yaml")]
    assert test_files(["smb_fanout.yml", "nowhere"]) == []


def test_fields_come_from_flow_yml_with_each_context_attribute_on_both_sides(fields: Mapping[str, Field]) -> None:
    assert (fields["source.ip"].origin, fields["network.scope"].origin) == ("record", "derived")
    assert fields["destination.zone"].origin == fields["source.zone"].origin == "context"
    assert (fields["destination.zone"].name, fields["destination.zone"].default) == ("destination.zone", "unknown")
    assert "zone" not in fields
    assert context_fields(fields)["zone"].name == "zone"
    assert context_fields() == context_fields(fields)


def test_content_root_holds_rules_and_mappings() -> None:
    assert (content_root() / "mappings" / "flow.yml").is_file()


def test_a_network_file_is_one_document(write: Write, fields: Mapping[str, Field]) -> None:
    text = "name: n\ndescription: d\nnetworks:\n  - {cidr: 10.0.0.0/8, zone: servers}\n"
    write(good=text, two=f"{text}---\n{text}", none="")
    assert load_network("good.yml", fields).name == "n"
    for name, place in {"two": "two.yml:6:1", "none": "none.yml"}.items():
        with pytest.raises(Rejected) as caught:
            load_network(f"{name}.yml", fields)
        assert str(one(list(caught.value.problems), "network/one-document").location) == place
    with pytest.raises(Rejected, match="path/missing"):
        load_network("nowhere.yml", fields)


def test_a_network_file_that_breaks_the_schema_is_refused(write: Write, fields: Mapping[str, Field]) -> None:
    write(bad="name: n\ndescription: d\nnetwork:\n  - {cidr: 10.0.0.0/8}\n")
    with pytest.raises(Rejected, match="network/unknown-key"):
        load_network("bad.yml", fields)


@pytest.mark.parametrize("name", sorted(p.parent.name for p in content_root().glob("mappings/*/source.yml")))
def test_every_source_loads_by_name_and_by_path(name: str, fields: Mapping[str, Field]) -> None:
    by_path = load_source(str(content_root() / "mappings" / name / "source.yml"))
    assert load_source(name) == load_source(name, fields) == by_path
    assert by_path.name == name


def test_a_source_file_that_breaks_the_schema_is_refused(write: Write) -> None:
    write(mine="name: mine\nfileds: {}\n")
    with pytest.raises(Rejected, match="source/unknown-key"):
        load_source("mine.yml")
    with pytest.raises(Rejected, match="path/missing"):
        load_source("yours.yml")


def test_an_unknown_source_is_refused_with_a_suggestion() -> None:
    with pytest.raises(Rejected) as caught:
        load_source("suricata")
    assert "suricata_eve" in one(list(caught.value.problems), "source/unknown").fix


def test_attack_says_what_became_of_a_technique() -> None:
    attack = load_attack()
    assert attack["T1021.002"].tactics == ("lateral-movement",)
    assert (attack["T1562.004"].status, attack["T1562.004"].replaced_by) == ("revoked", "T1686")
    assert len(attack) > 800

"""Mutants: what is edited, what is left alone, and who survives on an engine that knows one rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewdetect.cases import CaseFile, cases_from
from ewdetect.load import load_fields
from ewdetect.model import Alert, Kind, Pack, Rule
from ewdetect.mutate import mutants, run_mutants
from ewdetect.mutate.condition import Join, Name, Not, Of, Tree, parse, reworded, without
from ewdetect.mutate.edits import edits
from ewdetect.mutate.plain import Edit
from ewdetect.network import Network
from ewdetect.problems import Problem, Rejected
from ewdetect.report.test_text import mutation_text
from ewdetect.resolve import ResolvedRule
from ewdetect.test import World
from ewdetect.yamlfile import Document, parse_documents

FIELDS = load_fields()
NETWORK = Network("office", "office.yml", (), (), {})


def body_of(text: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = parse_documents(text, "rules/x/fanout.yml")[0].data
    return data


def edits_of(text: str, alerts: bool = True) -> dict[str, Edit]:
    return {edit.what: edit for edit in edits(body_of(text), alerts)}


# ── Conditions ──────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("text", [
    "selection", "a and b and not c", "a and (b or c)", "a or b and c", "not (a or b)", "1 of sel_* and not all of f_*",
    "1 of them", "not not a", "a AND NOT b",
])
def test_a_condition_reads_back_with_the_same_meaning(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


TREES = st.recursive(
    st.sampled_from([Name("a"), Name("b"), Of("1", "f_*"), Of("all", "them")]),
    lambda inner: st.builds(Not, inner) | st.builds(
        Join, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)), max_leaves=12)


@given(TREES)
def test_every_tree_reads_back(tree: Tree) -> None:
    assert _flat(parse(str(tree))) == _flat(tree)


def _flat(tree: Tree) -> Any:
    """Brackets around an `and` inside an `and` mean nothing."""
    if isinstance(tree, Not):
        return ("not", _flat(tree.inner))
    if isinstance(tree, Join):
        parts = [_flat(part) for part in tree.parts]
        return (tree.word, *[p for part in parts for p in (part[1:] if part[0] == tree.word else [part])])
    return ("term", str(tree))


@pytest.mark.parametrize("text", ["a and", "(a", "a b", "not", "1 of", ""])
def test_a_broken_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(("text", "gone", "left"), [
    ("a and not b", "b", "a"), ("a and not b", "a", "not b"), ("a and (b or c)", "b", "a and c"), ("a", "a", None),
    ("not (a or b) and c", "a", "not b and c"),
])
def test_a_term_is_taken_out(text: str, gone: str, left: str | None) -> None:
    tree = without(parse(text), lambda term: str(term) == gone)
    assert (str(tree) if tree else None) == left


def test_words_are_changed_one_at_a_time() -> None:
    tree = parse("a and not 1 of f_* and (b or c)")
    assert [str(changed) for _, changed in reworded(tree, ["a", "b", "c", "f_x", "f_y"])] == [
        "a or not 1 of f_* or (b or c)", "a and not all of f_* and (b or c)", "a and not 1 of f_* and (b and c)"]
    assert list(reworded(parse("1 of f_*"), ["a", "f_x"])) == []


# ── Edits ───────────────────────────────────────────────────────────────────────────────────────────────────

EVENT = """
detection:
    selection:
        network.scope: internal
        destination.port: [22, 445]
        source.bytes|gte: 100
    filter_main_scanner:
        source.is_scanner: true
    filter_main_pair:
        source.zone: a
        destination.zone: a
    filter_opt_any:
        - source.role: backup
        - destination.role: backup
    condition: selection and not 1 of filter_main_* and not 1 of filter_opt_*
ewdetect:
    suppress: {by: [source.ip, destination.ip], for: 24h}
"""


def test_the_edits_of_an_event_rule() -> None:
    assert [(edit.what, edit.path) for edit in edits(body_of(EVENT), alerts=True)] == [
        ("drop `selection`", ("detection", "selection")),
        ("drop `filter_main_scanner`", ("detection", "filter_main_scanner")),
        ("drop `filter_main_pair`", ("detection", "filter_main_pair")),
        ("drop `filter_opt_any`", ("detection", "filter_opt_any")),
        ("`selection and not 1 of filter_main_* and not 1 of filter_opt_*`: and → or", ("detection", "condition")),
        ("`1 of filter_main_*` → `all of filter_main_*`", ("detection", "condition")),
        ("drop `network.scope`", ("detection", "selection", "network.scope")),
        ("drop `destination.port`", ("detection", "selection", "destination.port")),
        ("drop `22` of `destination.port`", ("detection", "selection", "destination.port", 0)),
        ("drop `445` of `destination.port`", ("detection", "selection", "destination.port", 1)),
        ("swap sides of `destination.port`", ("detection", "selection", "destination.port")),
        ("drop `source.bytes|gte`", ("detection", "selection", "source.bytes|gte")),
        ("`source.bytes|gte` → `source.bytes|gt`", ("detection", "selection", "source.bytes|gte")),
        ("swap sides of `source.bytes|gte`", ("detection", "selection", "source.bytes|gte")),
        ("`source.bytes|gte` 100 → 99", ("detection", "selection", "source.bytes|gte")),
        ("`source.bytes|gte` 100 → 101", ("detection", "selection", "source.bytes|gte")),
        ("swap sides of `source.is_scanner`", ("detection", "filter_main_scanner", "source.is_scanner")),
        ("drop `source.zone`", ("detection", "filter_main_pair", "source.zone")),
        ("drop `destination.zone`", ("detection", "filter_main_pair", "destination.zone")),
        ("drop entry 1 of `filter_opt_any`", ("detection", "filter_opt_any", 0)),
        ("drop entry 2 of `filter_opt_any`", ("detection", "filter_opt_any", 1)),
        ("swap sides of `source.role`", ("detection", "filter_opt_any", 0, "source.role")),
        ("swap sides of `destination.role`", ("detection", "filter_opt_any", 1, "destination.role")),
        ("drop `suppress`", ("ewdetect", "suppress")),
        ("drop `source.ip` of `by`", ("ewdetect", "suppress", "by", 0)),
        ("drop `destination.ip` of `by`", ("ewdetect", "suppress", "by", 1)),
        ("suppress for 24h → 43200s", ("ewdetect", "suppress", "for")),
        ("suppress for 24h → 172800s", ("ewdetect", "suppress", "for")),
    ]


def test_dropping_the_last_match_of_a_wildcard_drops_its_term() -> None:
    dropped = edits_of(EVENT)["drop `filter_opt_any`"].body["detection"]
    assert dropped["condition"] == "selection and not 1 of filter_main_*" and "filter_opt_any" not in dropped
    kept = edits_of(EVENT)["drop `filter_main_scanner`"].body["detection"]
    assert kept["condition"] == str(parse(body_of(EVENT)["detection"]["condition"]))


def test_two_sides_in_one_map_change_places() -> None:
    found = edits_of("detection: {s: {source.zone: a, destination.zone: b}, condition: s}")
    assert found["swap sides of `source.zone`"].body["detection"]["s"] == {"destination.zone": "a", "source.zone": "b"}


def test_suppress_of_a_base_rule_means_nothing_and_is_left_alone() -> None:
    assert not [what for what in edits_of(EVENT, alerts=False) if "suppress" in what or "`by`" in what]


CORRELATION = """
correlation:
    type: value_count
    rules: [a, b]
    group-by: [source.ip, peer]
    timespan: 5m
    condition: {field: destination.ip, gte: 30}
    aliases:
        peer: {a: source.port, b: destination.port}
        unused: {a: source.ip}
"""


def test_the_edits_of_a_counting_correlation() -> None:
    assert [edit.what for edit in edits(body_of(CORRELATION), alerts=True)] == [
        "`gte` 30 → 29", "`gte` 30 → 31", "swap sides of `field: destination.ip`",
        "window 5m → 299s", "window 5m → 301s",
        "drop `source.ip` of `group-by`", "drop `peer` of `group-by`", "swap sides of `source.ip` in `group-by`",
        "drop the rule `a`", "drop the rule `b`", "swap sides of `source.port` in alias `peer`",
        "swap sides of `destination.port` in alias `peer`"]
    dropped = edits_of(CORRELATION)["drop the rule `a`"].body["correlation"]
    assert dropped["rules"] == ["b"] and dropped["aliases"]["peer"] == {"b": "destination.port"}


@pytest.mark.parametrize(("correlation", "there", "absent"), [
    ("{type: event_count, rules: [a], timespan: 1s, condition: {gte: 1}}", "`gte` 1 → 2", "`gte` 1 → 0"),
    ("{type: event_count, rules: [a], timespan: 1s, condition: {gt: 0}}", "`gt` 0 → 1", "`gt` 0 → -1"),
    ("{type: event_count, rules: [a], timespan: 1s, condition: {gte: 5}}", "window 1s → 2s", "window 1s → 0s"),
    ("{type: value_sum, rules: [a], timespan: 1h, condition: {field: source.bytes, gte: 9}}", "threshold gte → gt", ""),
    ("{type: value_avg, rules: [a], timespan: 1h, condition: {field: x, lt: 0.5}}", "`lt` 0.5 → 0.505", ""),
    ("{type: value_percentile, rules: [a], timespan: 1h, condition: {field: x, gt: 5, percentile: 95}}",
     "`gt` 5 → 6", "`percentile` 95 → 96"),
    ("{type: event_count, rules: [a], timespan: 1s, condition: {gte: 5}, group-by: [source.ip]}",
     "drop `group-by: source.ip`", "drop the rule `a`"),
    ("{type: temporal_ordered, rules: [a, b], timespan: 1h}", "reverse the order of the rules", "drop the rule `a`"),
    ("{type: temporal_ordered, rules: [a, b, c], timespan: 1h}", "drop the rule `b`", ""),
    ("{type: temporal, rules: [a, b], timespan: 1h}", "drop the rule `b`", "reverse the order of the rules"),
])
def test_the_edits_of_other_correlations(correlation: str, there: str, absent: str) -> None:
    found = edits_of(f"correlation: {correlation}")
    assert there in found and absent not in found


def test_distinct_is_dropped_whole_and_in_parts() -> None:
    text = "correlation: {type: temporal_ordered, rules: [a, b], timespan: 1h}\newdetect: {distinct: [x, y]}"
    assert {"drop `distinct`", "drop `x` of `distinct`", "drop `y` of `distinct`"} <= edits_of(text).keys()
    assert "drop `x` of `distinct`" not in edits_of(text.replace("[x, y]", "[x]"))


def own(says: str) -> set[str]:
    return set(edits_of(f"ewdetect: {says}", alerts=False))


def test_the_edits_of_a_first_seen() -> None:
    assert own("{type: first_seen, rule: a, fields: [source.ip, destination.port], history: 10s}") == {
        "drop `source.ip` of `fields`", "drop `destination.port` of `fields`", "swap sides of `source.ip` in `fields`",
        "swap sides of `destination.port` in `fields`", "`history` 10s → 9s", "`history` 10s → 11s",
        "`warm-up` 10s → 9s", "`warm-up` 10s → 11s"}
    more = ("{type: first_seen, rule: a, fields: [source.ip], history: 10s, warm-up: 5s, fresh: 2s, "
            "aged: {fields: [source.ip], for: 3s}}")
    assert own(more) == {
        "swap sides of `source.ip` in `fields`", "`history` 10s → 9s", "`history` 10s → 11s", "drop `warm-up`",
        "`warm-up` 5s → 4s", "`warm-up` 5s → 6s", "drop `fresh`", "`fresh` 2s → 1s", "`fresh` 2s → 3s", "drop `aged`",
        "`for` 3s → 2s", "`for` 3s → 4s"}
    assert not any("fresh" in what for what in edits_of(f"ewdetect: {more}", alerts=True))


def test_the_edits_of_a_deviation() -> None:
    assert own("{type: deviation, rule: a, group-by: [observer.name], metric: sum, field: source.bytes, bucket: 4s, "
               "season: 8s, history: 80s, minimum: 5, above: {factor: 3, floor: 100}}") == {
        "swap sides of `field: source.bytes`", "`bucket` 4s → 2s", "`bucket` 4s → 8s", "`history` 80s → 72s",
        "`history` 80s → 88s", "drop `season`", "`minimum` 5 → 4", "`minimum` 5 → 6", "`factor` 3 → 2",
        "`factor` 3 → 4", "`floor` 100 → 99", "`floor` 100 → 101"}
    assert own("{type: deviation, rule: a, group-by: [observer.name], metric: count, bucket: 1s, history: 9s, "
               "minimum: 3, below: {factor: 0.5, floor: 1, others: 0.5}}") == {
        "`bucket` 1s → 2s", "`history` 9s → 8s", "`history` 9s → 10s", "`factor` 0.5 → 0.495", "`factor` 0.5 → 0.505",
        "`floor` 1 → 0", "`floor` 1 → 2", "`others` 0.5 → 0.495", "`others` 0.5 → 0.505", "drop `others`"}


def test_the_edits_of_a_beacon() -> None:
    assert own("{type: beacon, rule: a, group-by: [source.ip, destination.ip], timespan: 1h, size: source.bytes, "
               "minimum: 9, maximum: 20, lasting: 10m, score: 0.5}") == {
        "drop `source.ip` of `group-by`", "drop `destination.ip` of `group-by`", "swap sides of `size: source.bytes`",
        "`timespan` 1h → 3599s", "`timespan` 1h → 3601s", "`lasting` 10m → 599s", "`lasting` 10m → 601s",
        "`minimum` 9 → 8", "`minimum` 9 → 10", "`maximum` 20 → 19", "`maximum` 20 → 21", "`score` 0.5 → 0.495",
        "`score` 0.5 → 0.505", "drop `maximum`"}


def test_an_edit_leaves_the_original_alone() -> None:
    for text in (EVENT, CORRELATION):
        body = body_of(text)
        assert list(edits(body, True)) and body == body_of(text)


# ── Mutants and their judges ────────────────────────────────────────────────────────────────────────────────

RULES = """
name: fanout
correlation: {type: event_count, rules: [hop], group-by: [source.ip], timespan: 5m, condition: {gte: 3}}
---
name: hop
detection:
    selection:
        destination.port: [22, 445]
    condition: selection
"""
CASES = """
network: office
cases:
  - name: fires
    flows: |
      id  at           source.ip  destination.ip  destination.port
      a   09:00 +150s  10.0.0.1   10.0.0.7..9     22,445,22
    alerts: []
  - name: quiet
    flows: |
      id  at          source.ip           destination.ip       destination.port
      a   09:00 +10s  10.0.0.1,10.0.0.2   10.0.0.8..9          22,445,23,22
    alerts: []
"""


def rule_of(document: Document) -> Rule:
    data = document.data
    kind = Kind.CORRELATION if "correlation" in data else Kind.EVENT
    references = tuple(data["correlation"]["rules"]) if kind is Kind.CORRELATION else ()
    return Rule(data["name"], data["name"], kind, "", "low", "test", data, document, references, bool(references))


def pack_of(*files: tuple[str, str]) -> Pack:
    documents = [document for text, path in files for document in parse_documents(text, path)]
    return Pack({rule.name: rule for rule in map(rule_of, documents)})


PACK = pack_of((RULES, "rules/x/fanout.yml"))


class Counting:
    """Counts the flows of each group whose port is selected, window and all, and refuses every other rule."""

    def __init__(self, flows: Sequence[Mapping[str, Any]], network: Network) -> None:
        self.flows = flows

    def alerts(self, resolved: ResolvedRule) -> list[Alert]:
        correlation, base = resolved.rule.body["correlation"], resolved.parts[0].body["detection"]
        if "destination.port" not in base["selection"]:
            raise Rejected([Problem("rule/not-for-me", "ports only")])
        unit = 60 if correlation["timespan"].endswith("m") else 1
        window = int(correlation["timespan"][:-1]) * unit * 1_000_000
        hits = [flow for flow in self.flows if flow["destination.port"] in base["selection"]["destination.port"]]
        keys = correlation.get("group-by") or []
        found: dict[tuple[Any, ...], Alert] = {}
        for hit in hits:
            group = tuple(hit.get(key) for key in keys)
            inside = [f for f in hits if tuple(f.get(key) for key in keys) == group
                      and hit["event.start"] - window < f["event.start"] <= hit["event.start"]]
            if len(inside) >= correlation["condition"]["gte"] and group not in found:
                time = hit["event.start"]
                found[group] = Alert(resolved.rule, dict(zip(keys, group, strict=True)), time, time, time, len(inside),
                                     tuple(f["event.id"] for f in inside))
        return list(found.values())

    def close(self) -> None:
        pass


def case_file(text: str) -> CaseFile:
    return cases_from(parse_documents(text, "rules/x/fanout.test.yaml")[0], FIELDS)


def test_mutants_stand_in_the_file_are_all_different_and_know_their_place() -> None:
    shared = "name: shared\ndetection: {s: {source.port: [1, 2]}, condition: s}"
    pack = pack_of((RULES.replace("[hop]", "[hop, shared]"), "rules/x/fanout.yml"), (shared, "rules/x/shared.yml"))
    found = list(mutants(pack, pack.rules["fanout"], FIELDS))
    assert {mutant.rule for mutant in found} == {"fanout", "hop"}
    assert len({str(mutant.pack.rules[mutant.rule].body) for mutant in found}) == len(found)
    assert all(mutant.location.path == "rules/x/fanout.yml" and mutant.location.line for mutant in found)
    [dropped] = [mutant for mutant in found if mutant.what == "drop the rule `hop`"]
    assert dropped.pack.rules["fanout"].refers_to == ("shared",)
    assert pack.rules["fanout"].refers_to == ("hop", "shared")


def test_what_load_would_refuse_is_no_mutant() -> None:
    outer = RULES + """
---
name: again
correlation: {type: event_count, rules: [fanout], group-by: [source.ip], timespan: 1h, condition: {gte: 2}}
"""
    pack = pack_of((outer, "rules/x/again.yml"))
    found = {(mutant.rule, mutant.what) for mutant in mutants(pack, pack.rules["again"], FIELDS)}
    assert ("fanout", "`gte` 3 → 4") in found and ("again", "drop `group-by: source.ip`") in found
    assert not {("fanout", "drop `group-by: source.ip`"), ("again", "swap sides of `source.ip` in `group-by`")} & found


def test_what_no_case_notices_survives_with_its_place() -> None:
    results = run_mutants(PACK, case_file(CASES), World({"office": NETWORK}, Counting), FIELDS)
    survived = {mutant.what for mutant in results.survivors}
    assert survived == {"`gte` 3 → 4", "window 5m → 299s", "drop `22` of `destination.port`",
                        "drop `445` of `destination.port`", "swap sides of `source.ip` in `group-by`"}
    assert not results.passed and not results.failing
    text = mutation_text([results])
    assert "rules/x/fanout.yml:3:97: `gte` 3 → 4: no case fails" in text
    assert "FAIL  fanout: 9 mutants, 5 survived" in text


def test_a_proof_that_is_complete_kills_all_and_opens_each_case_once() -> None:
    fires = "alerts: [{rule: fanout, source.ip: 10.0.0.1, flows: a}]"
    proof = CASES.replace("09:00 +150s", "09:00 +149500ms").replace("alerts: []", fires, 1) + """
  - name: the edge of the window
    flows: |
      id  at           source.ip  destination.ip  destination.port
      a   09:00 +150s  10.0.0.1   10.0.0.7..9     22,445,22
    alerts: []
"""
    opened: list[Counting] = []

    def open_case(flows: Sequence[Mapping[str, Any]], network: Network) -> Counting:
        opened.append(Counting(flows, network))
        return opened[-1]

    results = run_mutants(PACK, case_file(proof), World({"office": NETWORK}, open_case), FIELDS)
    assert [(verdict.mutant.what, verdict.refused) for verdict in results.verdicts if verdict.refused] == [
        ("swap sides of `destination.port`", "ports only")]
    assert results.passed and len(opened) == 3


def test_a_red_test_proves_nothing() -> None:
    wrong = CASES.replace("alerts: []", "alerts: [{rule: fanout}]", 1)
    results = run_mutants(PACK, case_file(wrong), World({"office": NETWORK}, Counting), FIELDS)
    assert results.failing == ("fires",) and not results.verdicts and not results.passed
    assert "not mutated, its cases fail: fires" in mutation_text([results])

"""Documents of the types that Sigma does not have: what is read, what is refused and where, and by whom else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError

from ewdetect.convert import backend, convert_rule
from ewdetect.docs.own import own_logic
from ewdetect.load import load_fields, load_pack, read_pack
from ewdetect.model import Kind
from ewdetect.plan import plan
from ewdetect.problems import Problem, Rejected
from ewdetect.report.alert_text import measured
from ewdetect.resolve import resolve_rule
from ewdetect.schedule import schedule
from tests.world import alerts, event_rule, flow, office, own_rule, source

FIELDS = load_fields()
BASE = """\
title: Session
id: 11111111-1111-4111-8111-111111111111
name: session
logsource: {category: network, service: connection}
detection:
    selection: {destination.port: 22}
    condition: selection
level: low
"""
HEAD = """\
title: Habit
id: 22222222-2222-4222-8222-222222222222
name: habit
level: low
ewdetect:
"""
FIRST_SEEN = HEAD + """\
    type: first_seen
    rule: session
    fields: [source.ip, destination.ip]
    history: 30d
    warm-up: 14d
    fresh: 1h
    aged: {fields: [source.ip], for: 7d}
"""
DEVIATION = HEAD + """\
    type: deviation
    rule: session
    group-by: [source.ip]
    metric: sum
    field: source.bytes
    bucket: 4h
    season: 1d
    history: 14d
    minimum: 7
    above: {factor: 6, floor: 1000}
"""
BEACON = HEAD + """\
    type: beacon
    rule: session
    group-by: [source.ip, destination.ip]
    timespan: 24h
    size: source.bytes
    minimum: 24
    maximum: 1440
    lasting: 6h
    score: 0.8
"""
BURST = """\
title: Burst
id: 33333333-3333-4333-8333-333333333333
name: burst
correlation:
    type: value_count
    rules: [habit]
    group-by: [source.ip]
    timespan: 1h
    condition: {field: destination.ip, gte: 10}
level: high
"""
OWN = {"first_seen": FIRST_SEEN, "deviation": DEVIATION, "beacon": BEACON}

Read = Callable[..., Sequence[Problem]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(tmp_path)

    def _write(*documents: str, name: str = "habit") -> Path:
        Path(f"{name}.yml").write_text("---\n".join(documents), encoding="utf-8")
        return Path(f"{name}.yml")

    return _write


@pytest.mark.parametrize(("kind", "text"), OWN.items())
def test_a_document_is_read_and_silences_its_base(kind: str, text: str, write: Callable[..., Path]) -> None:
    pack = load_pack([write(text, BASE)], FIELDS)
    assert (pack.rules["habit"].kind, pack.rules["habit"].refers_to) == (Kind(kind), ("session",))
    assert [rule.name for rule in pack.alerting()] == ["habit"]
    assert [part.name for part in resolve_rule(pack.rules["habit"], pack).parts] == ["session", "habit"]


def test_a_correlation_names_it_and_silences_it(write: Callable[..., Path]) -> None:
    pack = load_pack([write(BURST, FIRST_SEEN, BASE, name="burst")], FIELDS)
    assert [rule.name for rule in pack.alerting()] == ["burst"]
    assert [part.name for part in resolve_rule(pack.rules["burst"], pack).parts] == ["session", "habit", "burst"]


@pytest.mark.parametrize("text", OWN.values(), ids=OWN)
def test_other_sigma_tools_refuse_it(text: str) -> None:
    with pytest.raises(SigmaError):
        SigmaCollection.from_yaml(f"{text}---\n{BASE}")


@pytest.mark.parametrize("target", ["elastic", "splunk"])
@pytest.mark.parametrize("kind", OWN)
def test_every_siem_refuses_it_by_name_below_a_correlation_too(kind: str, target: str,
                                                               write: Callable[..., Path]) -> None:
    burst = BURST if kind != "deviation" else BURST.replace("value_count", "event_count").replace(
        "field: destination.ip, ", "")
    pack = load_pack([write(burst, OWN[kind], BASE, name="burst")], FIELDS)
    for name in ("habit", "burst"):
        resolved = resolve_rule(pack.rules[name], pack, source("zeek_conn"), office())
        for dialect in (None, *(d for d in backend(target).dialects if d != "new_terms")):
            with pytest.raises(Rejected) as rejected:
                convert_rule(resolved, backend(target), "inline", dialect)
            problem, = rejected.value.problems
            assert problem.code == "convert/unsupported" and f"`{kind}`" in problem.message
            assert backend(target).cannot[kind] in problem.message


# Each: the document, what is replaced in it by what, and the problem: place, code, and a part of what it says.
EDITS = {
    "unknown type": (FIRST_SEEN, "first_seen", "first_sen", "6:5 rule/bad-value", "did you mean `first_seen`?"),
    "unknown key": (FIRST_SEEN, "warm-up", "warmup", "10:5 rule/unknown-key", "did you mean `warm-up`?"),
    "key of another type": (BEACON, "score: 0.8", "history: 1d\n    score: 0.8", "14:5 rule/unknown-key", "`history`"),
    "no base": (FIRST_SEEN, "    rule: session\n", "", "5:1 rule/missing-key", "add `rule:`"),
    "no level": (FIRST_SEEN, "level: low\n", "", "1:1 rule/missing-key", "`level`"),
    "log source": (BEACON, "level: low", "level: low\nlogsource: {category: network}", "5:1 rule/unknown-key",
                   "the rule that it names has"),
    "field of a count": (DEVIATION, "sum", "count", "10:5 rule/unknown-key", "distinct and sum do"),
    "no field": (DEVIATION, "    field: source.bytes\n", "", "5:1 rule/missing-key", "`field`"),
    "two bounds": (DEVIATION, "above:", "below: {factor: 0.1, floor: 1}\n    above:", "15:5 rule/unknown-key",
                   "cannot stand in one document"),
    "no bound": (DEVIATION, "    above: {factor: 6, floor: 1000}\n", "", "5:1 rule/missing-key", "`above` or `below`"),
    "missing base": (FIRST_SEEN, "rule: session", "rule: sesion", "7:5 rule/missing-reference", "`session`"),
    "base of its own": (FIRST_SEEN, "rule: session", "rule: burst", "7:5 rule/base-not-event", "no event rule"),
    "unknown field": (FIRST_SEEN, "[source.ip, d", "[source.ipp, d", "8:14 rule/unknown-field", "`source.ip`"),
    "unknown size": (BEACON, "size: source.bytes", "size: source.byte", "10:5 rule/unknown-field", "`source.bytes`"),
    "sum of text": (DEVIATION, "field: source.bytes", "field: source.zone", "10:5 rule/bad-value-type", "distinct"),
    "size of text": (BEACON, "size: source.bytes", "size: source.zone", "10:5 rule/bad-value-type", "numeric"),
    "warm-up": (FIRST_SEEN, "14d", "31d", "10:5 rule/spans-disagree", "at most 30d"),
    "fresh": (FIRST_SEEN, "1h", "31d", "11:5 rule/spans-disagree", "at most 30d"),
    "age": (FIRST_SEEN, "7d", "30d", "12:33 rule/spans-disagree", "less than 30d"),
    "aged stranger": (FIRST_SEEN, "fields: [source.ip], for", "fields: [source.zone], for",
                      "12:21 rule/aged-not-in-fields", "not part of the combination"),
    "season": (DEVIATION, "season: 1d", "season: 30h", "12:5 rule/spans-disagree", "buckets of 4h"),
    "history": (DEVIATION, "history: 14d", "history: 30h", "13:5 rule/spans-disagree", "seasons of 1d"),
    "minimum": (DEVIATION, "minimum: 7", "minimum: 15", "14:5 rule/spans-disagree", "at most 14"),
    "lasting": (BEACON, "lasting: 6h", "lasting: 24h", "13:5 rule/spans-disagree", "less than 24h"),
    "maximum": (BEACON, "maximum: 1440", "maximum: 23", "12:5 rule/spans-disagree", "at least 24"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_is_wrong_is_said_at_its_place(edit: tuple[str, str, str, str, str], write: Callable[..., Path]) -> None:
    text, old, new, expected, said = edit
    assert old in text
    _, found = read_pack([write(text.replace(old, new, 1), BASE), write(BURST, name="burst")], FIELDS)
    wanted = [p for p in found if f"{p.location} {p.code}" == f"habit.yml:{expected}"]
    assert wanted, [f"{p.location} {p.code} {p.message}" for p in found]
    assert said in f"{wanted[0].message} {wanted[0].fix}"


def test_alerts_of_a_beacon_carry_their_group_and_events_of_a_first_seen_all_fields(
        write: Callable[..., Path]) -> None:
    for text, carried in ((FIRST_SEEN, True), (BEACON, False), (DEVIATION, False)):
        burst = BURST.replace("destination.ip", "destination.zone")
        _, found = read_pack([write(burst, text, BASE, name="burst")], FIELDS)
        assert [p.code for p in found] == ([] if carried else ["rule/unknown-field"])


def test_a_filter_goes_to_the_base(write: Callable[..., Path]) -> None:
    text = ("title: Ours\nid: 44444444-4444-4444-8444-444444444444\nlogsource: {category: network}\n"
            "filter:\n    rules: [habit]\n    selection: {source.is_scanner: true}\n    condition: not selection\n")
    _, (problem,) = read_pack([write(FIRST_SEEN, BASE), write(text, name="ours")], FIELDS)
    assert problem.code == "filter/hits-nothing" and "`session`" in problem.fix
    assert load_pack([write(text.replace("[habit]", "[session]"), name="ours"), Path("habit.yml")], FIELDS).filters


@pytest.mark.parametrize(("kind", "window"), [("first_seen", 30 * 86_400), ("deviation", 14 * 86_400 + 14_400),
                                              ("beacon", 86_400)])
def test_a_schedule_would_look_as_far_back_as_the_past_goes(kind: str, window: int, write: Callable[..., Path]) -> None:
    pack = load_pack([write(OWN[kind], BASE)], FIELDS)
    rule = pack.rules["habit"]
    assert schedule(rule, plan(resolve_rule(rule, pack)), source("zeek_conn")).window == window


def test_in_words(write: Callable[..., Path]) -> None:
    words = {kind: own_logic(load_pack([write(text, BASE)], FIELDS).rules["habit"]) for kind, text in OWN.items()}
    assert "did not occur together for 30d" in words["first_seen"] and "for 1h" in words["first_seen"]
    assert "6 median absolute deviations above" in words["deviation"]
    assert "scores at least 0.8" in words["beacon"]
    base = event_rule("base", {"destination.port": 22})
    found = own_rule("new", "first_seen", "base", fields=["source.ip"], history="5s", warm_up="1s")
    flows = [flow(1, 0), flow(2, 2, destination_port=22)]
    assert [measured(alert) for alert in alerts(flows, [base, found], "new")] == ["not seen for 5s: source.ip"]

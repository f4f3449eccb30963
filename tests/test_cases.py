"""The table language of test files, and the runner that compares alerts, on an engine that says what it is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewdetect.cases import TEST_DAY, CaseFile, cases_from, clock_text
from ewdetect.cases.cells import BadCell, read_clock, read_clocks, read_value, read_values
from ewdetect.load import load_fields
from ewdetect.model import Alert, Kind, Pack, Rule
from ewdetect.network import Network
from ewdetect.problems import Problem, Rejected
from ewdetect.report.test_text import results_text
from ewdetect.resolve import ResolvedRule
from ewdetect.test import Missing, Unexpected, World, judge, run_cases
from ewdetect.yamlfile import Document, parse_documents

FIELDS = dict(load_fields())
# With default addresses, so that tables about other columns can leave them out.
ADDRESSED = FIELDS | {name: replace(FIELDS[name], default=address)
                      for name, address in (("source.ip", "10.0.0.98"), ("destination.ip", "10.0.0.99"))}
SECOND = 1_000_000
HEADER = "id    at           source.ip    destination.ip   destination.port"


def one_case(table: str, rest: str = "alerts: []") -> str:
    rows = "\n".join(f"      {line}" for line in table.splitlines())
    return f"network: office\ncases:\n  - name: a case\n    flows: |\n{rows}\n    {rest}\n"


def read(text: str, path: str = "rules/x/fanout.test.yaml") -> CaseFile:
    return cases_from(parse_documents(text, path)[0], ADDRESSED)


def flows_of(table: str) -> list[Mapping[str, Any]]:
    return list(read(one_case(table)).cases[0].flows)


def problems_of(text: str, path: str = "rules/x/fanout.test.yaml") -> tuple[Problem, ...]:
    with pytest.raises(Rejected) as caught:
        read(text, path)
    return caught.value.problems


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_row_spells_one_flow_for_each_value_of_its_longest_cell() -> None:
    flows = flows_of(f"{HEADER}      flow.outcome\n"
                     "hop   09:00 +60s   10.10.4.17   10.30.0.11..15   22,445,3389,5985,445  established")
    assert [flow["event.id"] for flow in flows] == ["hop.1", "hop.2", "hop.3", "hop.4", "hop.5"]
    assert [flow["event.start"] - TEST_DAY for flow in flows] == [(9 * 3600 + n * 60) * SECOND for n in range(5)]
    assert [flow["destination.ip"] for flow in flows] == [f"10.30.0.{n}" for n in range(11, 16)]
    assert [flow["destination.port"] for flow in flows] == [22, 445, 3389, 5985, 445]
    assert {flow["source.ip"] for flow in flows} == {"10.10.4.17"}


def test_shorter_cells_repeat_and_count_says_it_where_no_cell_does() -> None:
    flows = flows_of("id  at  count  destination.port\na  09:00  5  22,80\nb  09:00  -  22\nc  09:00,09:05  1  1..3")
    assert [flow["destination.port"] for flow in flows] == [22, 80, 22, 80, 22, 22, 1, 2, 3]
    assert [clock_text(flow["event.start"]) for flow in flows[-3:]] == ["09:00:00", "09:05:00", "09:00:00"]


def test_omitted_columns_take_the_defaults_of_flow_yml_and_a_dash_is_null() -> None:
    [flow] = flows_of("id  at  source.ip  source.bytes\na  09:00  10.0.0.1  -")
    assert flow["source.bytes"] is None
    assert flow["network.transport"] == FIELDS["network.transport"].default
    assert flow["flow.outcome"] == "established"
    assert "network.protocol" not in flow


@pytest.mark.parametrize(("column", "value", "field", "expected"), [
    ("network.transport", "icmp", "destination.port", None),
    ("network.transport", "ipv6-icmp", "source.port", None),
    ("network.transport", "udp", "source.port", 50000),
    ("flow.outcome", "denied", "destination.bytes", 0),
    ("flow.outcome", "failed", "destination.packets", 0),
    ("flow.outcome", "unknown", "destination.bytes", 20000),
])
def test_defaults_describe_flows_that_can_be(column: str, value: str, field: str, expected: Any) -> None:
    [flow] = flows_of(f"id  at  {column}\na  09:00  {value}")
    assert flow.get(field) == expected


def test_what_the_row_says_beats_what_is_implied() -> None:
    [flow] = flows_of("id  at  flow.outcome  destination.bytes\na  09:00  denied  512")
    assert flow["destination.bytes"] == 512


def test_comments_blank_lines_and_quoted_cells() -> None:
    flows = flows_of('# what is this\nid  at  observer.name  network.state\n\n# more\n'
                     'a  09:00  "core  switch, 2"  "-"\nb  09:01  core switch  x,y')
    assert flows[0]["observer.name"] == "core  switch, 2" and flows[0]["network.state"] == "-"
    assert [flow["observer.name"] for flow in flows[1:]] == ["core switch", "core switch"]


# ── Cells ───────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize(("text", "expected"), [
    ("10.30.0.11..13", ["10.30.0.11", "10.30.0.12", "10.30.0.13"]),
    ("10.30.0.255..10.30.1.0", ["10.30.0.255", "10.30.1.0"]),
    ("fd00:30::9..b", ["fd00:30::9", "fd00:30::a", "fd00:30::b"]),
    ("FD00:0030:0::1", ["fd00:30::1"]),
    ("::ffff:10.0.0.1", ["10.0.0.1"]),
    ("10.0.0.1..2,-,10.0.9.9", ["10.0.0.1", "10.0.0.2", None, "10.0.9.9"]),
])
def test_addresses(text: str, expected: list[str | None]) -> None:
    assert read_values(text, FIELDS["source.ip"]) == expected


@pytest.mark.parametrize(("text", "field"), [
    ("10.30.0.11..300", "source.ip"), ("10.30.0.11..5", "source.ip"), ("10.0.0.0/8", "source.ip"),
    ("10.0.0.1..fd00::1", "source.ip"), ("fe80::1%eth0", "source.ip"), ("10.0.0", "source.ip"),
    ("10.0.0.0..10.9.0.0", "source.ip"), ("70000", "source.port"), ("-1", "source.port"), ("22.5", "source.port"),
    ("9..1", "source.port"), ("22,", "source.port"), ("1..1000000000", "source.bytes"), ("0x10", "source.bytes"),
    ("1.5..3", "event.duration"), ("1e5", "event.duration"), ("a..c", "network.protocol"), ("open", "flow.outcome"),
    ("Denied", "flow.outcome"),
])
def test_cells_that_are_refused(text: str, field: str) -> None:
    with pytest.raises(BadCell) as caught:
        read_values(text, FIELDS[field])
    assert caught.value.message and caught.value.fix


def test_a_word_outside_the_vocabulary_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadCell) as caught:
        read_value("establised", FIELDS["flow.outcome"])
    assert caught.value.fix == "did you mean `established`?"


@given(st.integers(0, 2**32 - 300), st.integers(0, 200))
def test_a_full_range_holds_every_address_between_its_ends(first: int, more: int) -> None:
    low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(first + more)
    values = read_values(f"{low}..{high}", FIELDS["source.ip"])
    assert [int(ipaddress.ip_address(value)) for value in values] == list(range(first, first + more + 1))


@given(st.integers(2**48, 2**128 - 1), st.data())
def test_a_short_ipv6_range_counts_its_last_group_in_hexadecimal(address: int, data: st.DataObject) -> None:
    first = ipaddress.IPv6Address(address)
    start = address & 0xFFFF
    end = data.draw(st.integers(start, min(start + 100, 0xFFFF)))
    values = read_values(f"{first.exploded}..{end:x}", FIELDS["source.ip"])
    assert values == [str(first + n) for n in range(end - start + 1)]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 15))
def test_the_longest_cell_decides_and_each_value_comes_in_turn(lengths: list[int], count: int) -> None:
    columns = ["source.port", "destination.port", "source.bytes", "source.packets"][:len(lengths)]
    cells = [",".join(str(n) for n in range(length)) for length in lengths]
    flows = flows_of("  ".join(["id", "at", "count", *columns]) + "\n" + "  ".join(["r", "00:00", str(count), *cells]))
    assert len(flows) == max(*lengths, count)
    for column, length in zip(columns, lengths, strict=True):
        assert [flow[column] for flow in flows] == [n % length for n in range(len(flows))]


# ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

@given(st.integers(0, 400), st.integers(0, 86_400 * SECOND - 1))
def test_a_clock_reads_back(day: int, rest: int) -> None:
    time = TEST_DAY + day * 86_400 * SECOND + rest
    assert read_clock(clock_text(time)) == time


@pytest.mark.parametrize(("text", "starts", "step"), [
    ("09:00", [9 * 3600 * SECOND], 0),
    ("1d 02:00", [26 * 3600 * SECOND], 0),
    ("00:00:01.5 +250ms", [1_500_000], 250_000),
    ("00:00 +1us", [0], 1),
    ("00:00 +2h", [0], 7200 * SECOND),
    ("00:01,00:03", [60 * SECOND, 180 * SECOND], 0),
])
def test_clocks(text: str, starts: list[int], step: int) -> None:
    clocks = read_clocks(text)
    assert ([start - TEST_DAY for start in clocks.starts], clocks.step) == (starts, step)


def test_a_row_is_repeated_as_a_whole() -> None:
    clocks = read_clocks("09:00,09:05 every 7d x 3")
    assert (clocks.period, clocks.times) == (7 * 86_400 * SECOND, 3)
    flows = flows_of("id  at                          source.ip  destination.ip  destination.port\n"
                     "h   1d 09:00 +1m every 1d x 2   10.0.0.1   10.0.1.1..3     22,80")
    assert [(flow["event.id"], flow["event.start"] - TEST_DAY, flow["destination.ip"], flow["destination.port"])
            for flow in flows] == [
        (f"h.{n + 1}", ((day * 24 + 9) * 60 + host) * 60 * SECOND, f"10.0.1.{host + 1}", port)
        for n, (day, host, port) in enumerate([(1, 0, 22), (1, 1, 80), (1, 2, 22), (2, 0, 22), (2, 1, 80), (2, 2, 22)])]


@pytest.mark.parametrize("text", ["09:00 every 1d", "09:00 every 1d x 0", "09:00 every x 3", "09:00 every 1w x 2",
                                  "09:00 every 1d x 2 +1s", "24:00", "09:60", "9",
                                  "09:00 + 60s", "09:00 +60", "09:00,09:05 +1s", "1d", "-", ""])
def test_clocks_that_are_refused(text: str) -> None:
    with pytest.raises(BadCell):
        read_clocks(text)


# ── Problems ────────────────────────────────────────────────────────────────────────────────────────────────

def test_every_problem_of_a_table_comes_at_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "fanout.test.yaml"
    path.write_text(one_case("# a comment\n"
                             "id   at     sorce.ip   source.zone  destination.port\n"
                             "a    09:00  10.0.0.1   x            70000\n"
                             "a    0900   10.0.0.1   x            22\n"
                             "b    09:00  10.0.0.1   x"), encoding="utf-8")
    problems = problems_of(path.read_text(encoding="utf-8"), str(path))
    assert [(p.code, p.location.line, p.location.column) for p in problems if p.location] == [
        ("test/unknown-column", 6, 19), ("test/unknown-column", 6, 30), ("test/bad-cell", 7, 43),
        ("test/duplicate-id", 8, 7), ("test/bad-cell", 8, 12), ("test/ragged-row", 9, 30)]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[7 - 1][43 - 1:].startswith("70000")
    assert problems[0].fix == "did you mean `source.ip`?"
    assert "network file" in problems[1].message
    assert "line 7" in problems[3].message


@pytest.mark.parametrize(("table", "code"), [
    ("id  at", "no-flows"),
    ("# nothing", "no-flows"),
    ("id  source.ip\na  10.0.0.1", "missing-column"),
    ("at  source.ip\n09:00  10.0.0.1", "missing-column"),
    ("id  at  at\na  09:00  09:01", "duplicate-column"),
    ("id  at  network.scope\na  09:00  internal", "unknown-column"),
    ("id  at  event.start\na  09:00  5", "unknown-column"),
    ("id  at  event.id\na  09:00  5", "unknown-column"),
    ("id  at  source.ip destination.ip\na  09:00  10.0.0.1", "unknown-column"),
    ("id  at  count\na  09:00  0", "bad-cell"),
    ("id  at  count\na  09:00  9999999", "bad-cell"),
    ("id  at  count\na  09:00 every 1d x 999999  9", "bad-cell"),
    ("id  at  observer.name\na  09:00  \"open", "bad-cell"),
    ("id  at\na.b  09:00", "bad-cell"),
    ("id  at  source.ip\na  09:00  10.0.0.1,-", "bad-cell"),
])
def test_tables_that_are_refused(table: str, code: str) -> None:
    assert [p.code for p in problems_of(one_case(table))] == [f"test/{code}"]


def test_a_flow_needs_both_addresses() -> None:
    document = parse_documents(one_case("id  at  source.ip\na  09:00  10.0.0.1"), "x.test.yaml")[0]
    with pytest.raises(Rejected, match=r"a flow has no destination\.ip"):
        cases_from(document, FIELDS)


@pytest.mark.parametrize(("alert", "code"), [
    ("{rule: fanout, flows: hip}", "test/unknown-flow"),
    ("{rule: fanout, flows: hop, sorce.ip: 10.0.0.1}", "test/unknown-key"),
    ("{rule: fanout, source.ip: 10.0.0}", "test/bad-cell"),
    ('{rule: fanout, at: "9 o\'clock"}', "test/bad-cell"),
])
def test_alerts_that_are_refused(alert: str, code: str) -> None:
    [problem] = problems_of(one_case(f"{HEADER}\nhop  09:00  10.0.0.1  10.0.0.2  22", f"alerts: [{alert}]"))
    assert problem.code == code and problem.location and problem.location.line == 7


def test_a_recording_and_a_table_exclude_each_other() -> None:
    text = one_case("id  at\na  09:00", "recording: recordings/x.jsonl\n    alerts: []")
    assert [p.code for p in problems_of(text)] == ["test/no-flows"]


def test_the_schema_speaks_first() -> None:
    assert all(p.code.startswith("test/") for p in problems_of("network: office\ncase: []\n"))


# ── The runner ──────────────────────────────────────────────────────────────────────────────────────────────

NETWORK = Network("office", "office.yml", (), (), {})
DOCUMENT = Document("rules/x/fanout.yml", {}, {}, {})


def rule(name: str, refers_to: tuple[str, ...] = (), alerts: bool = True, **body: Any) -> Rule:
    kind = Kind.CORRELATION if refers_to else Kind.EVENT
    return Rule(name, name, kind, name, "low", "test", body, DOCUMENT, refers_to, alerts)


PACK = Pack({r.name: r for r in (
    rule("fanout", ("hop", "quiet"), correlation={"aliases": {"peer": {"hop": "source.ip"}}}),
    rule("hop"), rule("quiet", alerts=False), rule("other"))})


class Told:
    """An engine that gives the alerts it was told, whatever the flows."""

    def __init__(self, alerts: Sequence[Alert]) -> None:
        self.told, self.closed = alerts, False

    def alerts(self, resolved: ResolvedRule) -> list[Alert]:
        return [alert for alert in self.told if alert.rule is resolved.rule]

    def close(self) -> None:
        self.closed = True


def alert(name: str = "fanout", at: str = "09:02", evidence: Sequence[str] = ("a.1", "a.2"), **group: Any) -> Alert:
    crossing = read_clock(at)
    return Alert(PACK.rules[name], group, crossing, crossing, crossing, 2, tuple(evidence))


def expecting(*alerts: str) -> CaseFile:
    listed = "\n".join(f"      - {{{alert}}}" for alert in alerts)
    return read(one_case(f"{HEADER}\na  09:00 +1m  10.0.0.1  10.0.0.2..4  22\nb  09:05  10.0.0.9  10.0.0.8  22",
                         f"alerts:\n{listed}" if alerts else "alerts: []"))


@pytest.mark.parametrize(("expected", "came"), [
    ([], []),
    (["rule: fanout"], [alert()]),
    (["rule: fanout, flows: a, at: '09:02'"], [alert()]),
    (["rule: fanout, flows: 'a b'"], [alert(evidence=["b.1", "a.3"])]),
    (["rule: fanout, flows: 'a, b'"], [alert(evidence=["b.1", "a.3"])]),
    (["rule: fanout, source.ip: 10.0.0.1"], [alert()]),                  # all of the evidence has it
    (["rule: fanout, peer: FD00::0:1"], [alert(peer="fd00::1")]),
    (["rule: fanout", "rule: hop"], [alert("hop"), alert()]),
    (["rule: fanout", "rule: fanout, flows: a"], [alert(), alert(evidence=["b.1"])]),    # needs the pairing
])
def test_a_case_passes_when_each_expected_alert_came_and_no_other(expected: list[str], came: list[Alert]) -> None:
    told = Told(came)
    results = run_cases(PACK, [expecting(*expected)], World({"office": NETWORK}, lambda flows, network: told))
    assert results.passed, results_text(results)
    assert told.closed


@pytest.mark.parametrize(("expected", "came", "words"), [
    ([], [alert()], ["not listed: fanout at 09:02:00, flows a (2)"]),
    (["rule: fanout"], [], ["missing:    fanout (line 9)"]),
    (["rule: fanout"], [alert(), alert()], ["not listed"]),
    (["rule: fanout, at: '09:03'"], [alert()], ["it crosses at 09:02:00, not at 09:03:00"]),
    (["rule: fanout, flows: a"], [alert(evidence=["a.1", "b.1"])], ["its evidence has flows of b too"]),
    (["rule: fanout, flows: 'a,b'"], [alert()], ["its evidence has no flow of b"]),
    (["rule: fanout, source.ip: 10.0.0.5"], [alert()], ["source.ip is 10.0.0.1, not 10.0.0.5"]),
    (["rule: fanout, destination.ip: 10.0.0.2"], [alert()], ["destination.ip is 10.0.0.2 and 10.0.0.3, not 10.0.0.2"]),
    (["rule: fanout, source.zone: x"], [alert()], ["source.zone is not known, not x"]),
    (["rule: hop"], [alert()], ["missing:    hop", "not listed: fanout"]),
])
def test_a_case_fails_and_says_how_near_it_was(expected: list[str], came: list[Alert], words: list[str]) -> None:
    results = run_cases(PACK, [expecting(*expected)], World({"office": NETWORK}, lambda flows, network: Told(came)))
    text = results_text(results)
    assert not results.passed
    assert all(word in text for word in words), text
    assert "1 case in 1 file: 1 failed" in text


def test_the_engine_gets_the_baseline_below_the_rows_or_the_recording_instead() -> None:
    seen: list[list[str]] = []

    def open_case(flows: Sequence[Mapping[str, Any]], network: Network) -> Told:
        seen.append([flow["event.id"] for flow in flows])
        return Told([])

    def open_recording(path: str, network: Network) -> Told:
        seen.append([path])
        return Told([])

    case_file = read("network: office\ncases:\n"
                     "  - {name: under, on: baselines/x.jsonl, flows: \"id  at\\na  09:00\", alerts: []}\n"
                     "  - {name: alone, on: baselines/x.jsonl, alerts: []}\n"
                     "  - {name: recorded, recording: recordings/y.json, alerts: []}\n")
    world = World({"office": NETWORK}, open_case, open_recording, lambda path: [{"event.id": path}])
    assert run_cases(PACK, [case_file], world).passed
    assert seen == [["baselines/x.jsonl", "a.1"], ["baselines/x.jsonl"], ["recordings/y.json"]]


def test_names_that_nothing_answers_to_are_problems_before_anything_runs() -> None:
    wrong = read(one_case("id  at\na  09:00", "alerts: [{rule: other, pier: x}]").replace("office", "ofice"))
    orphan = read(one_case("id  at\na  09:00"), "rules/x/fanuot.test.yaml")
    with pytest.raises(Rejected) as caught:
        run_cases(PACK, [wrong, orphan], World({"office": NETWORK}, lambda flows, network: Told([])))
    assert [(p.code, p.fix) for p in caught.value.problems[:3]] == [
        ("test/unknown-network", "did you mean `office`?"),
        ("test/unknown-rule", "use one of: fanout, hop"),
        ("test/unknown-key", "did you mean `peer`?")]
    assert caught.value.problems[3].code == "test/no-rule"


def test_the_nearest_alert_is_the_one_with_the_fewest_differences() -> None:
    case = expecting("rule: fanout, source.ip: 10.0.0.1, flows: a, at: '09:02'").cases[0]
    near, far = alert(at="09:03"), alert(at="09:04", evidence=["b.1"])
    missing, *unexpected = judge(case, [far, near])
    assert isinstance(missing, Missing) and missing.nearest is near
    assert [item.alert for item in unexpected if isinstance(item, Unexpected)] == [far, near]


def test_the_test_files_of_the_pack_are_read_without_a_problem() -> None:
    for path in sorted((Path(__file__).parents[1] / "rules").rglob("*.test.yaml")):
        [document] = parse_documents(path.read_text(encoding="utf-8"), str(path))
        assert cases_from(document, FIELDS).cases

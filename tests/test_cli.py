"""The command line: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from ewdetect.cli import VERBS, verbs
from ewdetect.cli.output import whole_file
from ewdetect.problems import Rejected, WorldFailed
from tests.world import ROOT, SHARED

GOLDEN = ROOT / "tests" / "golden" / "cli"
LAB = ROOT / "fixtures" / "recordings" / "office_lab"

RULES = """\
title: Potential Lateral Movement by SSH Fan-Out
id: 11111111-1111-4111-8111-111111111111
name: fanout
tags: [attack.lateral-movement, attack.t1021.004]
correlation:
    type: value_count
    rules: [fanout_session]
    group-by: [source.ip]
    timespan: 10m
    condition: {field: destination.ip, gte: 3}
level: medium
ewdetect:
    guide: |
        1. Read what the source is.
        2. Isolate it.
---
title: SSH Session
id: 22222222-2222-4222-8222-222222222222
name: fanout_session
logsource: {category: network, service: connection}
detection:
    selection: {network.scope: internal, destination.port: 22, flow.outcome: established}
    condition: selection
level: informational
"""
DECOY = """\
title: Suspicious Connection to a Decoy
id: 33333333-3333-4333-8333-333333333333
name: decoy
logsource: {category: network, service: connection}
detection:
    selection: {destination.is_decoy: true}
    condition: selection
level: high
ewdetect:
    suppress: {by: [source.ip], for: 24h}
"""
TRUTH = """\
steps:
  - {id: fan, kind: attack, start: "2026-01-15T10:00:00Z", end: "2026-01-15T10:05:00Z", source: 10.10.4.17,
     technique: T1021.004, tool: ssh in a loop, rules: [fanout]}
  - {id: touch, kind: attack, start: "2026-01-15T10:20:00Z", end: "2026-01-15T10:21:00Z", source: 10.10.4.17,
     technique: T1046, tool: nmap, rules: [decoy]}
  - {id: login, kind: attack, start: "2026-01-15T10:30:00Z", end: "2026-01-15T10:31:00Z", source: 10.10.4.17,
     technique: T1110, tool: hydra, rules: [], note: no rule counts logins yet}
  - {id: web, kind: benign, start: "2026-01-15T10:00:00Z", end: "2026-01-15T11:00:00Z", source: 10.0.0.0/8}
"""


def flow(number: int, minute: int, destination: str, **more: Any) -> dict[str, Any]:
    return {"event.id": f"f{number}", "event.start": f"2026-01-15T10:{minute:02d}:00Z", "source.ip": "10.10.4.17",
            "source.port": 50000 + number, "source.bytes": 5_200, "destination.ip": destination, "destination.port": 22,
            "destination.bytes": 81_000, "network.transport": "tcp", "flow.outcome": "established", **more}


FLOWS = [flow(1, 1, "10.30.0.11"), flow(2, 2, "10.30.0.12"), flow(3, 3, "fd00:30::13", **{"source.ip": "fd00:10::17"}),
         flow(4, 4, "10.30.0.14"), flow(5, 15, "10.30.0.250", **{"flow.outcome": "failed"})]


@contextmanager
def a_folder() -> Iterator[Path]:
    """A folder with rules, flows, a network and a truth, which is the current one meanwhile."""
    before = Path.cwd()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules").mkdir()
        (folder / "rules" / "fanout.yml").write_text(RULES, encoding="utf-8")
        (folder / "rules" / "decoy.yml").write_text(DECOY, encoding="utf-8")
        shutil.copy(ROOT / "fixtures" / "networks" / "office.yml", folder)
        (folder / "truth.yml").write_text(TRUTH, encoding="utf-8")
        lines = [json.dumps(row) for row in FLOWS]
        (folder / "flows.jsonl").write_text("\n".join([*lines, "torn", lines[0]]) + "\n", encoding="utf-8")
        (folder / "empty.jsonl").write_text("", encoding="utf-8")
        (folder / "odd.jsonl").write_text(json.dumps(flow(1, 1, "10.30.0.300")) + "\n", encoding="utf-8")
        (folder / "quiet.jsonl").write_text(json.dumps(flow(1, 1, "10.30.0.11")) + "\n", encoding="utf-8")
        (folder / "broken.yml").write_text(DECOY.replace("destination.is_decoy", "destination.is_decoi"), "utf-8")
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    with a_folder() as made:
        yield made


def ew(*words: str, stdin: str | None = None, **environment: str | None) -> Result:
    return CliRunner(env={"COLUMNS": None, "NO_COLOR": None, **environment}).invoke(verbs, words, input=stdin)


BACKTEST = ("backtest", "flows.jsonl", "--source", "flow", "--network", "office.yml", "--rules", "rules")
TRANSCRIPTS: Mapping[str, tuple[str, ...]] = {
    "help": ("--help",),
    "backtest": BACKTEST,
    "backtest_truth": (*BACKTEST, "--truth", "truth.yml"),
    "backtest_quiet": ("backtest", "quiet.jsonl", *BACKTEST[2:]),
    "backtest_nothing_kept": ("backtest", "odd.jsonl", *BACKTEST[2:]),
    "wrong_source": (*BACKTEST, "--source", "zeek_conn"),
    "backtest_empty": ("backtest", "empty.jsonl", *BACKTEST[2:]),
    "check_broken": ("check", "broken.yml"),
    "explain_address": ("explain", "10.30.0.250", "--network", "office.yml"),
    "explain_rule": ("explain", "decoy_touch"),
    "list_sources": ("list", "sources"),
    "unknown_source": (*BACKTEST, "--source", "suricata"),
}


def golden_cli() -> Iterator[tuple[Path, str]]:
    """What the command line prints in a few situations: standard output, then standard error, then the exit code."""
    with a_folder():
        for name, words in TRANSCRIPTS.items():
            result = ew(*words)
            said = f"--- stderr\n{result.stderr}" if result.stderr else ""
            text = f"$ ewdetect {' '.join(words)}\n{result.stdout}{said}--- exit {result.exit_code}\n"
            yield GOLDEN / f"{name}.txt", text.replace(str(ROOT), "…")


def test_what_is_printed_is_what_was_reviewed() -> None:
    for path, text in golden_cli():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: `make golden`, and read the diff"


# ── Verbs ───────────────────────────────────────────────────────────────────────────────────────────────────

def test_help_imports_nothing_heavy() -> None:
    code = ("import sys; from ewdetect.cli import verbs\ntry: verbs.main(['--help'])\nexcept SystemExit: pass\n"
            "print(sorted({'duckdb', 'sigma', 'jsonschema', 'rich', 'yaml'} & set(sys.modules)))")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_says_in_it_what_the_list_says(verb: str) -> None:
    result = ew(verb, "--help")
    command = verbs.get_command(click.Context(verbs), verb)
    assert result.exit_code == 0 and command is not None and command.help
    assert len((ROOT / "ewdetect" / "cli" / f"{verb}.py").read_text(encoding="utf-8").splitlines()) <= 80


def test_the_version() -> None:
    assert ew("--version").stdout.startswith("ewdetect ")


@pytest.mark.parametrize(("words", "code"), [
    (("check", "rules/decoy.yml"), 1),                                          # it has no proof
    (("check", "no_such_folder"), 2),
    (("check", "--network", "no_such.yml"), 2),
    (("test", "rules/decoy.yml"), 1),                                           # nothing to run
    (("test", "no_such_folder"), 2),
    ((*BACKTEST, "--rule", "fanot"), 2),
    ((*BACKTEST, "--source", "zeek"), 2),
    ((*BACKTEST, "--source", "zeek_conn"), 2),
    (("backtest", "no_such.jsonl", *BACKTEST[2:]), 2),
    (("backtest", *BACKTEST[2:]), 2),
    (("backtest", "odd.jsonl", *BACKTEST[2:]), 1),                              # read, and nothing kept
    (("backtest", "empty.jsonl", *BACKTEST[2:]), 0),
    ((*BACKTEST, "--network", "no_such.yml"), 2),
    ((*BACKTEST, "--network", "truth.yml"), 1),
    ((*BACKTEST, "--truth", "no_such.yml"), 2),
    ((*BACKTEST, "--truth", "office.yml"), 1),
    ((*BACKTEST, "--memory", "lots"), 2),
    ((*BACKTEST, "--rules", "broken.yml"), 1),
    ((*BACKTEST, "--format", "yaml"), 2),
    ((*BACKTEST, "--alerts", "no_such_folder/alerts.jsonl"), 2),
    ((*BACKTEST, "--alerts", "rules"), 2),
    (("convert", "decoy_touch", "--to", "elastic", "--source", "flow", "--network", "office.yml"), 0),
    (("convert", "rules/decoy.yml", "--to", "duckdb"), 0),
    (("convert", "scan_ports", "--to", "splunk", "--source", "flow", "--network", "office.yml"), 0),
    (("convert", "scan_ports", "--to", "elastic", "--source", "flow", "--network", "office.yml"), 0),
    (("convert", "scan_ports", "--to", "elastic", "--dialect", "lucene", "--source", "flow"), 1),
    (("convert", "decoy_touch", "--to", "splank"), 2),
    (("convert", "decoy_tuch", "--to", "duckdb"), 2),
    (("list", "rules"), 0),
    (("list", "networks"), 0),
    (("list", "fields"), 0),
    (("list", "everything"), 2),
    (("explain", "10.1.1.1"), 2),
    (("explain", "rule/unknown-technique"), 0),
    (("explain", "rule/unknown-field"), 0),
    (("explain", "rule/no-such-code"), 2),
    (("explain", "no_such_rule"), 2),
    (("new", "rule", "Bad Name"), 2),
    (("new", "source", "Bad Name"), 2),
    (("cehck",), 2),
    (("check", "--frobnicate"), 2),
])
def test_exit_codes(folder: Path, words: tuple[str, ...], code: int) -> None:
    result = ew(*words)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit | None)
    if code == 2 and words[0] != "check":
        assert result.stdout == "" and result.stderr


def test_an_unknown_word_gets_a_suggestion(folder: Path) -> None:
    assert "did you mean `check`?" in ew("cehck").stderr
    assert "did you mean `suricata_eve`?" in ew(*BACKTEST, "--source", "suricata_ev").stderr
    assert "did you mean `decoy_touch`?" in ew("explain", "decoy_tuch").stderr


def test_a_rule_of_one_family_may_refer_to_another() -> None:
    assert ew("check", str(ROOT / "rules" / "lateral_movement")).exit_code == 0
    rule = ROOT / "rules" / "lateral_movement" / "scan_then_admin.yml"
    assert ew("convert", str(rule), "--to", "duckdb").exit_code == 0


def test_what_is_new_passes_at_once_and_is_never_overwritten(folder: Path) -> None:
    made = ew("new", "rule", "family/my_rule", "--into", "mine")
    assert made.stdout.split() == ["mine/family/my_rule.yml", "mine/family/my_rule.test.yaml"]
    assert ew("check", "mine").exit_code == 0
    tested = ew("test", "mine")
    assert tested.exit_code == 0 and "all passed" in tested.stdout
    Path("mine/family/my_rule.yml").write_text("mine", encoding="utf-8")
    assert ew("new", "rule", "family/my_rule", "--into", "mine").exit_code == 2
    assert Path("mine/family/my_rule.yml").read_text(encoding="utf-8") == "mine"


def test_a_new_source_reads_its_sample(folder: Path) -> None:
    assert ew("new", "source", "my_flow").exit_code == 0
    result = ew("backtest", "mappings/my_flow/sample.jsonl", "--source", "mappings/my_flow/source.yml",
                "--network", "office.yml")
    assert result.exit_code == 0 and "1 record: 1 flow kept" in result.stdout


def test_a_failed_case_is_a_no(folder: Path) -> None:
    Path("rules/decoy.test.yaml").write_text(
        "network: office\ncases:\n  - name: wrong\n    flows: |\n      id  at     source.ip   destination.ip\n"
        "      a   09:00  10.10.4.17  10.30.0.250\n    alerts: []\n", encoding="utf-8")
    result = ew("test", "rules/decoy.yml")
    assert result.exit_code == 1 and "1 failed" in result.stdout
    mutated = ew("test", "--mutate", "rules/decoy.test.yaml", "--format", "json")
    assert mutated.exit_code == 1 and json.loads(mutated.stdout)["files"][0]["failing"] == ["wrong"]


def test_a_truth_that_is_met_is_a_yes(folder: Path) -> None:
    Path("truth.yml").write_text(TRUTH.replace("T10:20", "T10:15"), encoding="utf-8")
    judged = ew(*BACKTEST, "--truth", "truth.yml", "--format", "json")
    assert judged.exit_code == 0 and json.loads(judged.stdout)["truth"]["passed"] is True


def test_the_recording_keeps_its_promise() -> None:
    result = ew("backtest", str(LAB / "flows.eve.jsonl.gz"), "--source", "suricata_eve", "--network",
                str(LAB / "network.yml"), "--truth", str(LAB / "truth.yml"))
    assert result.exit_code == 0, result.output
    assert " 0 missed, " in result.stdout and ", 0 false alerts" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_flows_may_come_from_standard_input(folder: Path) -> None:
    given = Path("flows.jsonl").read_bytes()
    ran = subprocess.run([sys.executable, "-m", "ewdetect", "backtest", "-", *BACKTEST[2:]], input=given,
                         capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ran.returncode == 0 and b"5 flows kept" in ran.stdout


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────

TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
ALERT = {"type": "object", "additionalProperties": False,
         "required": ["rule", "group", "start", "crossing", "end", "value", "evidence", "samples", "context"],
         "properties": {
             "rule": {"type": "object", "required": ["name", "id", "title", "level", "tags", "attack"]},
             "group": {"type": "object"}, "start": TIME, "crossing": TIME, "end": TIME,
             "value": {"type": ["number", "null"]},
             "evidence": {"type": "object", "required": ["count", "ids"],
                          "properties": {"ids": {"type": "array", "items": {"type": "string"}}}},
             "samples": {"type": "array", "minItems": 1,
                         "items": {"type": "object", "properties": {"event.start": TIME}}},
             "context": {"type": "object", "additionalProperties": {"type": "object"}}}}
ENVELOPE = {"type": "object", "required": ["version", "format"]}
BACKTEST_SHAPE = {
    "type": "object", "required": ["ewdetect", "read", "rules", "skipped", "alerts"],
    "properties": {
        "ewdetect": ENVELOPE, "alerts": {"type": "array", "items": ALERT},
        "read": {"type": "object", "required": ["files", "records", "kept", "passed", "dropped", "repaired", "places",
                                                "first", "last"], "properties": {"first": TIME, "last": TIME}},
        "truth": {"type": "object", "required": ["passed", "steps", "false"]}}}


def test_backtest_as_json(folder: Path) -> None:
    result = ew(*BACKTEST, "--truth", "truth.yml", "--format", "json")
    data = json.loads(result.stdout)
    Draft202012Validator(BACKTEST_SHAPE).validate(data)
    assert result.exit_code == 1 and data["ewdetect"]["format"] == "backtest/1"
    assert data["read"]["dropped"] == {"duplicate": 1, "unreadable": 1}
    assert [alert["rule"]["name"] for alert in data["alerts"]] == ["fanout", "decoy"]
    fanout = data["alerts"][0]
    assert fanout["rule"]["attack"] == ["T1021.004"] and fanout["value"] == 3
    assert fanout["evidence"] == {"count": 3, "ids": ["f1", "f2", "f4"]}
    assert (fanout["start"], fanout["crossing"]) == ("2026-01-15T10:01:00.000000Z", "2026-01-15T10:04:00.000000Z")
    assert fanout["context"]["10.10.4.17"]["zone"] == "workstations" and "10.30.0.11" in fanout["context"]
    assert data["truth"]["false"] == [1]
    assert [step["verdict"] for step in data["truth"]["steps"]] == ["caught", "missed decoy", "no rule", "everyday"]


@pytest.mark.parametrize(("words", "form", "keys"), [
    (("check", "broken.yml"), "problems/1", {"problems"}),
    (("list", "sources"), "list/1", {"sources"}),
    (("convert", "decoy_touch", "scan_ports", "--to", "elastic", "--dialect", "lucene", "--source", "flow", "--network",
      "office.yml"),
     "convert/1", {"queries", "problems"}),
])
def test_other_verbs_as_json(folder: Path, words: tuple[str, ...], form: str, keys: set[str]) -> None:
    data = json.loads(ew(*words, "--format", "json").stdout)
    assert data["ewdetect"]["format"] == form and data.keys() - {"ewdetect"} == keys
    assert all(data[key] for key in keys)


def test_cases_as_json(folder: Path) -> None:
    ew("new", "rule", "family/my_rule", "--into", "mine")
    data = json.loads(ew("test", "mine", "--format", "json").stdout)
    assert data["ewdetect"]["format"] == "test/1" and all(case["passed"] for case in data["files"][0]["cases"])


# ── Where it goes ───────────────────────────────────────────────────────────────────────────────────────────

def test_alerts_are_written_as_lines(folder: Path) -> None:
    assert ew(*BACKTEST, "--alerts", "alerts.jsonl").exit_code == 0
    alerts = [json.loads(line) for line in Path("alerts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [alert["rule"]["name"] for alert in alerts] == ["fanout", "decoy"]
    for alert in alerts:
        Draft202012Validator(ALERT).validate(alert)


def test_alerts_on_standard_output_leave_the_report_to_standard_error(folder: Path) -> None:
    result = ew(*BACKTEST, "--alerts", "-")
    assert [json.loads(line)["rule"]["name"] for line in result.stdout.splitlines()] == ["fanout", "decoy"]
    assert "Alerts on 2026-01-15" in result.stderr


def test_alerts_on_a_full_disk(folder: Path) -> None:
    result = ew(*BACKTEST, "--alerts", "/dev/full")
    assert result.exit_code == 3 and "/dev/full: No space left on device" in result.stderr
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("before", [None, "the alerts of yesterday\n"])
def test_nothing_half_written_is_left(tmp_path: Path, before: str | None) -> None:
    """A limit on the size of files does what a full disk does, in the middle of a line."""
    target = tmp_path / "alerts.jsonl"
    if before:
        target.write_text(before, encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(WorldFailed, match="File too large"), whole_file(str(target)) as write:
            write(f"line {number}\n" for number in range(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == (
        {"alerts.jsonl": before} if before else {})


def test_a_file_is_left_alone_when_the_work_before_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "alerts.jsonl"
    target.write_text("old\n", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), whole_file(str(target)):
        raise KeyboardInterrupt
    with pytest.raises(Rejected), whole_file(str(tmp_path)):
        pass
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old\n"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_file(str(tmp_path / "link")) as write:
        write(["new\n"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text(encoding="utf-8") == "new\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_or_written(folder: Path) -> None:
    Path("flows.jsonl").chmod(0)
    assert ew(*BACKTEST).exit_code == 3
    Path("rules/decoy.yml").chmod(0)
    assert ew("check", "rules").exit_code == 3


def test_a_folder_in_place_of_a_file_is_the_worlds_failure(folder: Path) -> None:
    Path("a_folder.yml").mkdir()
    result = ew(*BACKTEST, "--network", "a_folder.yml")
    assert result.exit_code == 3 and "a_folder.yml: Is a directory" in result.stderr


# Whoever runs tests in the background has Ctrl-C ignored, and children inherit that.
PROGRAM = ("import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
           "runpy.run_module('ewdetect', run_name='__main__')")


def run(*words: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT)}, **more)


@pytest.mark.parametrize("words", [("--help",), ("list", "fields"), BACKTEST, ("check", "broken.yml")])
def test_a_reader_that_left_is_no_trouble(folder: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = run(*words, stdout=writing)
    os.close(writing)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (141, b"")


@pytest.mark.parametrize("words", [("--help",), ("list", "fields"), BACKTEST, (*BACKTEST, "--format", "json")])
def test_standard_output_on_a_full_disk(folder: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        process = run(*words, stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"No space left on device" in stderr and b"Traceback" not in stderr


def test_an_interrupt_ends_it_quietly(folder: Path) -> None:
    process = run("backtest", "-", *BACKTEST[2:], "--alerts", "alerts.jsonl", stdin=subprocess.PIPE,
                  stdout=subprocess.PIPE)
    while not list(Path().glob(".alerts.jsonl.*")):         # the work has begun, and waits for standard input
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"interrupted\n")
    assert not list(Path().glob("*alerts.jsonl*"))


def test_an_ascii_terminal_is_no_reason_to_fail(folder: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "ewdetect", *BACKTEST], capture_output=True, check=False,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0 and rb"\u2192" in ran.stdout


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(folder: Path, environment: dict[str, str], coloured: bool) -> None:
    master, slave = os.openpty()
    base = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen([sys.executable, "-m", "ewdetect", "list", "sources"], stdout=slave, stderr=slave,
                               env={**base, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment})
    process.wait(timeout=60)
    os.close(slave)
    assert (b"\x1b[" in os.read(master, 65536)) is coloured
    os.close(master)
    assert "\x1b[" not in ew("list", "sources").stdout


def test_flows_cannot_drive_the_terminal(folder: Path) -> None:
    row = flow(9, 1, "10.30.0.250", **{"network.protocol": "ssh\u001b[2Jrm", "event.id": "x\n\u202ey"})
    Path("flows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    result = ew(*BACKTEST)
    assert "\x1b" not in result.stdout and r"\x1b[2jrm" in result.stdout.lower()


def test_many_alerts_of_one_rule_on_one_host_are_cut_short(folder: Path) -> None:
    Path("rules/decoy.yml").write_text(DECOY.partition("ewdetect:")[0], encoding="utf-8")
    rows = [json.dumps(flow(n, n, "10.30.0.250")) for n in range(6)]
    Path("flows.jsonl").write_text("\n".join(rows[:5]), encoding="utf-8")
    assert ew(*BACKTEST).stdout.count("Suspicious Connection") == 5
    Path("flows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    shown = ew(*BACKTEST).stdout
    assert shown.count("Suspicious Connection") == 3
    assert "and 3 more of decoy, the last at 10:05:00; --alerts FILE writes all" in shown


def test_alerts_over_several_days_show_the_date(folder: Path) -> None:
    later = flow(6, 1, "10.30.0.250", **{"event.start": "2026-01-18T01:02:03Z"})
    with Path("flows.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(later) + "\n")
    shown = ew(*BACKTEST).stdout
    assert "Alerts, UTC" in shown and "2026-01-18 01:02:03  high" in shown


def test_a_bug_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ewdetect.cli.explain.explanations", lambda: 1 / 0)
    assert isinstance(ew("explain", "rule/unknown-field").exception, ZeroDivisionError)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_a_zeek_log_it_has_never_seen(folder: Path) -> None:
    log = next(iter(sorted(SHARED.glob("zeek_zat/*conn*"))))
    result = ew("backtest", str(log), "--source", "zeek_conn", "--network", "office.yml")
    assert result.exit_code == 0 and "flows kept" in result.stdout

"""Flows as they come: damaged, mixed, spelt three ways. What was lost is counted and named with its place."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ewdetect.engine import Engine, ReadReport
from ewdetect.flows import FieldSpec
from ewdetect.flows.sql import natural_types
from ewdetect.problems import Rejected, WorldFailed
from tests.world import fields, network, office, orientation, source

START = "2026-01-15T10:00:00.000000+0000"


def eve(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A finished Suricata TCP flow; keys with `__` reach into `flow` and `tcp`."""
    record: dict[str, Any] = {
        "timestamp": START, "flow_id": number, "event_type": "flow", "src_ip": "10.10.0.1", "src_port": 40000,
        "dest_ip": "10.30.0.1", "dest_port": 445, "proto": "TCP",
        "flow": {"pkts_toserver": 6, "pkts_toclient": 4, "bytes_toserver": 432, "bytes_toclient": 277, "start": START,
                 "end": "2026-01-15T10:00:02.500000+0000", "state": "closed"},
        "tcp": {"tcp_flags_ts": "1b", "tcp_flags_tc": "1b"}}
    for key, value in changes.items():
        head, _, tail = key.partition("__")
        if tail:
            record[head][tail] = value
        else:
            record[head] = value
    return {k: v for k, v in record.items() if v is not None}


def lines(records: Iterable[Any]) -> str:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)


def read(name: str, *paths: str | Path) -> tuple[ReadReport, list[dict[str, Any]]]:
    """The report, and the flows as the engine holds them with addresses as text."""
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(p) for p in paths], office(), fields())
        cursor = engine._db.execute(
            'SELECT f.*, a.ip AS "source number", b.ip AS "destination number" FROM flow f '
            'JOIN (SELECT DISTINCT id, ip FROM address) a ON a.id = f."source.ip" '
            'JOIN (SELECT DISTINCT id, ip FROM address) b ON b.id = f."destination.ip" '
            'ORDER BY "event.start", "event.id"'
        )
        names = [c[0] for c in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert report.read == report.kept + report.passed + sum(report.dropped.values())
    return report, rows


def read_eve(tmp_path: Path, *records: Any) -> tuple[ReadReport, list[dict[str, Any]]]:
    path = tmp_path / "eve.json"
    path.write_text(lines(records), encoding="utf-8")
    return read("suricata_eve", path)


DAMAGED: Mapping[str, tuple[Any, str]] = {
    "not JSON": ("this is no JSON", "unreadable"),
    "a JSON list": ("[1, 2]", "unreadable"),
    "a cut-off record": (json.dumps(eve())[:60], "unreadable"),
    "port 70000": (eve(dest_port=70000), "bad-port"),
    "a negative port": (eve(src_port=-1), "bad-port"),
    "a port in words": (eve(dest_port="https"), "bad-port"),
    "no start": (eve(flow__start=None), "no-time"),
    "a start that is no time": (eve(flow__start="yesterday"), "bad-time"),
    "a start in the year 3000": (eve(flow__start="3000-01-01T00:00:00+0000"), "bad-time"),
    "no source address": (eve(src_ip=None), "no-address"),
    "an address that is none": (eve(dest_ip="10.30.0.300"), "bad-address"),
    "an address with octal digits": (eve(dest_ip="010.30.0.3"), "bad-address"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_bad_record_is_counted_and_skipped_with_its_place(case: str, tmp_path: Path) -> None:
    record, damage = DAMAGED[case]
    report, rows = read_eve(tmp_path, eve(1), "", record, eve(2))
    assert [r["event.id"] for r in rows] == ["1", "2"]
    assert report.dropped == {damage: 1}
    assert [(p.file, p.line, p.damage) for p in report.places] == [(str(tmp_path / "eve.json"), 3, damage)]


def test_other_event_types_are_passed_over(tmp_path: Path) -> None:
    report, _ = read_eve(tmp_path, eve(1), {"event_type": "dns", "src_ip": "10.10.0.1"}, {"event_type": "stats"})
    assert (report.kept, report.passed, report.dropped) == (1, 2, {})


def test_counters_that_cannot_be_true_become_missing(tmp_path: Path) -> None:
    report, rows = read_eve(tmp_path, eve(1, flow__bytes_toserver=-5), eve(2, flow__bytes_toclient=None), eve(3))
    assert report.repaired == {"number": 1}
    assert [(r["source.bytes"], r["destination.bytes"], r["network.bytes"]) for r in rows] == [
        (None, 277, None), (432, None, None), (432, 277, 709)]


def test_times_in_every_format_and_out_of_order(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    row = {"source.ip": "10.10.0.1", "destination.ip": "10.30.0.1"}
    times = ["2026-01-15T12:00:03+02:00", 1768471202.5, "2026-01-15 10:00:01", "2026-01-15T10:00:00.000001Z"]
    path.write_text(lines({"event.id": str(i), "event.start": t, **row} for i, t in enumerate(times)), encoding="utf-8")
    report, rows = read("flow", path)
    assert [(r["event.id"], r["event.start"] % 60_000_000) for r in rows] == [
        ("3", 1), ("2", 1_000_000), ("1", 2_500_000), ("0", 3_000_000)]
    assert (report.first, report.last) == (rows[0]["event.start"], rows[-1]["event.start"])


def test_duplicates_count_once(tmp_path: Path) -> None:
    report, rows = read_eve(tmp_path, eve(1), eve(1), eve(2), eve(1, dest_port=22))
    assert report.dropped == {"duplicate": 1}
    assert [(r["event.id"], r["destination.port"]) for r in rows] in ([("1", 22), ("1", 445), ("2", 445)],
                                                                     [("1", 445), ("1", 22), ("2", 445)])


def test_one_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text(lines([eve(1)]), encoding="utf-8")
    assert read("suricata_eve", path, path)[0].read == 1


V4_MAPPED = 0xFFFF << 32


def test_both_families_and_every_spelling_are_one_form(tmp_path: Path) -> None:
    _, rows = read_eve(
        tmp_path,
        eve(1, src_ip="10.10.0.1"),
        eve(2, src_ip="::ffff:10.10.0.1"),
        eve(3, src_ip="fd00:10::1"),
        eve(4, src_ip="FD00:0010:0000:0000:0000:0000:0000:0001"),
        eve(5, src_ip="fe80::1%eth0"),
    )
    numbers = [r["source number"] for r in rows]
    assert numbers[0] == numbers[1] == V4_MAPPED + 0x0A0A0001
    assert numbers[2] == numbers[3] == 0xFD000010 << 96 | 1
    assert numbers[4] == 0xFE80 << 112 | 1
    assert rows[0]["source.ip"] == rows[1]["source.ip"] and rows[2]["source.ip"] == rows[3]["source.ip"]
    assert [r["source.zone"] for r in rows[:4]] == ["workstations"] * 4
    assert [r["network.type"] for r in rows] == ["ipv4", "ipv4", "ipv6", "ipv6", "ipv6"]


def test_a_truncated_gzip_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "eve.json.gz"
    whole = gzip.compress(lines(eve(i, src_port=i) for i in range(1, 5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    report, rows = read("suricata_eve", path)
    assert 0 < report.kept < 4999 and len(rows) == report.kept
    assert (str(path), "truncated") in [(p.file, p.damage) for p in report.places]


def test_an_empty_file_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.touch()
    assert read("suricata_eve", path)[0].read == 0


def test_gzip_without_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(gzip.compress(lines([eve(1)]).encode()))
    assert read("suricata_eve", path)[0].kept == 1


def test_globs_folders_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.json").write_text(lines([eve(1)]), encoding="utf-8")
    (tmp_path / "sub" / "b.json.gz").write_bytes(gzip.compress(lines([eve(2)]).encode()))
    (tmp_path / "sub" / "notes.txt").write_text("no flows here", encoding="utf-8")
    assert read("suricata_eve", tmp_path)[0].kept == 2
    assert read("suricata_eve", f"{tmp_path}/*.json")[0].kept == 1
    assert read("suricata_eve", f"{tmp_path}/**/*.json*")[0].kept == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(lines([eve(3)]).encode()))))
    assert read("suricata_eve", "-")[0].kept == 1


def test_the_wrong_source_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text("#separator \\x09\n#fields\tts\tuid\n1.0\tC1\n", encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read("suricata_eve", path)
    assert [(p.code, p.location and p.location.path) for p in refused.value.problems] == [
        ("flows/wrong-source", str(path))
    ]


def test_another_sensors_json_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "conn.json"
    path.write_text(lines([{"ts": 1768471200.0, "uid": "C1", "id.orig_h": "10.0.0.1"}]), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read("suricata_eve", path)
    assert [p.code for p in refused.value.problems] == ["flows/wrong-source"]


def test_a_path_that_does_not_exist() -> None:
    with pytest.raises(Rejected) as refused:
        read("suricata_eve", "/nowhere/eve.json", "/nowhere/*.json")
    assert [p.code for p in refused.value.problems] == ["path/missing", "path/missing"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_without_permission(closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inner", "eve.json")
        path.parent.mkdir()
        path.write_text(lines([eve(1)]), encoding="utf-8")
        Path(folder).chmod(0o755)
        (path if closed == "file" else path.parent).chmod(0)
        with as_nobody(), pytest.raises(WorldFailed, match="Permission denied"):
            read("suricata_eve", path)
        path.parent.chmod(0o755)


def test_a_file_that_cannot_be_read_is_the_worlds_failure() -> None:
    with pytest.raises(WorldFailed, match="/proc/self/mem"):
        read("suricata_eve", "/proc/self/mem")


CSV = "event.id,event.start,source.ip,destination.ip,destination.port,network.transport\n"


def test_csv_with_a_torn_line_and_protocol_numbers(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text(
        CSV
        + "a,2026-01-15T10:00:00Z,10.10.0.1,10.30.0.1,22,6\nb,torn\nc,2026-01-15T10:00:01Z,10.10.0.1,10.30.0.1,,1\n",
        encoding="utf-8",
    )
    report, rows = read("flow", path)
    assert [(r["event.id"], r["network.transport"], r["destination.port"]) for r in rows] == [
        ("a", "tcp", 22),
        ("c", "icmp", None),
    ]
    assert report.dropped == {"ragged": 1} and [p.line for p in report.places] == [3]


def test_a_misspelt_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text(CSV.replace("destination.port", "destination.prot"), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read("flow", path)
    assert [(p.code, p.fix) for p in refused.value.problems] == [
        ("flows/unknown-column", "did you mean `destination.port`?")
    ]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "flows.parquet"
    with Engine(fields(), orientation()) as engine:
        engine._db.execute(f"""COPY (SELECT 'p' AS "event.id", TIMESTAMP '2026-01-15 10:00:00.25' AS "event.start",
            '10.10.0.1' AS "source.ip", 'fd00:30::1' AS "destination.ip", 445::USMALLINT AS "destination.port",
            1::BIGINT AS "source.bytes") TO '{path}'""")
    report, rows = read("flow", path)
    assert (
        report.kept == 1 and rows[0]["event.start"] % 1_000_000 == 250_000 and rows[0]["destination.zone"] == "servers"
    )


ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#open\t2026-01-15-10-00-00\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t"
    "conn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"
)


def zeek(uid: str, proto: str = "tcp", state: str = "SF", **columns: str) -> str:
    row = {
        "ts": "1768471200.250000",
        "uid": uid,
        "oh": "10.10.0.1",
        "op": "40000",
        "rh": "10.30.0.1",
        "rp": "22",
        "proto": proto,
        "service": "-",
        "duration": "1.5",
        "ob": "10",
        "rb": "20",
        "state": state,
        "history": "ShADadFf",
        "opk": "5",
        "oib": "300",
        "rpk": "4",
        "rib": "400",
    }
    return "\t".join((row | columns).values())


def test_zeek_tsv_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(ZEEK + zeek("C1") + "\n#close\t2026-01-15-11-00-00\n", encoding="utf-8")
    record = {
        "ts": 1768471200.25,
        "uid": "C1",
        "proto": "tcp",
        "duration": 1.5,
        "orig_bytes": 10,
        "resp_bytes": 20,
        "conn_state": "SF",
        "history": "ShADadFf",
        "orig_pkts": 5,
        "orig_ip_bytes": 300,
        "resp_pkts": 4,
        "resp_ip_bytes": 400,
    }
    for mark in (".", "_"):
        ends = {
            f"id{mark}orig_h": "10.10.0.1",
            f"id{mark}orig_p": 40000,
            f"id{mark}resp_h": "10.30.0.1",
            f"id{mark}resp_p": 22,
        }
        (tmp_path / "conn.json").write_text(lines([record | ends]), encoding="utf-8")
        assert read("zeek_conn", tmp_path / "conn.log")[1] == read("zeek_conn", tmp_path / "conn.json")[1]


ZEEK_OUTCOMES = {
    ("tcp", "SF"): "established", ("tcp", "S1"): "established", ("tcp", "S0"): "failed", ("tcp", "REJ"): "failed",
    ("tcp", "RSTRH"): "failed", ("tcp", "RSTO"): "established", ("tcp", "OTH"): "unknown", ("udp", "S0"): "failed",
    ("udp", "SF"): "established", ("icmp", "OTH"): "unknown"}


def test_zeek_states_become_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text(ZEEK + "".join(zeek(f"C{i}", *key) + "\n" for i, key in enumerate(ZEEK_OUTCOMES)), encoding="utf-8")
    _, rows = read("zeek_conn", path)
    assert {(r["network.transport"], r["network.state"].upper()): r["flow.outcome"] for r in rows} == ZEEK_OUTCOMES


def test_zeek_icmp_has_a_type_and_no_ports(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text(
        ZEEK
        + zeek("C1", "icmp", "OTH", op="8", rp="0")
        + "\n"
        + zeek("C2", "icmp", "OTH", op="128", rp="0", oh="fd00:10::1", rh="fd00:30::1")
        + "\n",
        encoding="utf-8",
    )
    _, rows = read("zeek_conn", path)
    assert [(r["network.transport"], r["icmp.type"], r["source.port"], r["destination.port"]) for r in rows] == [
        ("icmp", 8, None, None), ("ipv6-icmp", 128, None, None)]


def test_a_zeek_folder_with_other_logs_and_other_columns(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(ZEEK + zeek("C1") + "\ntoo\tshort\n", encoding="utf-8")
    narrow = "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n"
    (tmp_path / "conn.11:00:00.log.gz").write_bytes(gzip.compress(
        (narrow + "1768471300.0\tC2\t10.10.0.1\t1\t10.30.0.1\t2\ttcp\tSF\n").encode()))
    (tmp_path / "dns.log").write_text("#fields\tts\tuid\tquery\n1.0\tD1\texample.org\n", encoding="utf-8")
    report, rows = read("zeek_conn", tmp_path)
    assert [r["event.id"] for r in rows] == ["C1", "C2"]
    assert sorted((Path(p.file).name, p.line, p.damage) for p in report.places) == [
        ("conn.log", 9, "ragged"), ("dns.log", 0, "other-log")]


TURNED: Mapping[str, tuple[dict[str, Any], bool]] = {
    "service port on the initiator's side": ({"src_port": 445, "dest_port": 56575, "tcp__tcp_flags_ts": "00"}, True),
    "the same, but the SYN was seen": ({"src_port": 445, "dest_port": 56575}, False),
    "two ephemeral ports": ({"src_port": 50000, "dest_port": 56575, "tcp__tcp_flags_ts": "00"}, False),
    "two service ports": ({"src_port": 445, "dest_port": 139, "tcp__tcp_flags_ts": "00"}, False),
    "a DNS answer": ({"src_port": 53, "dest_port": 56575, "proto": "UDP", "tcp": None}, True)}


@pytest.mark.parametrize("case", TURNED)
def test_inverted_flows_are_turned_round_on_evidence(case: str, tmp_path: Path) -> None:
    changes, turned = TURNED[case]
    report, (row,) = read_eve(tmp_path, eve(1, **changes))
    assert row["flow.reversed"] is turned and report.repaired == ({"reversed": 1} if turned else {})
    ends = (row["source number"] & 0xFFFFFFFF, row["source.port"], row["source.bytes"], row["source.zone"])
    straight = (0x0A0A0001, changes["src_port"], 432, "workstations")
    assert ends == ((0x0A1E0001, changes["dest_port"], 277, "servers") if turned else straight)


EVE_OUTCOMES: Mapping[str, tuple[dict[str, Any], str]] = {
    "answered": ({}, "established"),
    "a SYN and nothing else": (
        {"flow__pkts_toclient": 0, "tcp__tcp_flags_ts": "02", "tcp__tcp_flags_tc": "00"},
        "failed",
    ),
    "refused with RST": ({"tcp__tcp_flags_ts": "02", "tcp__tcp_flags_tc": "14"}, "failed"),
    "reset after it was open": ({"tcp__tcp_flags_ts": "1a", "tcp__tcp_flags_tc": "1e"}, "established"),
    "only the client's side seen": (
        {"flow__pkts_toclient": 0, "tcp__tcp_flags_ts": "1b", "tcp__tcp_flags_tc": "00"},
        "established",
    ),
    "picked up in the middle, one-sided": (
        {"flow__pkts_toclient": 0, "tcp__tcp_flags_ts": "00", "src_port": 50000},
        "unknown",
    ),
    "UDP without an answer": ({"proto": "UDP", "tcp": None, "flow__pkts_toclient": 0}, "failed"),
    "UDP with an answer": ({"proto": "UDP", "tcp": None}, "established"),
}


@pytest.mark.parametrize("case", EVE_OUTCOMES)
def test_suricata_outcomes(case: str, tmp_path: Path) -> None:
    changes, outcome = EVE_OUTCOMES[case]
    assert read_eve(tmp_path, eve(1, **changes))[1][0]["flow.outcome"] == outcome


SCOPES = {
    ("10.10.0.1", "10.30.0.1"): "internal",
    ("10.10.0.1", "8.8.8.8"): "outbound",
    ("8.8.8.8", "10.30.0.1"): "inbound",
    ("8.8.8.8", "9.9.9.9"): "external",
    ("10.10.0.1", "224.0.0.251"): "outbound",
    ("10.10.0.1", "203.0.113.9"): "internal",
    ("fd00:10::1", "fd00:30::1"): "internal",
    ("fd00:10::1", "ff02::1"): "outbound",
}


def test_scope_follows_the_context(tmp_path: Path) -> None:
    _, rows = read_eve(tmp_path, *(eve(i, src_ip=s, dest_ip=d) for i, (s, d) in enumerate(SCOPES)))
    assert [r["network.scope"] for r in rows] == list(SCOPES.values())


def test_a_cross_is_between_two_known_values(tmp_path: Path) -> None:
    world = network(
        "name: two\nnetworks:\n  - {cidr: 10.10.0.0/16, zone: a, env: prod}\n  - {cidr: 10.30.0.0/16, zone: b}\n"
    )
    path = tmp_path / "eve.json"
    path.write_text(lines([eve(1), eve(2, dest_ip="10.99.0.1")]), encoding="utf-8")
    with Engine(fields(), orientation()) as engine:
        engine.read(source("suricata_eve"), [str(path)], world, fields())
        rows = engine._db.execute(
            'SELECT "network.cross_zone", "network.cross_env" FROM flow ORDER BY "event.id"'
        ).fetchall()
    assert rows == [(True, False), (False, False)]


def test_a_port_that_is_also_read_as_text_makes_what_stands_beside_it_text(tmp_path: Path) -> None:
    """`sp` is a number for one field and a text for another; it is taken in turn with `src_port`, which is a number."""
    told = source("netflow")
    told = replace(told, fields={**told.fields, "event.id": FieldSpec(joined=("sp", "dp"))})
    assert not natural_types(told, fields()).keys() & {"sp", "src_port", "dp", "dst_port"}
    path = tmp_path / "flows.json"
    path.write_text(json.dumps([{"first": START[:26], "src4_addr": "10.0.0.1", "src_port": 40000, "proto": 6,
                                 "dst4_addr": "10.0.0.2", "dst_port": 445}]))
    with Engine(fields(), orientation()) as engine:
        engine.read(told, [str(path)], office(), fields())
        assert [flow["source.port"] for flow in engine.flows()] == [40000]

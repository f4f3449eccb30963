"""Log lines, documents and tables of other people's making: damaged, mixed, dated badly. Nothing is lost in silence.

The fuzz takes every source's sample, damages it at random and demands that each line is accounted for. Ten rounds a
source here; EWDETECT_FUZZ=500 makes it as many as one has time for.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ewdetect.engine import Engine, ReadReport
from ewdetect.flows import Source
from ewdetect.flows.files import Container, FlowFile, inspect, lines_within
from ewdetect.flows.lines import split_lines
from ewdetect.problems import Rejected
from tests.samples import samples
from tests.world import ROOT, fields, network, orientation, source

MAPPINGS = ROOT / "mappings"
EMPTY = "name: n\nnetworks: []\n"
ROUNDS = int(os.environ.get("EWDETECT_FUZZ", "10"))


def read(name: str, path: Path, until: int | None = None) -> tuple[ReadReport, list[dict[str, Any]]]:
    with Engine(fields(), orientation()) as engine:
        report = engine.read(source(name), [str(path)], network(EMPTY), fields(), until)
        assert report.read == report.kept + report.joined + report.passed + sum(report.dropped.values())
        return report, engine.flows()


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def asa(stamp: str, number: int = 1) -> str:
    deny = f"Deny tcp src o:10.0.0.1/{number} dst i:10.0.0.2/22"
    return f'<164>{stamp} fw-01 : %ASA-4-106023: {deny} by access-group "x"\n'


def year_and_day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d")


JANUARY_2 = 1_767_312_000_000_000       # 2026-01-02


@pytest.mark.parametrize(("stamp", "day"), [
    ("Dec 31 23:59:59", "2025-12-31"), ("Jan  1 00:00:00", "2026-01-01"), ("Jan  2 12:00:00", "2026-01-02"),
    ("Jan  4 00:00:00", "2025-01-04"), ("Feb 29 10:00:00", "2025-02-28")])
def test_a_time_without_a_year_is_the_last_one_before_the_end(tmp_path: Path, stamp: str, day: str) -> None:
    report, [flow] = read("cisco_asa", written(tmp_path / "a.log", asa(stamp)), JANUARY_2)
    assert year_and_day(flow["event.start"]) == day and report.repaired == {"year": 1}


def test_other_lines_tell_the_year(tmp_path: Path) -> None:
    text = asa("Dec 31 23:59:59", 1) + asa("Jan  1 00:00:01", 2) + asa("Jan 01 2020 00:00:02", 3)
    _, flows = read("cisco_asa", written(tmp_path / "a.log", text))
    assert [year_and_day(f["event.start"]) for f in flows] == ["2019-12-31", "2020-01-01", "2020-01-01"]


def test_the_date_of_the_file_tells_the_year(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", asa("Dec 31 23:59:59"))
    os.utime(path, (1_577_923_200, 1_577_923_200))      # 2020-01-02
    assert year_and_day(read("cisco_asa", path)[1][0]["event.start"]) == "2019-12-31"


def test_clocks_may_jump(tmp_path: Path) -> None:
    text = "".join(asa(f"Jan 15 {year} 10:00:00", n) for n, year in enumerate((2026, 2005, 2038)))
    assert [year_and_day(f["event.start"])[:4] for f in read("cisco_asa", written(tmp_path / "a.log", text))[1]] == [
        "2005", "2026", "2038"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["cisco_asa", "fortinet_fortigate", "palo_alto", "aws_vpc_flow", "netflow",
                                  "sysmon_3"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, name: str, begin: str, end: str) -> None:
    sample = next(raw for n, raw in samples() if n == name).read_text()
    changed = written(tmp_path / "a.log", begin + sample.replace("\n", end))
    plain = written(tmp_path / "b.log", sample)
    until = JANUARY_2 + 20 * 86_400_000_000
    assert read(name, changed, until)[1] == read(name, plain, until)[1]


def test_bytes_that_are_no_text_spoil_no_other_line(tmp_path: Path) -> None:
    bad = asa("Jan 15 2026 10:00:00").encode().replace(b"fw-01", b"fw-\xff\xfe")
    report, flows = read("cisco_asa", written(tmp_path / "a.log", asa("Jan 15 2026 10:00:01", 2).encode() + bad))
    assert (report.kept, len(flows)) == (2, 2)


def test_a_line_of_a_megabyte(tmp_path: Path) -> None:
    long = asa("Jan 15 2026 10:00:00").rstrip() + "x" * 1_000_000 + "\n" + "y" * 1_000_000 + "\n"
    report, _ = read("cisco_asa", written(tmp_path / "a.log", long + asa("Jan 15 2026 10:00:01", 2)))
    assert (report.kept, report.passed) == (2, 1)


@pytest.mark.parametrize("length", [5_000_000, 70_000_000])
@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_beyond_every_buffer_is_counted(tmp_path: Path, place: int, gzipped: bool, length: int) -> None:
    """DuckDB's reader leaves out a line longer than its buffer of 32 MB, and says nothing."""
    lines = [asa("Jan 15 2026 10:00:00"), asa("Jan 15 2026 10:00:01", 2)]
    lines.insert(place, "z" * length + "\n")
    text = "".join(lines).encode()
    report, flows = read("cisco_asa", written(tmp_path / "a.log", gzip.compress(text, 1) if gzipped else text))
    assert len(flows) == 2 and (report.read, report.passed) == (3, 1)


@pytest.mark.parametrize("name", ["suricata_eve", "azure_flow"])
def test_a_record_beyond_every_buffer_is_counted(tmp_path: Path, name: str) -> None:
    good = (MAPPINGS / name / "sample.jsonl").read_text().splitlines(keepends=True)[0]
    alone, _ = read(name, written(tmp_path / "b.jsonl", good))
    long = json.dumps({"pad": "z" * 70_000_000}) + "\n"
    report, _ = read(name, written(tmp_path / "a.jsonl", good + long))
    assert (report.read, report.kept) == (alone.read + 1, alone.kept)


def test_a_list_of_records_on_one_line_may_be_long(tmp_path: Path) -> None:
    lines = (MAPPINGS / "sysmon_3" / "sample.jsonl").read_text().splitlines()
    record = next(line for line in lines if json.loads(line).get("EventID") == 3)
    count = 6_000_000 // len(record)
    report, _ = read("sysmon_3", written(tmp_path / "a.json", f"[{', '.join([record] * count)}]"))
    assert report.read == count and report.kept + report.joined == count


@given(lengths=st.lists(st.integers(0, 3 << 20), max_size=6), size=st.integers(1 << 20, 3 << 20), ended=st.booleans(),
       gzipped=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_longest_line_is_known(tmp_path: Path, lengths: list[int], size: int, ended: bool, gzipped: bool) -> None:
    text = b"\n".join(b"x" * n for n in lengths) + (b"\n" if ended else b"") or b"x"
    path = written(tmp_path / "a", gzip.compress(text, 1) if gzipped else text)
    file = FlowFile(str(path), "a", Container.CSV, gzipped)
    assert lines_within(file, size) is all(n <= size for n in lengths)


def test_records_of_many_megabytes_are_read_whole_on_every_core(tmp_path: Path) -> None:
    """They end in the midst of a reader's buffer, and so do the short ones between them."""
    def record(number: int, padding: int) -> str:
        tuples = [f"{1_768_471_200 + number},10.0.0.1,10.0.0.2,{50_000 + number},445,T,O,A,B,,,,"]
        return json.dumps({"pad": "x" * padding, "properties": {"flows": [{"flows": [{"flowTuples": tuples}]}]}}) + "\n"

    sizes = [4_000_000 if number % 10 == 7 else 1_000 for number in range(120)]
    lines = "".join(record(number, size) for number, size in enumerate(sizes))
    report, flows = read("azure_flow", written(tmp_path / "a.jsonl", lines))
    assert report.read == 120 and {f["source.port"] for f in flows} == set(range(50_000, 50_120))


HEAD = ("version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
        "log-status")
AWS = "eni-1 10.0.0.1 10.0.0.2 50000 445 6 5 500 1768471200 1768471230 ACCEPT OK"


def test_what_reads_lines_faster_reads_nothing_else(tmp_path: Path) -> None:
    """With `quoted` and `begin`, lines of every damage give the values that they give without."""
    random_ = random.Random(7)
    sample = [line for line in (MAPPINGS / "juniper_srx/sample.log").read_text().splitlines() if "RT_FLOW" in line]
    lines = [*sample, *(spoilt(random_.choice(sample), random_) for _ in range(4000))]
    fast = source("juniper_srx")
    assert fast.lines and fast.lines.pairs and fast.lines.pairs.quoted
    slow = replace(fast, lines=replace(
        fast.lines, pairs=replace(fast.lines.pairs, quoted=False),
        patterns=tuple(replace(p, begin="") for p in fast.lines.patterns)))
    with duckdb.connect() as db:
        db.execute("CREATE TABLE raw AS SELECT unnest($1) AS l, unnest(range($2)) AS line", [lines, len(lines)])
        found = [db.execute(f"{split_lines(each, each.lines, 'FROM raw', (), ('line',))} ORDER BY line").fetchall()
                 for each in (fast, slow) if each.lines]
    assert [row for row in zip(lines, *found, strict=True) if row[1] != row[2]] == []


QUOTED = re.compile(r'("(?:[^"]|"")*"|[^,]*),')


@given(rests=st.lists(st.text(alphabet='",ab ', max_size=20), min_size=1, max_size=30))
def test_a_quoted_value_may_hold_commas(rests: list[str]) -> None:
    """A line is split as if it were searched for quoted values from its beginning to its end."""
    named = ("src", "dst", "app", "proto", "sport", "dport")
    whole = source("palo_alto")
    assert whole.lines and whole.lines.columns
    lines = replace(whole.lines, columns=replace(whole.lines.columns, names=named, least=0))
    with duckdb.connect() as db:
        raw = [f",2026/01/15 10:00:00,01,TRAFFIC,{rest}" for rest in rests]
        db.execute("CREATE TABLE raw AS SELECT unnest($1) AS l, unnest(range($2)) AS line", [raw, len(raw)])
        split = split_lines(whole, lines, "FROM raw", (), ("line",))
        found = db.execute(f"SELECT {', '.join(named)} FROM ({split}) ORDER BY line").fetchall()
    for rest, row in zip(rests, found, strict=True):
        values = [v.strip('"').strip(" ") or None for v in QUOTED.findall(f"{rest},")]
        assert list(row) == [*values, *[None] * len(named)][:len(named)], rest


def spoilt(line: str, random_: random.Random) -> str:
    """The line with a few characters taken out, or put in, of those that mean something."""
    for _ in range(random_.randrange(1, 4)):
        place = random_.randrange(line.find("RT_FLOW"), len(line))
        line = line[:place] + random_.choice(("", "", '"', "=", " ", "]", 'a="', '" b=', " source-port=9")) + line[
            place + random_.randrange(2):]
    return line


def test_fields_come_in_the_order_that_the_header_names(tmp_path: Path) -> None:
    text = ("action dstport srcport start end protocol pkt-dstaddr dstaddr srcaddr bytes\n"
            "ACCEPT 445 50000 1768471200 1768471230 6 10.9.9.9 10.0.0.2 10.0.0.1 77\n")
    [flow] = read("aws_vpc_flow", written(tmp_path / "a.log", text))[1]
    assert (flow["source.ip"], flow["destination.port"], flow["source.bytes"]) == ("10.0.0.1", 445, 77)
    assert flow["destination.nat.ip"] == "10.9.9.9"


def test_a_header_that_changes_halfway_is_refused_with_its_line(tmp_path: Path) -> None:
    row = f"2 1 {AWS}"
    text = "\n".join([HEAD, row, HEAD, row, HEAD.replace("srcaddr dstaddr", "dstaddr srcaddr"), row]) + "\n"
    with pytest.raises(Rejected) as refused:
        read("aws_vpc_flow", written(tmp_path / "a.log", text))
    [problem] = refused.value.problems
    assert problem.code == "flows/changed-header" and problem.location and problem.location.line == 5


def test_a_header_that_is_repeated_is_no_record(tmp_path: Path) -> None:
    report, _ = read("aws_vpc_flow", written(tmp_path / "a.log", "\n".join([HEAD, f"2 1 {AWS}", HEAD]) + "\n"))
    assert (report.read, report.kept) == (1, 1)


def parquet(path: Path, row: str) -> Path:
    duckdb.execute(f"COPY (SELECT {row}) TO '{path}' (FORMAT parquet)")
    return path


def test_parquet_with_the_sources_own_columns(tmp_path: Path) -> None:
    row = """5 AS version, 'eni-1' AS interface_id, '10.0.0.1' AS srcaddr, '10.0.0.2' AS dstaddr, 50000 AS srcport,
             445 AS dstport, 6 AS protocol, 5::BIGINT AS packets, 500::BIGINT AS bytes, 1768471200::BIGINT AS start,
             1768471230::BIGINT AS "end", 'ACCEPT' AS action, 'OK' AS log_status, 2 AS tcp_flags"""
    [flow] = read("aws_vpc_flow", parquet(tmp_path / "a.parquet", row))[1]
    assert (flow["flow.outcome"], flow["source.bytes"], flow["observer.name"]) == ("failed", 500, "eni-1")


@pytest.mark.parametrize("laid_out", [False, True])
def test_words_that_mean_missing_do_so_in_json_too(tmp_path: Path, laid_out: bool) -> None:
    record = {"start_time": "2026-01-15T10:00:00Z", "response_code": 400, "response_flags": "-", "duration": "-",
              "request_id": "-", "upstream_host": "-", "downstream_local_address": "10.0.0.2:8080",
              "downstream_remote_address": "10.0.0.1:50000", "bytes_sent": 11}
    text = json.dumps([record], indent=1) if laid_out else json.dumps(record)
    report, [flow] = read("istio_access", written(tmp_path / "a.json", text + "\n"))
    assert (flow["destination.ip"], flow["destination.port"]) == ("10.0.0.2", 8080)
    assert not {"event.duration", "network.state"} & flow.keys() and not report.places


def test_words_that_mean_missing_do_so_in_parquet_too(tmp_path: Path) -> None:
    row = """'10.0.0.1' AS srcaddr, '10.0.0.2' AS dstaddr, '-' AS pkt_srcaddr, '10.9.9.9' AS pkt_dstaddr, 6 AS protocol,
             50000 AS srcport, 445 AS dstport, 1768471200::BIGINT AS start, 1768471230::BIGINT AS "end" """
    [flow] = read("aws_vpc_flow", parquet(tmp_path / "a.parquet", row))[1]
    assert "source.nat.ip" not in flow and flow["destination.nat.ip"] == "10.9.9.9"


def test_words_that_mean_missing_do_so_in_records_of_many_flows_too(tmp_path: Path) -> None:
    telemetry = replace(source("openshift_netobserv"), unset=("-",))
    flow = {"SrcAddr": "10.0.0.1", "DstAddr": "10.0.0.2", "SrcK8S_Namespace": "-", "DstK8S_Namespace": "shop",
            "Etype": 2048, "Proto": 6, "SrcPort": 50000, "DstPort": 8080, "TimeFlowStartMs": 1768471200000}
    path = written(tmp_path / "a.jsonl", json.dumps(flow) + "\n")
    with Engine(fields(), orientation()) as engine:
        engine.read(telemetry, [str(path)], network(EMPTY), fields())
        [found] = engine.flows()
    assert found["destination.namespace"] == "shop" and "source.namespace" not in found


def test_nested_parquet(tmp_path: Path) -> None:
    row = """4001 AS class_uid, 2 AS activity_id, 1768471200000::BIGINT AS start_time,
             {'ip': '10.0.0.1', 'port': 50000} AS src_endpoint, {'ip': '10.0.0.2', 'port': 445} AS dst_endpoint,
             {'protocol_num': 6} AS connection_info, {'bytes_out': 7, 'bytes_in': 9, 'packets_in': 1} AS traffic"""
    [flow] = read("ocsf_4001", parquet(tmp_path / "a.parquet", row))[1]
    assert (flow["destination.port"], flow["destination.bytes"], flow["flow.outcome"]) == (445, 9, "established")


def test_a_list_of_records_is_read_like_lines(tmp_path: Path) -> None:
    """What `gcloud logging read --format json` prints; with damage inside the whole document cannot be read."""
    records = [json.loads(line) for line in (MAPPINGS / "gcp_vpc_flow" / "sample.jsonl").read_text().splitlines()[:11]]
    lined = read("gcp_vpc_flow", written(tmp_path / "a.json", "".join(json.dumps(r) + "\n" for r in records)))[1]
    listed = written(tmp_path / "b.json", json.dumps(records, indent=2))
    assert read("gcp_vpc_flow", listed)[1] == lined
    with pytest.raises(Rejected):
        read("gcp_vpc_flow", written(tmp_path / "c.json", json.dumps(records, indent=2)[:-50]))


def test_a_document_of_many_flows_may_be_laid_out_and_packed(tmp_path: Path) -> None:
    record = json.loads((MAPPINGS / "azure_flow" / "sample.jsonl").read_text().splitlines()[0])
    lined = read("azure_flow", written(tmp_path / "a.json", json.dumps({"records": [record]}) + "\n"))[1]
    packed = tmp_path / "PT1H.json.gz"
    packed.write_bytes(gzip.compress(json.dumps({"records": [record]}, indent=1).encode()))
    assert len(lined) == 4 and read("azure_flow", packed)[1] == lined


def test_a_damaged_flow_inside_a_record_spoils_no_other(tmp_path: Path) -> None:
    """What Loki stores is JSON as text inside JSON, and each of the two may be damaged by itself."""
    good = {"SrcAddr": "10.0.0.1", "DstAddr": "10.0.0.2", "SrcPort": 50000, "DstPort": 445, "Proto": 6, "Etype": 2048,
            "TimeFlowStartMs": 1_768_471_200_000, "TimeFlowEndMs": 1_768_471_201_000}
    values = [["1", json.dumps(good)], ["2", json.dumps(good)[20:]], ["3", "7"]]
    record = {"data": {"result": [{"stream": {}, "values": values}]}}
    report, flows = read("openshift_netobserv", written(tmp_path / "a.jsonl", json.dumps(record) + "\n"))
    assert len(flows) == 1 and report.dropped == {"unreadable": 2}


def test_fields_missing_and_an_unknown_version(tmp_path: Path) -> None:
    lines = (MAPPINGS / "palo_alto" / "sample.log").read_text().splitlines(keepends=True)
    shorter = lines[1].rpartition(",15,tcp-fin")[0] + "\n"
    longer = lines[1].rstrip() + ",new,columns,of,a,later,version\n"
    report, [flow] = read("palo_alto", written(tmp_path / "a.log", shorter + longer))
    assert report.dropped == {"ragged": 1} and flow["source.bytes"] == 2400


@pytest.mark.parametrize(("name", "line"), [
    ("check_point", "<134>1 2026-01-15T10:00:00Z a cp: time=1768471200|product=Firewall|src=10.0.0.1|dst=10.0.0.2|"
                    "service=22|proto=6|elapsed=%s|"),
    ("zeek_conn", '{"_path":"conn","ts":1768471200.0,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":50000,'
                  '"id.resp_h":"10.0.0.2","id.resp_p":22,"proto":"tcp","conn_state":"SF","duration":%s}'),
    ("openshift_netobserv", '{"SrcAddr":"10.0.0.1","DstAddr":"10.0.0.2","SrcPort":50000,"DstPort":22,"Proto":6,'
                            '"Etype":2048,"TimeFlowStartMs":1768471200000,"TimeFlowEndMs":%s}'),
])
@pytest.mark.parametrize("number", ["1e40", "9" * 15, "-" + "9" * 15, "4102444801"])
def test_no_connection_lasts_for_ever(tmp_path: Path, name: str, line: str, number: str) -> None:
    """Such a number is damage; as microseconds it would not even fit, and end the reading."""
    _, [flow] = read(name, written(tmp_path / "a.log", line % number + "\n"))
    assert flow["event.start"] == 1768471200_000_000
    assert flow.get("event.duration") in (None, 0)


# Where the pairs of a line are, and what is one of them.
PAIRS = [
    ("cisco_ftd", r"(?<=-43000[23]: ).*", r"[^ ,]+: (?:(?!, ).)*"),
    ("check_point", r"(?<=\|).*", r"[^|=]+=[^|]*"),
    ("check_point", r"(?<= - \[)(?=action:).*(?=\])", r'\w+:"[^"]*"'),
    ("check_point", r"(?<=@2620 ).*(?=\])", r'\w+="[^"]*"'),
    ("fortinet_fortigate", r"(?<=>).*", r'\w+=(?:"[^"]*"|[^ ]*)'),
    ("juniper_srx", r"(?<=\.26 ).*(?=\])", r'[^ =]+="[^"]*"'),
]


@pytest.mark.parametrize(("name", "where", "pair"), PAIRS)
def test_keys_may_come_in_another_order(tmp_path: Path, name: str, where: str, pair: str) -> None:
    raw = MAPPINGS / name / "sample.log"
    damaged_lines = {place.line for place in read(name, raw)[0].places}
    lines = [line for number, line in enumerate(raw.read_text().splitlines(), 1)
             if number not in damaged_lines and re.search(where, line)]
    path = tmp_path / "flows.log"
    as_written = read(name, written(path, "\n".join(lines)))
    assert as_written[0].kept > 0
    for turn in (1, 2, 3, 7):
        turned = [rotated(line, where, pair, turn) for line in lines]
        assert read(name, written(path, "\n".join(turned))) == as_written, turn


def rotated(line: str, where: str, pair: str, turn: int) -> str:
    """The pairs of a line moved `turn` places to the front, what stands between them left where it is."""
    found = re.search(where, line)
    assert found
    pairs = re.findall(pair, found[0])
    first = turn % len(pairs)
    moved = iter(pairs[first:] + pairs[:first])
    return line[:found.start()] + re.sub(pair, lambda _: next(moved), found[0]) + line[found.end():]


SPOILERS = (b'"', b"\\", b"\x00", b"\xff", b"{", b"[", b",", b"'", b"\t", b"=", b"9" * 40)


def damaged(text: bytes, chance: random.Random) -> bytes:
    """One to six edits: bytes changed, cut out, doubled; lines exchanged."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at:at + chance.randint(1, 40)]
            case 2:
                data[at:at] = data[at:at + chance.randint(1, 80)]
            case 3:
                data[at:at] = chance.choice(SPOILERS)
            case _:
                lines = bytes(data).split(b"\n")
                chance.shuffle(lines)
                data = bytearray(b"\n".join(lines))
    return bytes(data)


@pytest.mark.parametrize(("name", "raw"), list(samples()))
def test_damage_is_counted_and_never_lost(tmp_path: Path, name: str, raw: Path) -> None:
    """No crash, and for formats of lines as many records as lines that are not blank."""
    for number in range(ROUNDS):
        path = written(tmp_path / f"{number}.log", damaged(raw.read_bytes(), random.Random(number)))
        try:
            report, _ = read(name, path)
        except Rejected as rejected:
            codes = {p.code for p in rejected.problems}
        else:
            codes = set()
        assert codes <= {"flows/wrong-source", "flows/changed-header"}
        if not codes and is_of_lines(source(name), path):
            # Text may end its lines with a carriage return alone; in a line of JSON that is damage.
            is_json = inspect(str(path), "", source(name)).container is Container.NDJSON
            ended = path.read_bytes().replace(b"\r", b"" if is_json else b"\n")
            assert report.read == len([line for line in ended.split(b"\n") if line.strip(b"\t ")]), number


def is_of_lines(telemetry: Source, path: Path) -> bool:
    """Whether a line is a record: no header, no record of many flows, no document."""
    columns = telemetry.lines.columns if telemetry.lines else None
    headed = columns is not None and bool(columns.header)
    kind = inspect(str(path), "", telemetry).container
    return not telemetry.unfold and not headed and kind in (Container.NDJSON, Container.CSV)


def test_a_line_that_was_cut_off_inside_an_address_is_no_record(tmp_path: Path) -> None:
    whole = ('<134>1 2026-01-15T10:00:20Z gw CheckPoint 1 - [action:"Drop"; loguid:"{0x1}"; time:"1768471220"; '
             'dst:"10.0.0.2"; product:"VPN-1 & FireWall-1"; proto:"6"; s_port:"50000"; service:"22"; src:"10.0.0.17"]')
    report, flows = read("check_point", written(tmp_path / "flows.log", f"{whole} \r\n{whole[:-3]}\n"))
    assert [flow["source.ip"] for flow in flows] == ["10.0.0.17"]
    assert dict(report.dropped) == {"unreadable": 1}

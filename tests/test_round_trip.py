"""Canonical flows, written as raw records of a source and read again, are the same, as far as the source can tell.

Each writer says what its source cannot: the fields that it has not, the coarseness of its clock, and outcomes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ewdetect.engine import Engine
from tests.netflow_shapes import elastic, stream
from tests.world import DAY, fields, network, orientation, source

FIELDS = ("event.start", "event.duration", "source.ip", "source.port", "source.bytes", "source.packets",
          "destination.ip", "destination.port", "destination.bytes", "destination.packets", "network.transport",
          "flow.outcome")
NUMBERS = {"tcp": 6, "udp": 17}
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Talk:
    """A connection; times in microseconds. An unanswered one has nothing from the responder."""

    client: str
    server: str
    sport: int
    dport: int
    transport: str
    start: int
    lasts: int
    sent: tuple[int, int]           # bytes, packets
    back: tuple[int, int]

    @property
    def answered(self) -> bool:
        return self.back[1] > 0

    @property
    def end(self) -> int:
        return self.start + self.lasts

    def canonical(self) -> Record:
        outcome = "established" if self.answered else "failed"
        values = (self.start, self.lasts / 1e6, self.client, self.sport, *self.sent, self.server, self.dport,
                  *self.back, self.transport, outcome)
        return dict(zip(FIELDS, values, strict=True))


def iso(microseconds: int, zone: str = "Z") -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + zone


def ways(talk: Talk) -> Iterator[tuple[str, int, str, int, tuple[int, int], bool]]:
    """Source, its port, destination, its port, counters, and whether it is the answer: for one-way records."""
    yield talk.client, talk.sport, talk.server, talk.dport, talk.sent, False
    if talk.answered:
        yield talk.server, talk.dport, talk.client, talk.sport, talk.back, True


def flow(talk: Talk) -> list[Record]:
    return [talk.canonical() | {"event.start": iso(talk.start)}]


def zeek(talk: Talk) -> list[Record]:
    return [{"ts": talk.start / 1e6, "duration": talk.lasts / 1e6, "id.orig_h": talk.client, "id.orig_p": talk.sport,
             "id.resp_h": talk.server, "id.resp_p": talk.dport, "proto": talk.transport,
             "conn_state": "SF" if talk.answered else "S0", "history": "ShADadFf" if talk.answered else "S",
             "orig_ip_bytes": talk.sent[0], "orig_pkts": talk.sent[1], "resp_ip_bytes": talk.back[0],
             "resp_pkts": talk.back[1]}]


def suricata(talk: Talk) -> list[Record]:
    flags = {"tcp_flags_ts": "1b" if talk.answered else "02", "tcp_flags_tc": "1b" if talk.answered else "00"}
    counted = {"bytes_toserver": talk.sent[0], "pkts_toserver": talk.sent[1], "bytes_toclient": talk.back[0],
               "pkts_toclient": talk.back[1], "start": iso(talk.start, "+0000"), "end": iso(talk.end, "+0000")}
    return [{"event_type": "flow", "src_ip": talk.client, "src_port": talk.sport, "dest_ip": talk.server,
             "dest_port": talk.dport, "proto": talk.transport.upper(), "flow": counted,
             **({"tcp": flags} if talk.transport == "tcp" else {})}]


def nfdump(talk: Talk) -> list[Record]:
    family = 6 if ":" in talk.client else 4
    spelt = ("...AP.SF" if talk.answered else "......S.") if talk.transport == "tcp" else "........"
    return [{"type": "FLOW", "first": iso(talk.start, "")[:-3], "last": iso(talk.end, "")[:-3],
             f"src{family}_addr": src, "src_port": sport, f"dst{family}_addr": dst, "dst_port": dport,
             "proto": NUMBERS[talk.transport], "tcp_flags": spelt, "in_bytes": counted[0], "in_packets": counted[1]}
            for src, sport, dst, dport, counted, _ in ways(talk)]


def netflow_elastic(talk: Talk) -> list[Record]:
    return [elastic(record) for record in nfdump(talk)]


def netflow_stream(talk: Talk) -> list[Record]:
    return [stream(record) for record in nfdump(talk)]


def aws(talk: Talk) -> list[Record]:
    return [{"srcaddr": src, "dstaddr": dst, "srcport": sport, "dstport": dport, "protocol": NUMBERS[talk.transport],
             "bytes": counted[0], "packets": counted[1], "start": talk.start // 1_000_000, "end": talk.end // 1_000_000,
             "action": "ACCEPT", "log-status": "OK",
             "tcp-flags": 0 if talk.transport == "udp" else 18 if answer else 2}
            for src, sport, dst, dport, counted, answer in ways(talk)]


def gcp(talk: Talk) -> list[Record]:
    measured = {"rtt_msec": "1"} if talk.answered and talk.transport == "tcp" else {}
    return [{"insertId": f"{src}/{sport}/{dport}", "jsonPayload": {
        "connection": {"src_ip": src, "src_port": sport, "dest_ip": dst, "dest_port": dport,
                       "protocol": NUMBERS[talk.transport]},
        "bytes_sent": str(counted[0]), "packets_sent": str(counted[1]), "start_time": iso(talk.start),
        "end_time": iso(talk.end), "reporter": "SRC", **measured}} for src, sport, dst, dport, counted, _ in ways(talk)]


def ocsf(talk: Talk) -> list[Record]:
    return [{"class_uid": 4001, "activity_id": 2 if talk.answered else 4, "start_time": talk.start // 1000,
             "end_time": talk.end // 1000, "src_endpoint": {"ip": talk.client, "port": talk.sport},
             "dst_endpoint": {"ip": talk.server, "port": talk.dport},
             "connection_info": {"protocol_num": NUMBERS[talk.transport]},
             "traffic": {"bytes_out": talk.sent[0], "packets_out": talk.sent[1], "bytes_in": talk.back[0],
                         "packets_in": talk.back[1]}}]


def lines(records: list[Record]) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def document(records: list[Record]) -> str:
    return json.dumps(records, indent=1)


def table(records: list[Record]) -> str:
    return "\n".join(" ".join(map(str, row)) for row in [list(records[0]), *(r.values() for r in records)]) + "\n"


@dataclass(frozen=True, slots=True)
class Writer:
    """`tick` is the source's clock in microseconds. `unsure` are transports whose silence is no failure to it.

    One-way records say nothing of a side that did not speak, so its counters are missing.
    """

    raw: Callable[[Talk], list[Record]]
    text: Callable[[list[Record]], str] = lines
    tick: int = 1
    one_way: bool = False
    unsure: tuple[str, ...] = ()

    def expected(self, talk: Talk) -> Record:
        told = talk.canonical()
        if not talk.answered and talk.transport in self.unsure:
            told["flow.outcome"] = "unknown"
        silent = ("destination.bytes", "destination.packets") if self.one_way and not talk.answered else ()
        return {f: v for f, v in told.items() if f not in silent}


WRITERS = {
    "flow": Writer(flow),
    "zeek_conn": Writer(zeek),
    "suricata_eve": Writer(suricata),
    "netflow": Writer(nfdump, document, tick=1_000, one_way=True, unsure=("udp",)),
    "netflow_elastic": Writer(netflow_elastic, tick=1_000, one_way=True, unsure=("udp",)),
    "netflow_stream": Writer(netflow_stream, tick=1_000, one_way=True, unsure=("udp",)),
    "aws_vpc_flow": Writer(aws, table, tick=1_000_000, one_way=True, unsure=("udp",)),
    "gcp_vpc_flow": Writer(gcp, one_way=True, unsure=("tcp", "udp")),
    "ocsf_4001": Writer(ocsf, tick=1_000),
}
HOSTS = [f"10.10.0.{n}" for n in range(1, 5)], [f"fd00:10::{n}" for n in range(1, 5)]
COUNTED = st.tuples(st.integers(40, 2**40), st.integers(1, 3))


@st.composite
def talks(draw: st.DrawFn, tick: int) -> Talk:
    family = st.sampled_from(draw(st.sampled_from(HOSTS)))
    client, server = draw(st.lists(family, min_size=2, max_size=2, unique=True))
    ports = draw(st.integers(49_152, 65_535)), draw(st.sampled_from([22, 53, 445, 3389]))
    start, lasts = (tick * draw(st.integers(0, most // tick)) for most in (86_400_000_000, 200_000_000))
    return Talk(client, server, *ports, draw(st.sampled_from(["tcp", "udp"])), DAY + start, lasts, draw(COUNTED),
                draw(st.one_of(COUNTED, st.just((0, 0)))))


def ends(record: Record) -> tuple[Any, ...]:
    return tuple(record[f] for f in ("source.ip", "source.port", "destination.ip", "destination.port",
                                     "network.transport"))


def read(name: str, path: Path) -> list[Record]:
    with Engine(fields(), orientation()) as engine:
        engine.read(source(name), [str(path)], network("name: n\nnetworks: []\n"), fields())
        return [{f: flow[f] for f in FIELDS if f in flow} for flow in engine.flows()]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_was_written_is_read_again(tmp_path: Path, name: str, data: st.DataObject) -> None:
    writer = WRITERS[name]
    drawn = data.draw(st.lists(talks(writer.tick), min_size=1, max_size=12, unique_by=lambda t: ends(t.canonical())))
    path = tmp_path / "raw.log"
    path.write_text(writer.text([r for talk in drawn for r in writer.raw(talk)]), encoding="utf-8")
    wanted = sorted((writer.expected(t) for t in drawn), key=ends)
    found = sorted(read(name, path), key=ends)
    assert [{f: v for f, v in r.items() if f != "event.duration"} for r in found] == [
        {f: v for f, v in r.items() if f != "event.duration"} for r in wanted]
    assert [r["event.duration"] for r in found] == pytest.approx([r["event.duration"] for r in wanted], abs=2e-6)

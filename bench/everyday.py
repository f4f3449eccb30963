"""Weeks of ordinary traffic for a made-up network, the same for the same seed: what no rule should mind.

bench/everyday.yml says who there is and what they do. DuckDB makes the flows out of hashes of (habit, host, day,
purpose, seed). Sizes and times are drawn from flows that a real sensor saw: bench/calibration.json, made by
bench/calibrate.py.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ewdetect.yamlfile import dump, read_documents

EVERYDAY = Path(__file__).with_name("everyday.yml")
CALIBRATION = Path(__file__).with_name("calibration.json")
DAY = 86_400
START = 1_793_577_600           # Monday, 2026-11-02 00:00 UTC
HISTORY, COUNTED = 21, 14       # days that first-seen rules learn from, and those in which alerts count
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS = {"daily": WEEK, "work": WEEK[:5], "weekend": WEEK[5:]}
_WRITTEN = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".gz": "FORMAT json, COMPRESSION gzip"}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class World:
    """`hosts` are rows (id, group, name of the sensor, IPv4, IPv6 or None, first day, roams?, is there?)."""

    text: Mapping[str, Any]
    hosts: tuple[Row, ...]
    samples: Mapping[str, Sequence[Sequence[float]]]

    def ids(self, groups: str | Sequence[str]) -> list[int]:
        """The hosts of one group or several."""
        names = [groups] if isinstance(groups, str) else groups
        return [host[0] for name in names for host in self.hosts if host[1] == name]


def read_world(path: Path = EVERYDAY) -> World:
    """The network and its habits, with the calibration's samples of every service that has some."""
    text = read_documents(path)[0].data
    samples = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    return World(text, tuple(_hosts(text["groups"])), samples)


def host_days(world: World, days: int) -> int:
    """Internal hosts that are there, times days."""
    inside = [host for host in world.hosts if "context" in world.text["groups"][host[1]] and host[7]]
    return len(inside) * days


def write_network(path: Path, world: World) -> None:
    """The context: an entry for every group's prefix and for every host's name."""
    groups = {name: group for name, group in world.text["groups"].items() if "context" in group}
    entries = [{"cidr": group[net], **group["context"]}
               for group in groups.values() for net in ("net4", "net6") if net in group]
    entries += [{"cidr": host[3], "name": f"{host[1]}-{host[0]}"} for host in world.hosts
                if host[1] in groups and not host[6]]
    path.write_text(dump({"name": "everyday", "networks": entries}), encoding="utf-8")


def write_flows(path: Path, world: World, first: int, days: int, seed: int) -> int:
    """Write the flows of `days` days from day `first` on, in the order of their starts; their number.

    The file's ending says the form: `.parquet`, or `.jsonl.gz`.
    """
    with duckdb.connect(config={"temp_directory": f"{path}.tmp", "memory_limit": "2GB"}) as db:
        db.execute(f"CREATE MACRO draw(a, k) AS (hash(a, k, {seed}) >> 11) / 9007199254740992.0")
        db.execute("CREATE MACRO bell(a, k) AS sqrt(-2 * ln(1 - draw(a, k))) * cos(2 * pi() * draw(a, k + 1))")
        _load(db, world, first, days)
        for number, habit in enumerate(world.text["habits"]):
            _live(db, world, number, habit)
        within = f"t >= {first * DAY} AND t < {(first + days) * DAY}"
        done = db.execute(f"COPY (SELECT {_COLUMNS} FROM flow WHERE {within} ORDER BY t, key) "
                          f"TO '{path}' ({_WRITTEN[path.suffix]})").fetchone()
    return int(done[0]) if done else 0


# ---------------------------------------------------------------- who there is

def _hosts(groups: Mapping[str, Any]) -> Iterator[Row]:
    number = 0
    for name, group in groups.items():
        for turn in range(group["size"]):
            yield (number, name, group.get("sensor", "datacentre"), _address(group["net4"], turn),
                   _address(group["net6"], turn) if "net6" in group else None, group.get("since", 0),
                   group.get("roams", False), not group.get("absent", False))
            number += 1


def _address(net: str, turn: int) -> str:
    return str(ipaddress.ip_network(net)[turn + 1])


def _load(db: duckdb.DuckDBPyConnection, world: World, first: int, days: int) -> None:
    db.execute("CREATE TABLE host (id INTEGER, grp VARCHAR, sensor VARCHAR, ip4 VARCHAR, ip6 VARCHAR, since INTEGER, "
               "roams BOOLEAN, there BOOLEAN)")
    db.executemany("INSERT INTO host VALUES (?, ?, ?, ?, ?, ?, ?, ?)", world.hosts)
    db.execute(f"CREATE TABLE day AS SELECT d::INTEGER AS day, d % 7 AS weekday, d // 7 AS week, "
               f"d % 7 >= 5 AS weekend FROM range({first}, {first + days}) r(d)")
    db.execute("CREATE TABLE flow (key UBIGINT, t DOUBLE, src VARCHAR, dst VARCHAR, sensor VARCHAR, port INTEGER, "
               "transport VARCHAR, app VARCHAR, icmp INTEGER, outcome VARCHAR, sent BIGINT, packets_out BIGINT, "
               "got BIGINT, packets_in BIGINT, seconds DOUBLE)")


# ---------------------------------------------------------------- when something is done

def _live(db: duckdb.DuckDBPyConnection, world: World, number: int, habit: Mapping[str, Any]) -> None:
    """All flows of one habit: its occasions, then step after step from where the step before went."""
    who = world.ids(habit["who"])
    db.execute(f"CREATE OR REPLACE TEMP TABLE occasion AS {_occasions(world, number, habit)}", [who])
    for step in habit["steps"]:
        number += 1_000
        _take(db, world, number, step)


def _occasions(world: World, number: int, habit: Mapping[str, Any]) -> str:
    """(key, day, t, here, there): hosts of whom the habit is, on its days."""
    where = [f"draw(h.id, {number}) < {habit.get('some', 1)}", "day >= h.since", "h.id IN (SELECT unnest($1))"]
    days = habit.get("days", "daily")
    named = _DAYS[days] if isinstance(days, str) else days
    where.append(f"list_contains({[WEEK.index(each) for each in named]}, weekday)")
    if "weeks" in habit:
        where.append(f"list_contains({habit['weeks']}, week)")
    times, moment, more = _rhythm(world, habit)
    return f"""
        WITH one AS (SELECT h.id, h.roams, h.grp, day, unnest(range(CAST({times} AS BIGINT))) AS n
                     FROM host h CROSS JOIN day WHERE {' AND '.join([*where, more])}),
             keyed AS (SELECT *, hash({number}, id, day, n) AS key FROM one)
        SELECT key, day, day * {DAY} + {moment} AS t, {_roaming('id', 'keyed.grp', 'roams')} AS here,
               NULL::INTEGER AS there
        FROM keyed"""


def _rhythm(world: World, habit: Mapping[str, Any]) -> tuple[str, str, str]:
    """How often a day, at which second of it, and whether at all that day."""
    if "at" in habit:
        hour, minute = habit["at"].split(":")
        begin = int(hour) * 3600 + int(minute) * 60
        return "1", f"{begin} + draw(key, 1) * {habit.get('spread', 60)}", "true"
    if "every" in habit:
        every = habit["every"]
        shaken = f"(draw(key, 1) - 0.5) * {habit.get('jitter', 0.05)}"
        return str(DAY // every), f"(n + draw(id, 11) + {shaken}) * {every}", "true"
    hours = world.text["hours"][habit["hours"]]
    slots = [hour for hour, weight in enumerate(hours["weights"]) for _ in range(weight)]
    busy = f"{habit['rate']} * exp(0.5 * bell(h.id, 21) - 0.125)"
    there = (f"draw(h.id * 1000 + day, 31) < CASE WHEN weekend THEN {hours['weekend']} ELSE {hours['work']} END")
    moment = f"({slots}[1 + CAST(floor(draw(key, 1) * {len(slots)}) AS INTEGER)] + draw(key, 2)) * 3600"
    return f"floor({busy} + draw(h.id * 1000 + day, 41))", moment, there


def _roaming(host: str, group: str, roams: str) -> str:
    """A user's address of the day: another host of the same group."""
    first = f"(SELECT min(o.id) FROM host o WHERE o.grp = {group})"
    size = f"(SELECT count(*) FROM host o WHERE o.grp = {group})"
    return f"CASE WHEN {roams} THEN {first} + CAST(hash({host}, day, 51) % {size} AS INTEGER) ELSE {host} END"


# ---------------------------------------------------------------- what is done

def _take(db: duckdb.DuckDBPyConnection, world: World, number: int, step: Mapping[str, Any]) -> None:
    """One step of all occasions: who goes where and when, then the flow of it."""
    source = "there" if step.get("from") == "there" else "here"
    db.execute(f"CREATE OR REPLACE TEMP TABLE gone AS {_visits(world, number, step, source)}")
    db.execute(f"INSERT INTO flow {_flow(world, step)}")
    db.execute("CREATE OR REPLACE TEMP TABLE occasion AS "
               "SELECT key, day, t, source AS here, target AS there FROM gone")


def _visits(world: World, number: int, step: Mapping[str, Any], source: str) -> str:
    """(key, day, t, source, target, port) of each visit; a host does not visit itself."""
    later = f"t + {step.get('after', 0)} * (0.5 + draw(key, {number + 1}))"
    own = f"hash(key, {number}) AS key, day"
    if step["to"] == "same":
        return f"SELECT {own}, {later} AS t, {source} AS source, there AS target, NULL AS port FROM occasion"
    targets = world.ids(step["to"])
    if step.get("each"):
        ports = step["port"] if isinstance(step.get("port"), list) else [step.get("port", "NULL")]
        return f"""
            SELECT hash(key, target, port, {number}) AS key, day, {later} + turn * {step['gap']} AS t,
                   {source} AS source, target, port
            FROM occasion, (SELECT unnest({targets}) AS target, unnest(range({len(targets)})) AS turn),
                 (SELECT unnest([{', '.join(str(port) for port in ports)}]::INTEGER[]) AS port)
            WHERE target <> {source} AND day >= (SELECT since FROM host WHERE id = target)"""
    known = min(step.get("of", len(targets)), len(targets))
    favourite = f"CAST(floor({known} * draw(key, {number}) ** 1.5) AS INTEGER)"
    start = f"CAST(hash({source}, {number}) % {len(targets)} AS INTEGER)"
    picked = f"{targets}[1 + ({start} + {favourite}) % {len(targets)}]"
    return f"""
        SELECT * FROM (SELECT {own}, {later} AS t, {source} AS source, {picked} AS target, NULL AS port FROM occasion)
        WHERE source <> target AND day >= (SELECT since FROM host WHERE id = target)"""


def _flow(world: World, step: Mapping[str, Any]) -> str:
    """The flow of each visit that happens, as it ended. What is not there fails, unless a filter denied it before."""
    service = {"transport": "tcp", **world.text["services"][step["service"]], **step}
    port = "g.port" if isinstance(service.get("port"), list) else service.get("port", "NULL::INTEGER")
    sent, got, seconds = _sizes(world, step)
    denied = service.get("denied", 0)
    lost = f"draw(g.key, 61) < {denied + service.get('failed', 0.002)} OR NOT d.there"
    return f"""
        SELECT key, t, CASE WHEN six THEN s6 ELSE s4 END, CASE WHEN six THEN d6 ELSE d4 END, sensor, port,
               CASE WHEN six AND icmp IS NOT NULL THEN 'ipv6-icmp' ELSE transport END,
               CASE WHEN answered THEN app END, icmp, outcome,
               CASE WHEN answered THEN sent ELSE 62 END, CASE WHEN answered THEN 1 + sent // 1100 ELSE 1 END,
               CASE WHEN answered THEN got ELSE 0 END, CASE WHEN answered AND got > 0 THEN 1 + got // 1300 ELSE 0 END,
               CASE WHEN answered THEN seconds ELSE 0 END
        FROM (SELECT g.key, g.t, s.sensor, {port} AS port, s.ip4 AS s4, s.ip6 AS s6, d.ip4 AS d4, d.ip6 AS d6,
                     s.ip6 IS NOT NULL AND d.ip6 IS NOT NULL AND draw(g.key, 73) < 0.5 AS six,
                     '{service['transport']}' AS transport, {_quoted(service.get('app'))} AS app,
                     {service.get('icmp', 'NULL::INTEGER')} AS icmp, {sent} AS sent, {got} AS got, {seconds} AS seconds,
                     CASE WHEN draw(g.key, 61) < {denied} THEN 'denied' WHEN {lost} THEN 'failed'
                          ELSE 'established' END AS outcome,
                     outcome = 'established' AS answered
              FROM gone g JOIN host s ON s.id = g.source JOIN host d ON d.id = g.target
              WHERE draw(g.key, 72) < {service.get('chance', 1)})"""


def _quoted(word: str | None) -> str:
    return "NULL::VARCHAR" if word is None else f"'{word}'"


def _sizes(world: World, step: Mapping[str, Any]) -> tuple[str, str, str]:
    """Bytes out, bytes in and seconds: those of a real flow and a tenth of noise, or log-normal around the medians."""
    service, samples = world.text["services"][step["service"]], world.samples.get(step["service"], ())
    drawn = []
    for place, (name, spread) in enumerate((("out", 0.6), ("in", 0.9), ("seconds", 0.7))):
        if samples and name not in step:
            pick = f"1 + CAST(floor(draw(g.key, 81) * {len(samples)}) AS INTEGER)"
            drawn.append(f"{[row[place] for row in samples]}[{pick}] * exp(0.1 * bell(g.key, {83 + 2 * place}))")
        else:
            spread *= step.get("spread", 1)
            drawn.append(f"{step.get(name, service[name])} * exp({spread} * bell(g.key, {83 + 2 * place}))")
    return f"CAST({drawn[0]} AS BIGINT)", f"CAST({drawn[1]} AS BIGINT)", f"round({drawn[2]}, 6)"


_COLUMNS = f"""
    'e' || to_base(CAST(key >> 1 AS BIGINT), 36) AS "event.id",
    make_timestamp(CAST(({START} + t) * 1000000 AS BIGINT)) AS "event.start", seconds AS "event.duration",
    src AS "source.ip", CASE WHEN icmp IS NULL THEN 32768 + CAST(key % 28000 AS INTEGER) END AS "source.port",
    sent AS "source.bytes", packets_out AS "source.packets", dst AS "destination.ip", port AS "destination.port",
    got AS "destination.bytes", packets_in AS "destination.packets", transport AS "network.transport",
    app AS "network.protocol", CASE WHEN transport = 'ipv6-icmp' THEN 128 ELSE icmp END AS "icmp.type",
    outcome AS "flow.outcome", sensor AS "observer.name\""""


def main() -> None:
    """Write the flows or the network: `python -m bench.everyday flows|network PATH`."""
    parser = argparse.ArgumentParser(description="Write weeks of ordinary traffic, or the network that it is in.")
    parser.add_argument("what", choices=["flows", "network"])
    parser.add_argument("path", type=Path, help="flows: .parquet or .jsonl.gz; network: .yml")
    parser.add_argument("--first", type=int, default=0, help="the day to begin with")
    parser.add_argument("--days", type=int, default=HISTORY + COUNTED)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "network":
        write_network(options.path, read_world())
    else:
        write_flows(options.path, read_world(), options.first, options.days, options.seed)


if __name__ == "__main__":
    main()

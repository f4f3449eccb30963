"""Flows for the benchmark: a made-up network, its daily traffic and planted attacks, the same for the same seed.

DuckDB makes the flows, row by row out of hashes of (row, purpose, seed), so that ten million take seconds.
workload.yml says who there is and what they do.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from bench.layouts import LAYOUTS
from ewdetect.yamlfile import dump, read_documents

WORKLOAD = Path(__file__).with_name("workload.yml")
DAY = 86_400
FLOWS_PER_DAY = 1_000_000
START = 1_793_491_200           # 2026-11-01 00:00 UTC
ENTRIES = 2_000                 # of the network context
_BUCKETS = 10_000               # a habit's share of all flows is counted in these


@dataclass(frozen=True, slots=True)
class Attack:
    """What must be found: an alert of `rule` that names `address` and crosses from `first` to `last`, µs since 1970."""

    rule: str
    address: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of a group and family: rows `first` to `first + size - 1` of the table `host`."""

    first: int
    addresses: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.addresses)


Groups = Mapping[tuple[str, bool], Hosts]       # (group, IPv6?)


def write_flows(path: Path, layout: str, count: int, seed: int) -> None:
    """Write `count` flows, attacks included, as `eve`, `zeek` or `parquet`, in the order of their starts."""
    workload = read_documents(WORKLOAD)[0].data
    groups = _groups(workload)
    planted = [row for day in range(_days(count)) for row in _planted(workload, groups, day)]
    with duckdb.connect(config={"temp_directory": f"{path}.tmp", "memory_limit": "4GB"}) as db:
        _load(db, workload, groups, planted)
        db.execute(f"CREATE MACRO draw(i, k) AS (hash(i, k, {seed}) >> 11) / 9007199254740992.0")
        background = _background(count - len(planted), _days(count) * DAY)
        db.execute(f"CREATE VIEW traffic_and_attacks AS {background} UNION ALL SELECT * FROM planted")
        db.execute(f"CREATE VIEW flow AS {_FLOW}")
        form, options = LAYOUTS[layout]
        db.execute(f"COPY (SELECT {form} FROM flow ORDER BY t, i) TO '{path}' ({options})")


def write_network(path: Path) -> None:
    """Write the network context: a prefix for every group, then subnets, then single hosts, 2,000 entries in all."""
    hosts = read_documents(WORKLOAD)[0].data["hosts"]
    described = {name: group for name, group in hosts.items() if "context" in group}
    entries = [{"cidr": group[net], **group["context"]}
               for group in described.values() for net in ("net4", "net6") if net in group]
    named = [entry for name, group in described.items() for entry in _named(name, group)]
    path.write_text(dump({"name": "bench", "networks": entries + named[:ENTRIES - len(entries)]}), encoding="utf-8")


def _named(name: str, group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Nested entries: the subnets of a wide prefix with their site, and hosts with name and owner."""
    wide = ipaddress.ip_network(group["net4"])
    if wide.prefixlen <= 20:
        for number, subnet in enumerate(list(wide.subnets(new_prefix=24))[:16]):
            yield {"cidr": str(subnet), "site": f"site-{number % 5}"}
    for number, address in enumerate(_addresses(group, v6=False)[:900]):
        yield {"cidr": address, "name": f"{name}-{number}", "owner": f"team-{number % 40}"}


def attacks(count: int) -> list[Attack]:
    """What `write_flows` plants among `count` flows."""
    workload = read_documents(WORKLOAD)[0].data
    groups = _groups(workload)
    found = []
    for day in range(_days(count)):
        for number, attack in enumerate(workload["attacks"]):
            first = (START + day * DAY + attack["at"]) * 1_000_000
            actor = groups[attack["by"], attack.get("v6", False)]
            address = _actor(actor, number + len(workload["attacks"]) * day)
            found += [Attack(rule, address, first, first + 3_600_000_000) for rule in attack["expect"]]
    return found


def _days(count: int) -> int:
    return max(1, count // FLOWS_PER_DAY)


# ---------------------------------------------------------------- the network

def _groups(workload: Mapping[str, Any]) -> Groups:
    groups: dict[tuple[str, bool], Hosts] = {}
    first = 0
    for name, group in workload["hosts"].items():
        for v6 in (False, True):
            groups[name, v6] = Hosts(first, _addresses(group, v6))
            first += groups[name, v6].size
    return groups


def _addresses(group: Mapping[str, Any], v6: bool) -> tuple[str, ...]:
    net, count = ("net6", "v6") if v6 else ("net4", "v4")
    if net not in group:
        return ()
    network = ipaddress.ip_network(group[net])
    first = 0 if network.num_addresses == 1 else 1
    return tuple(str(network[first + number]) for number in range(group[count]))


def _actor(hosts: Hosts, turn: int) -> str:
    """From the quiet end of the group, so that little else happens to it; another one for each attack and day."""
    return hosts.addresses[(hosts.size - 1 - turn) % hosts.size]


# ---------------------------------------------------------------- tables that the SQL draws from

def _load(db: duckdb.DuckDBPyConnection, workload: Mapping[str, Any], groups: Groups, planted: list[Any]) -> None:
    addresses = [address for hosts in groups.values() for address in hosts.addresses]
    db.execute("CREATE TABLE host AS SELECT unnest(range(len($1)))::INTEGER AS id, unnest($1) AS ip", [addresses])
    db.execute(
        "CREATE TABLE share (first INTEGER, beyond INTEGER, v6 BOOLEAN, has_v6 BOOLEAN, "
               "first_s INTEGER, size_s INTEGER, first_d INTEGER, "
        "size_d INTEGER, port INTEGER, transport VARCHAR, app VARCHAR, icmp INTEGER, failed DOUBLE, "
        "least_out BIGINT, least_in BIGINT, least_seconds DOUBLE)"
    )
    _insert(db, "share", list(_habits(workload, groups)))
    db.execute("CREATE TABLE habit AS SELECT unnest(range(first, beyond))::INTEGER AS bucket, * FROM share")
    db.execute("CREATE TABLE planted (i BIGINT, t BIGINT, v6 BOOLEAN, src VARCHAR, dst VARCHAR, port INTEGER, "
               "transport VARCHAR, app VARCHAR, icmp INTEGER, failed BOOLEAN, out BIGINT, \"in\" BIGINT, "
               "seconds DOUBLE)")
    _insert(db, "planted", [(-1 - number, *row) for number, row in enumerate(planted)])


def _insert(db: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _habits(workload: Mapping[str, Any], groups: Groups) -> Iterator[tuple[Any, ...]]:
    """One row for each habit and family, with its buckets; a habit whose groups have no IPv6 stays IPv4."""
    total = sum(habit["share"] for habit in workload["traffic"])
    reached = 0
    for habit in workload["traffic"]:
        buckets = reached * _BUCKETS // total, (reached + habit["share"]) * _BUCKETS // total
        reached += habit["share"]
        for v6 in (False, True):
            has_v6 = v6 and bool(groups[habit["from"], True].size and groups[habit["to"], True].size)
            yield *buckets, v6, has_v6, *_habit(habit, groups[habit["from"], has_v6], groups[habit["to"], has_v6])


def _habit(habit: Mapping[str, Any], source: Hosts, target: Hosts) -> tuple[Any, ...]:
    return (source.first, source.size, target.first, target.size, habit.get("port"), habit.get("transport", "tcp"),
            habit.get("app"), habit.get("icmp"), habit.get("failed", 0.015), habit["out"], habit["in"],
            habit["seconds"])


def _planted(workload: Mapping[str, Any], groups: Groups, day: int) -> Iterator[tuple[Any, ...]]:
    for number, attack in enumerate(workload["attacks"]):
        v6, turn = attack.get("v6", False), number + len(workload["attacks"]) * day
        for step in attack["steps"]:
            source, targets = groups[step["from"], v6], groups[step["to"], v6]
            begin = START + day * DAY + attack["at"] + step.get("after", 0)
            for n in range(step.get("hosts", step.get("ports", step.get("times", 1)))):
                target = (_actor(targets, turn) if step.get("actor")
                          else targets.addresses[n if "hosts" in step else 0])
                port = 1 + n if "ports" in step else step.get("port")
                failed = step.get("failed", False)
                yield ((begin + n * step.get("every", 0)) * 1_000_000, v6, _actor(source, turn), target, port,
                       step.get("transport", "tcp"), None, step.get("icmp"), failed, step.get("out", 60),
                       step.get("in", 0), step.get("seconds", 0))


# ---------------------------------------------------------------- flows

def _background(count: int, seconds: int) -> str:
    """Busy hosts and favourite partners: squares and cubes of even draws give the heavy tails."""
    gap = seconds * 1_000_000 / max(count, 1)
    return f"""
        SELECT i, t, v6, s.ip AS src, d.ip AS dst, port, transport, app, icmp, failed, out, "in", seconds
        FROM (SELECT i, CAST({START * 1_000_000} + (i + draw(i, 1)) * {gap} AS BIGINT) AS t, has_v6 AS v6,
                     first_s + CAST(floor(size_s * draw(i, 4) ** 2) AS INTEGER) AS source,
                     first_d + CAST(floor(size_d * CASE WHEN draw(i, 5) < 0.8
                         THEN draw(source * 4 + CAST(floor(draw(i, 6) * 4) AS INTEGER), 7) ELSE draw(i, 6) ** 3 END)
                         AS INTEGER) AS target,
                     coalesce(port, CASE WHEN icmp IS NULL THEN 1 + CAST(floor(draw(i, 8) * 10000) AS INTEGER) END)
                         AS port,
                     transport, app, icmp, draw(i, 9) < failed AS failed,
                     least(CAST(least_out * (1 - draw(i, 10)) ** -0.8 AS BIGINT), 50000000) AS out,
                     least(CAST(least_in * (1 - draw(i, 11)) ** -0.8 AS BIGINT), 50000000) AS "in",
                     least(least_seconds * (1 - draw(i, 12)) ** -0.8, 3600) AS seconds
              FROM range({count}) r(i) JOIN habit h
              ON h.bucket = CAST(floor(draw(i, 2) * {_BUCKETS}) AS INTEGER) AND h.v6 = (draw(i, 3) < 0.05))
        JOIN host s ON s.id = source JOIN host d ON d.id = target"""


# What a sensor sees of them: packets, ephemeral ports, refusals, and now and then no beginning (`inverted`).
_FLOW = """
    SELECT *, CASE WHEN answered THEN 1 + "in" // 1000 WHEN refused THEN 1 ELSE 0 END AS packets_in,
           CASE WHEN answered THEN "in" WHEN refused THEN 40 ELSE 0 END AS bytes_in,
           CASE WHEN answered THEN out ELSE 60 END AS bytes_out,
           CASE WHEN answered THEN 1 + out // 1000 ELSE 1 END AS packets_out
    FROM (SELECT *, NOT failed AS answered, failed AND transport = 'tcp' AND draw(i, 20) < 0.5 AS refused,
                 CASE WHEN transport <> 'icmp' THEN 32768 + CAST(floor(draw(i, 21) * 28000) AS INTEGER) END AS sport,
                 NOT failed AND i >= 0 AND transport = 'tcp' AND port IN (80, 443) AND draw(i, 22) < 0.005 AS inverted
          FROM traffic_and_attacks)"""


def main() -> None:
    """Write one file: `python -m bench.generate LAYOUT PATH --flows N --seed S`, LAYOUT `network` for the context."""
    parser = argparse.ArgumentParser(description="Write the benchmark's flows, network or list of attacks.")
    parser.add_argument("layout", choices=[*LAYOUTS, "network", "attacks"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--flows", type=int, default=FLOWS_PER_DAY)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.layout == "network":
        write_network(options.path)
    elif options.layout == "attacks":
        rows = [{name: getattr(a, name) for name in a.__slots__} for a in attacks(options.flows)]
        options.path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        write_flows(options.path, options.layout, options.flows, options.seed)


if __name__ == "__main__":
    main()

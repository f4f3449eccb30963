"""How Kibana runs an ES|QL rule, replayed on a real Elasticsearch: many runs of many cases in one request.

From elastic/kibana, detection_engine/rule_types/esql: a run sees the documents whose time is in [now - from, now] and
that have arrived, asks `query | limit max_signals`, and makes an alert of each row unless one with its id is there.
The id of a row of a query without STATS is made of `_id`, `_index` and the columns that MV_EXPAND made.

A world is what one run sees of one case. Every world gets a stretch of time of its own, far from the others, and the
documents of its own that the run would see; NOW() becomes the time of the run there. So one request executes the query
once for each world: no window reaches from one stretch into another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ewdetect.schedule import Schedule
from tests.engines.elasticsearch.client import Client
from tests.engines.elasticsearch.inline_stats import run

BEGIN = 1_000_000_000_000          # ms; every time since then has 13 digits
MAX_SIGNALS = 100


@dataclass(frozen=True, slots=True)
class Flow:
    """A document, when its flow began and when it arrived (ms). `fields` are by dotted name, without times.

    `stamp` is the time of the document (ms), where that is not when its flow began.
    """

    began: int
    arrived: int
    fields: Mapping[str, Any]
    stamp: int | None = None

    @property
    def time(self) -> int:
        """What `@timestamp` holds, by which a run finds the document."""
        return self.began if self.stamp is None else self.stamp


@dataclass(frozen=True, slots=True)
class World:
    """What one run of one case sees. `stretch` is where its time begins, `now` when the run is, both ms."""

    case: int
    stretch: int
    now: int
    flows: tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of an answer, in the case's own time."""

    case: int
    identity: tuple[Any, ...]
    at: int                             # ms
    row: Mapping[str, Any]


def worlds(cases: Sequence[Sequence[Flow]], when: Schedule) -> tuple[tuple[World, ...], int]:
    """A world for each run of each case whose period holds a flow, and the length of a stretch in ms."""
    back = (when.window + 2 * when.period + when.delay + when.lasting) * 1000
    length = 4 * back + 86_400_000 + 7_654_321
    made: list[World] = []
    for number, flows in enumerate(cases):
        for now in _runs(flows, when):
            seen = tuple(f for f in flows if now - back <= f.time <= now and f.arrived <= now)
            made.append(World(number, BEGIN + len(made) * length, now, seen))
    return tuple(made), length


def _runs(flows: Sequence[Flow], when: Schedule) -> Iterator[int]:
    """The times of the runs whose period, or the one before it, holds the beginning of a flow, of the first one that
    sees a flow which came later, and of the last run that may report it. Runs without one report nothing, as every
    crossing is the beginning of a flow."""
    if not flows:
        return
    period, delay, lasting = when.period * 1000, when.delay * 1000, when.lasting * 1000
    began = sorted({flow.began for flow in flows})
    late = [flow.arrived for flow in flows if flow.arrived > flow.began + delay]
    phase = 1234        # Kibana's runs are on no even minute
    for now in range(began[0] // period * period + phase, began[-1] + 3 * period + delay + lasting, period):
        new = any(now - 2 * period - delay < t <= now - delay for t in began)
        last = any(now - period < t + 2 * period + delay + lasting <= now for t in began[:1])
        if new or (lasting and last) or any(now - period < t <= now for t in late):
            yield now


def documents(made: Sequence[World], length: int, time_field: str) -> Iterator[dict[str, Any]]:
    """The documents of all worlds; a world's run is in the middle of its stretch."""
    for world in made:
        for flow in world.flows:
            yield {**flow.fields, "@timestamp": _moved(flow.time, world, length),
                   time_field: _moved(flow.began, world, length)}


def _moved(time: int, world: World, length: int) -> int:
    return world.stretch + length // 2 + time - world.now


def placed(query: str, index: str, length: int) -> str:
    """The query on the worlds' index, with each row's own NOW()."""
    anchor = "ew_at" if "ew_at" in query else "TO_LONG(@timestamp)"
    now = f"({anchor} - {BEGIN}) / {length} * {length} + {BEGIN + length // 2}"
    text = query.replace("TO_LONG(NOW())", f"({now})")
    assert "NOW()" not in text
    return re.sub(r"^FROM \S+ ", f"FROM {index} ", text)


def alerts(client: Client, query: str, index: str, made: Sequence[World], length: int) -> list[Alert]:
    """The alerts that Kibana would make of all runs, each once. Fails where a run has more rows than it may."""
    expanded = tuple(dict.fromkeys(re.findall(r"MV_EXPAND (\S+)", query)))
    answer = run(client, f"{placed(query, index, length)} | LIMIT 1000000")
    found: dict[tuple[Any, ...], Alert] = {}
    rows: dict[int, int] = {}
    for record in answer.records():
        place = (milliseconds(record["@timestamp"]) - BEGIN) // length
        world = made[place]
        rows[place] = rows.get(place, 0) + 1
        assert rows[place] <= MAX_SIGNALS
        at = milliseconds(record["@timestamp"]) - world.stretch - length // 2 + world.now
        identity = (world.case, *_identity(record, world, length, expanded))
        found.setdefault(identity, Alert(world.case, identity, at, record))
    return list(found.values())


def _identity(record: Mapping[str, Any], world: World, length: int, expanded: Sequence[str]) -> tuple[Any, ...]:
    """What Kibana makes the id of, in the case's own time: worlds must not tell two runs' rows apart."""
    assert all(column in record for column in expanded), "Kibana would hash the whole row"
    stretch = world.stretch + length // 2 - world.now

    def own(value: Any) -> Any:
        if isinstance(value, int) and value >= BEGIN:
            return value - stretch
        if isinstance(value, str):
            return re.sub(r"\d{13}", lambda found: str(int(found[0]) - stretch), value)
        return value

    # A slot is the time cut short; it says nothing that the time does not.
    kept = [own(record[column]) for column in expanded if column != "ew_target"]
    return (own(record["_id"]), record["_index"], *kept)


def milliseconds(text: str) -> int:
    """A time of an answer, in ms since 1970."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)

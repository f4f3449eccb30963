"""First-seen, deviation and beacon rules against docs/semantics.md written down naively, over random flows."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.world import DAY, alerts, correlation, event_rule, flow, own_rule

SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECOND = 1_000_000

Flow = Mapping[str, Any]
BASE = event_rule("base", {"network.transport": "tcp"})

# Whole seconds, so that ties, exact edges and gaps of exactly a span are common; one microsecond off as well.
TIMES = st.builds(lambda second, off: abs(second + off / 1_000_000), st.integers(0, 60),
                  st.sampled_from([0, 0, 0, -1, 1]))
SOURCES = st.sampled_from(["10.10.0.1", "10.10.0.2", "fd00:10::1"])
DESTINATIONS = st.sampled_from(["10.30.0.1", "10.30.0.2", "fd00:30::4"])
ROWS = st.lists(st.fixed_dictionaries({
    "at": TIMES, "source": SOURCES, "destination": DESTINATIONS, "port": st.sampled_from([22, 445, None]),
    "bytes": st.sampled_from([0, 1, 5, 50, None]), "transport": st.sampled_from(["tcp", "tcp", "tcp", "udp"])}),
    max_size=25)


def made(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [flow(i, r["at"], source_ip=r["source"], destination_ip=r["destination"], destination_port=r["port"],
                 source_bytes=r["bytes"], network_transport=r["transport"]) for i, r in enumerate(rows)]


def of_base(flows: Sequence[Flow], *present: str) -> list[Flow]:
    return [f for f in flows if f["network.transport"] == "tcp" and all(f[p] is not None for p in present)]


def by_key(flows: Sequence[Flow], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Flow]]:
    groups: dict[tuple[Any, ...], list[Flow]] = defaultdict(list)
    for f in flows:
        groups[tuple(f[k] for k in keys)].append(f)
    return groups


def ids(flows: Sequence[Flow]) -> frozenset[str]:
    return frozenset(f["event.id"] for f in flows)


def found(flows: Sequence[Flow], documents: Sequence[Mapping[str, Any]], rule: str) -> list[Any]:
    return sorted((tuple(a.group.values()), a.crossing, frozenset(a.evidence)) for a in alerts(flows, documents, rule))


# ---------------------------------------------------------------- first seen

PAIR = ("source.ip", "destination.port")
# Few combinations and a coarse grid, so that a combination often comes back exactly a span later.
COMINGS = st.lists(st.fixed_dictionaries({
    "at": st.builds(lambda second, off: abs(second + off / 1_000_000), st.integers(0, 30),
                    st.sampled_from([0, 0, 0, 0, 0, -1, 1])),
    "source": st.sampled_from(["10.10.0.1", "fd00:10::1"]), "destination": DESTINATIONS,
    "port": st.sampled_from([22, 22, 445, None]), "bytes": st.just(1),
    "transport": st.sampled_from(["tcp", "tcp", "tcp", "udp"])}), min_size=4, max_size=20)


def new_instants(flows: Sequence[Flow], history: int, warm_up: int, age: int | None) -> Iterator[tuple[Any, int]]:
    """The definition: nothing of the combination in (t - history, t), and the data covers the warm-up."""
    matching = of_base(flows, *PAIR)
    for key, mine in by_key(matching, PAIR).items():
        for t in sorted({f["event.start"] for f in mine}):
            seen = any(t - history < f["event.start"] < t for f in mine)
            warm = t - min(f["event.start"] for f in flows) >= warm_up
            aged = age is None or any(t - history < f["event.start"] <= t - age
                                      for f in of_base(flows, PAIR[0]) if f[PAIR[0]] == key[0])
            if not seen and warm and aged:
                yield key, t


SPANS = st.sampled_from([5, 10])


@SETTINGS
@given(COMINGS, SPANS, st.sampled_from([None, 1, 5]), st.sampled_from([None, 2, 4]))
def test_first_seen(rows: list[Any], history: int, warm_up: int | None, age: int | None) -> None:
    flows = made(rows)
    warm = history if warm_up is None else warm_up
    more = {} if warm_up is None else {"warm_up": f"{warm_up}s"}
    aged = {} if age is None else {"aged": {"fields": [PAIR[0]], "for": f"{age}s"}}
    rule = own_rule("new", "first_seen", "base", fields=list(PAIR), history=f"{history}s", **more, **aged)
    expected = [(key, t, ids([f for f in of_base(flows, *PAIR) if tuple(f[k] for k in PAIR) == key
                              and f["event.start"] == t]))
                for key, t in new_instants(flows, history * SECOND, warm * SECOND, age and age * SECOND)]
    assert found(flows, [BASE, rule], "new") == sorted(expected)


@SETTINGS
@given(COMINGS, st.sampled_from([5, 10]), st.sampled_from([None, 1, 3]), st.sampled_from([1, 2]))
def test_first_seen_is_counted_by_a_correlation(rows: list[Any], history: int, fresh: int | None, least: int) -> None:
    """Its events are flows with all their fields: those of new instants, and for `fresh` those that follow."""
    flows = made(rows)
    more = {} if fresh is None else {"fresh": f"{fresh}s"}
    new = own_rule("new", "first_seen", "base", fields=list(PAIR), history=f"{history}s", warm_up="1s", **more)
    burst = correlation("burst", "value_count", ["new"], "4s", group_by=["source.ip"],
                        condition={"field": "destination.ip", "gte": least})
    begun = list(new_instants(flows, history * SECOND, SECOND, None))
    events = [f for f in of_base(flows, *PAIR)
              if any(tuple(f[k] for k in PAIR) == key and t <= f["event.start"] < t + max((fresh or 0) * SECOND, 1)
                     for key, t in begun)]
    expected = []
    for key, mine in by_key(events, ["source.ip"]).items():
        before = False
        for t in sorted({f["event.start"] for f in mine}):
            inside = [f for f in mine if t - 4 * SECOND < f["event.start"] <= t]
            earlier = [f for f in mine if t - 4 * SECOND <= f["event.start"] < t]
            now, held = (len({f["destination.ip"] for f in some}) >= least for some in (inside, earlier))
            if now and not (before and held):
                expected.append((key, t, ids(inside)))
            before = now
    assert found(flows, [BASE, new, burst], "burst") == sorted(expected)


# ---------------------------------------------------------------- deviation

def measure(flows: Sequence[Flow], metric: str) -> float:
    match metric:
        case "count":
            return len(flows)
        case "distinct":
            return len({f["destination.ip"] for f in flows})
    return sum(int(f["source.bytes"]) for f in flows)


FIELD: Mapping[str, dict[str, str]] = {
    "count": {}, "distinct": {"field": "destination.ip"}, "sum": {"field": "source.bytes"}}


def past_of(mine: Sequence[Flow], n: int, metric: str, bucket: int, season: int, history: int) -> list[float]:
    """The values of the earlier buckets of the season that begin no earlier than the group's first flow."""
    first = min(f["event.start"] for f in mine)
    past = []
    for k in range(1, history // season + 1):
        begin = (n - k * (season // bucket)) * bucket
        if begin >= first:
            past.append(measure([f for f in mine if begin <= f["event.start"] < begin + bucket], metric))
    return past


def mad(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return statistics.median([abs(v - middle) for v in values])


def joined(found: dict[int, Any]) -> Iterator[list[Any]]:
    """Runs of adjacent buckets."""
    run: list[Any] = []
    for n in sorted(found):
        if run and run[-1][0] == n - 1:
            run.append((n, found[n]))
        else:
            if run:
                yield run
            run = [(n, found[n])]
    if run:
        yield run


DEVIATION_ROWS = st.lists(st.fixed_dictionaries({
    "at": st.one_of(TIMES, st.integers(0, 40).map(float)), "source": SOURCES, "destination": DESTINATIONS,
    "port": st.just(445), "bytes": st.sampled_from([0, 1, 5, 50, None]),
    "transport": st.sampled_from(["tcp", "tcp", "tcp", "udp"])}), max_size=40)
CLOCK = st.tuples(st.sampled_from([2, 4]), st.sampled_from([1, 2]), st.sampled_from([3, 5]))


@SETTINGS
@given(DEVIATION_ROWS, st.sampled_from(sorted(FIELD)), CLOCK, st.sampled_from([0.5, 1, 3]), st.sampled_from([1, 2, 10]))
def test_deviation_above(rows: list[Any], metric: str, clock: Any, factor: float, floor: float) -> None:
    flows = made(rows)
    bucket, per_season, seasons = clock
    season, history = bucket * per_season, bucket * per_season * seasons
    field = FIELD[metric]
    rule = own_rule("far", "deviation", "base", group_by=["source.ip"], metric=metric, bucket=f"{bucket}s",
                    season=f"{season}s", history=f"{history}s", minimum=3, above={"factor": factor, "floor": floor},
                    **field)
    expected = []
    for key, mine in by_key(of_base(flows, *field.values()), ["source.ip"]).items():
        hot: dict[int, Any] = {}
        for n in sorted({f["event.start"] // (bucket * SECOND) for f in mine}):
            past = past_of(mine, n, metric, bucket * SECOND, season * SECOND, history * SECOND)
            inside = [f for f in mine if f["event.start"] // (bucket * SECOND) == n]
            if len(past) < 3:
                continue
            for t in sorted({f["event.start"] for f in inside}):
                so_far = [f for f in inside if f["event.start"] <= t]
                value = measure(so_far, metric)
                if value >= floor and value > statistics.median(past) + factor * mad(past):
                    hot[n] = (key, t, ids(so_far))
                    break
        expected += [run[0][1] for run in joined(hot)]
    assert found(flows, [BASE, rule], "far") == sorted(expected)


@SETTINGS
@given(DEVIATION_ROWS, st.sampled_from(sorted(FIELD)), CLOCK, st.sampled_from([0, 0.25, 0.5]),
       st.sampled_from([0.5, 1, 2]), st.sampled_from([None, 0.5, 1]))
def test_deviation_below(rows: list[Any], metric: str, clock: Any, factor: float, floor: float,
                         others: float | None) -> None:
    flows = made(rows)
    bucket, per_season, seasons = clock
    season, history, width = bucket * per_season, bucket * per_season * seasons, bucket * SECOND
    field = FIELD[metric]
    below = {"factor": factor, "floor": floor, **({} if others is None else {"others": others})}
    rule = own_rule("quiet", "deviation", "base", group_by=["source.ip"], metric=metric, bucket=f"{bucket}s",
                    season=f"{season}s", history=f"{history}s", minimum=3, below=below, **field)
    groups = by_key(of_base(flows, *field.values()), ["source.ip"])
    last = max((f["event.start"] for f in flows), default=0)
    judged: dict[tuple[Any, int], tuple[float, float]] = {}
    for key, mine in groups.items():
        first = min(f["event.start"] for f in mine)
        for n in range(-(-first // width), last // width):
            past = past_of(mine, n, metric, width, season * SECOND, history * SECOND)
            if len(past) >= 3:
                value = measure([f for f in mine if f["event.start"] // width == n], metric)
                judged[key, n] = (value, statistics.median(past))
    expected = []
    for key, mine in groups.items():
        low: dict[int, Any] = {}
        for (k, n), (value, middle) in judged.items():
            rest = [pair for (j, m), pair in judged.items() if m == n and j != key]
            alive = others is None or sum(v for v, _ in rest) >= others * sum(m for _, m in rest)
            if k == key and alive and middle >= floor and value <= factor * middle:
                before = [f for f in mine if f["event.start"] < (n + 1) * width]
                latest = max(f["event.start"] for f in before)
                low[n] = (key, (n + 1) * width, ids([f for f in before if f["event.start"] >= n * width
                                                     or f["event.start"] == latest]))
        expected += [run[0][1] for run in joined(low)]
    assert found(flows, [BASE, rule], "quiet") == sorted(expected)


# ---------------------------------------------------------------- beacon

def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Interpolated linearly between neighbours."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return at(0.25), at(0.5), at(0.75)


def regularity(values: Sequence[float], least: float) -> float:
    low, middle, high = quartiles(values)
    skewed = high - low >= least and middle not in (low, high)
    symmetry = 1 - abs((low + high - 2 * middle) / (high - low)) if skewed else 1
    steadiness = max((middle - mad(values)) / middle, 0) if middle >= 1 else 0
    return symmetry + steadiness


def score(inside: Sequence[Flow]) -> float:
    times = sorted({f["event.start"] for f in inside})
    gaps = [b - a for a, b in pairwise(times)]
    total = regularity(gaps, 10 * SECOND) + regularity([f["source.bytes"] for f in inside], 10)
    return int(total / 4 * 1000 + 0.5) / 1000


BEACON_ROWS = st.builds(
    lambda step, jitter, sizes, extra: [
        {"at": max(n * step + j, 0), "source": "10.10.0.1", "destination": "10.30.0.1", "port": 445, "bytes": s,
         "transport": "tcp"} for n, (j, s) in enumerate(zip(jitter, sizes, strict=False)) if j is not None] + extra,
    st.sampled_from([5, 20, 30]), st.lists(st.sampled_from([0, 0, 0, 1, 3, None]), max_size=16),
    st.lists(st.sampled_from([100, 100, 104, 130, 0, None]), min_size=16, max_size=16), ROWS)


@SETTINGS
@given(BEACON_ROWS, st.sampled_from([60, 100, 200]), st.sampled_from([4, 6]), st.sampled_from([None, 6, 8]),
       st.sampled_from([1, 20, 50]), st.sampled_from([0.501, 0.7, 0.901]))
def test_beacon(rows: list[Any], timespan: int, minimum: int, maximum: int | None, lasting: int, least: float) -> None:
    flows = made(rows)
    pair = ("source.ip", "destination.ip")
    most = {} if maximum is None else {"maximum": maximum}
    rule = own_rule("beat", "beacon", "base", group_by=list(pair), timespan=f"{timespan}s", size="source.bytes",
                    minimum=minimum, lasting=f"{lasting}s", score=least, **most)
    expected = []
    for key, mine in by_key(of_base(flows, "source.bytes"), pair).items():
        before: int | None = None
        for t in sorted({f["event.start"] for f in mine}):
            inside = [f for f in mine if t - timespan * SECOND < f["event.start"] <= t]
            times = {f["event.start"] for f in inside}
            now = (minimum <= len(times) <= (maximum or len(times)) and max(times) - min(times) >= lasting * SECOND
                   and score(inside) >= least)
            if now and (before is None or t - before >= timespan * SECOND):
                expected.append((key, t, ids(inside)))
            before = t if now else before
    assert found(flows, [BASE, rule], "beat") == sorted(expected)


def test_the_value_of_each_type_is_what_crossed() -> None:
    flows = [flow(n, n * 60, source_bytes=100) for n in range(10)]
    beat = own_rule("beat", "beacon", "base", group_by=["source.ip"], timespan="1h", size="source.bytes", minimum=5,
                    lasting="4m", score=0.9)
    far = own_rule("far", "deviation", "base", group_by=["source.ip"], metric="count", bucket="1m", history="10m",
                   minimum=3, above={"factor": 3, "floor": 2})
    quiet = own_rule("quiet", "deviation", "base", group_by=["source.ip"], metric="count", bucket="1m", history="5m",
                     minimum=5, below={"factor": 0, "floor": 1})
    beacon, = alerts(flows, [BASE, beat], "beat")
    assert (beacon.value, beacon.crossing, beacon.end) == (1.0, DAY + 240 * SECOND, DAY + 540 * SECOND)
    burst = [*flows, *(flow(20 + n, 545 + n) for n in range(4))]
    risen, = alerts(burst, [BASE, far], "far")
    assert (risen.value, risen.crossing, risen.end) == (2, DAY + 545 * SECOND, DAY + 548 * SECOND)
    silence, = alerts([*flows, flow(30, 790, source_ip="10.10.0.9")], [BASE, quiet], "quiet")
    assert (silence.value, silence.crossing, silence.end) == (0, DAY + 660 * SECOND, DAY + 780 * SECOND)
    assert silence.evidence == ("f9",)

"""What is known to have happened in a recording, and how the alerts measure up to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from ewdetect.load import only_document
from ewdetect.load.content import existing
from ewdetect.model import Alert
from ewdetect.network import IPNetwork
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.schemas import validate
from ewdetect.yamlfile import Document

# Sensor and step clock differ by scheduling, and a flow's first packet may precede the command's own note of the time.
SLACK = 5_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done. Times are microseconds since 1970 UTC; `rules` must fire, or the list is empty."""

    id: str
    attack: bool
    start: int
    end: int
    source: IPNetwork
    destinations: tuple[IPNetwork, ...]
    technique: str
    tool: str
    rules: tuple[str, ...]
    note: str
    location: Location


@dataclass(frozen=True, slots=True)
class Truth:
    path: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one step: its alerts by rule, and the rules that stayed quiet."""

    step: Step
    alerts: Mapping[str, tuple[Alert, ...]]
    missed: tuple[str, ...]

    @property
    def word(self) -> str:
        if not self.step.rules:
            return "no rule" if self.step.attack else "everyday"
        return f"missed {', '.join(self.missed)}" if self.missed else "caught"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on every step, and the alerts that belong to none."""

    verdicts: tuple[Verdict, ...]
    false: tuple[Alert, ...]

    @property
    def caught(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.step.rules and not v.missed)

    @property
    def missed(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.missed)

    @property
    def without_rule(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.step.attack and not v.step.rules)

    @property
    def passed(self) -> bool:
        return not self.missed and not self.false


def load_truth(path: Path | str) -> Truth:
    """A truth file. Raises Rejected with every problem."""
    document = only_document(existing(Path(path)), "truth")
    if problems := validate(document, "truth"):
        raise Rejected(problems)
    return truth_from(document)


def truth_from(document: Document) -> Truth:
    """A Truth of a document that satisfies truth.schema.json. Raises Rejected for bad times and addresses."""
    reader = _Reader(document)
    steps = tuple(reader.step(n, raw) for n, raw in enumerate(document.data["steps"]))
    if reader.problems:
        raise Rejected(reader.problems)
    return Truth(document.path, steps)


def judge(alerts: Sequence[Alert], truth: Truth) -> Judgement:
    """Give each alert to the step that it belongs to.

    It belongs to a step that names its rule, whose source is in the alert (or one of whose destinations is in its
    group, as the host in the middle of a pivot is), and that was going on at the crossing, give or take SLACK. Of
    several such steps the nearest in time has it.
    """
    owned: dict[tuple[str, str], list[Alert]] = {}
    false = []
    for alert in alerts:
        candidates = [step for step in truth.steps if _belongs(alert, step)]
        if candidates:
            step = min(candidates, key=lambda s: _distance(alert.crossing, s))
            owned.setdefault((step.id, alert.rule.name), []).append(alert)
        else:
            false.append(alert)
    return Judgement(tuple(_verdict(step, owned) for step in truth.steps), tuple(false))


def _verdict(step: Step, owned: Mapping[tuple[str, str], Sequence[Alert]]) -> Verdict:
    alerts = {rule: tuple(owned[step.id, rule]) for rule in step.rules if (step.id, rule) in owned}
    return Verdict(step, alerts, tuple(rule for rule in step.rules if rule not in alerts))


def _belongs(alert: Alert, step: Step) -> bool:
    if alert.rule.name not in step.rules or _distance(alert.crossing, step) > SLACK:
        return False
    group = list(alert.group.values())
    seen = [*group, *(value for flow in alert.samples for value in flow.values())]
    return _any_in(seen, (step.source,)) or _any_in(group, step.destinations)


def _distance(time: int, step: Step) -> int:
    """Microseconds between a time and a step; 0 while it is going on."""
    return max(step.start - time, time - step.end, 0)


def _any_in(values: Sequence[Any], networks: Sequence[IPNetwork]) -> bool:
    addresses = [found for value in values if isinstance(value, str) and (found := _address(value))]
    return any(address in network for address in addresses for network in networks)


def _address(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        return None


class _Reader:
    """Turns steps into values and collects problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.ids: set[str] = set()

    def step(self, number: int, raw: Mapping[str, Any]) -> Step:
        if raw["id"] in self.ids:
            self._note("duplicate-id", number, "id", f"another step is called `{raw['id']}`", "rename one of them")
        self.ids.add(raw["id"])
        start, end = self._time(number, "start", raw), self._time(number, "end", raw)
        if end < start:
            self._note("ends-before-start", number, "end", "the step ends before it starts", "exchange the two times")
        return Step(
            id=raw["id"], attack=raw["kind"] == "attack", start=start, end=end,
            source=self._network(number, "source", raw["source"]),
            destinations=tuple(self._network(number, "destinations", text) for text in raw.get("destinations", ())),
            technique=raw.get("technique") or "", tool=raw.get("tool", ""), rules=tuple(raw.get("rules", ())),
            note=raw.get("note", ""), location=self.document.at("steps", number))

    def _time(self, number: int, key: str, raw: Mapping[str, Any]) -> int:
        try:
            return (datetime.fromisoformat(raw[key]) - _EPOCH) // timedelta(microseconds=1)
        except ValueError:
            self._note("bad-time", number, key, f"`{raw[key]}` is no time", "write it as 2026-11-23T10:00:00.000Z")
            return 0

    def _network(self, number: int, key: str, text: str) -> IPNetwork:
        try:
            return ip_network(text, strict=False)
        except ValueError:
            self._note("bad-address", number, key, f"`{text}` is no address and no CIDR", "write an address or a CIDR")
            return ip_network("::/128")

    def _note(self, code: str, number: int, key: str, message: str, fix: str) -> None:
        self.problems.append(Problem(f"truth/{code}", message, self.document.at("steps", number, key), fix))

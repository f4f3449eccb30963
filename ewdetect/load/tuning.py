"""ewdetect.toml: what one environment changes of the rules, and where its filters are. The rules stay as they ship."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ewdetect import schemas
from ewdetect.load.content import existing
from ewdetect.load.references import Surroundings, reference_problems
from ewdetect.model import Field, Kind, Pack, Rule
from ewdetect.problems import Location, Problem, Rejected, suggest
from ewdetect.tomlfile import read_toml
from ewdetect.yamlfile import Document

FILE = "ewdetect.toml"
_BOUNDS = ("gt", "gte", "lt", "lte", "eq", "neq")


@dataclass(frozen=True, slots=True)
class Tuning:
    """`rules` maps names to what is changed of them; `filters` are files and folders of Sigma filters."""

    document: Document
    rules: Mapping[str, Mapping[str, Any]]
    filters: tuple[Path, ...]

    def at(self, *path: str) -> Location:
        """The place of what is said of a rule: its name, and a knob."""
        return self.document.at("rules", *path)


class _NoKnob(Exception):
    """The rule does not have what is to be changed: why, and what to do instead."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.problem = (why, fix)


def load_tuning(path: Path) -> Tuning:
    """A tuning file, checked by itself. Raises Rejected, WorldFailed."""
    document = read_toml(existing(path))
    if problems := schemas.validate(document, "config"):
        raise Rejected(problems)
    return Tuning(document, document.data.get("rules", {}),
                  tuple(path.parent / name for name in document.data.get("filters", ())))


def tune(pack: Pack, tuning: Tuning, fields: Mapping[str, Field],
         elsewhere: frozenset[str]) -> tuple[Pack, list[Problem]]:
    """The pack as tuned, and what of the tuning cannot be. `elsewhere` are names of rules that are not in this pack
    and exist all the same: what is said of them counts when they are."""
    rules, problems = dict(pack.rules), list[Problem]()
    for name, knobs in tuning.rules.items():
        if name in rules:
            rules[name], wrong = _tuned(rules[name], knobs, tuning)
            problems += wrong
        elif name not in elsewhere:
            problems.append(Problem("config/unknown-rule", f"there is no rule `{name}` here", tuning.at(name),
                                    suggest(name, sorted({*pack.rules, *elsewhere}))))
    off = {name: tuning.at(name, "enabled") for name, knobs in tuning.rules.items() if knobs.get("enabled") is False}
    tuned = replace(pack, rules=rules, off={name: place for name, place in off.items() if name in rules})
    return tuned, [*problems, *_disagreements(pack, tuned, tuning, fields)]


def _tuned(rule: Rule, knobs: Mapping[str, Any], tuning: Tuning) -> tuple[Rule, list[Problem]]:
    """A rule with its knobs turned, each as far as it has one."""
    problems: list[Problem] = []
    for knob in (knob for knob in _KNOBS if knob in knobs):
        try:
            rule = _KNOBS[knob](rule, knobs[knob])
        except _NoKnob as none:
            why, fix = none.problem
            problems.append(Problem("config/no-such-knob", f"`{rule.name}` has no {knob} to change: {why}",
                                    tuning.at(rule.name, knob), fix))
    return rule, problems


def _threshold(rule: Rule, value: float) -> Rule:
    if rule.kind is Kind.BEACON:
        return _edited(rule, ("ewdetect",), "score", value)
    if rule.kind is Kind.DEVIATION:
        return _edited(rule, ("ewdetect", "above" if "above" in rule.meta else "below"), "factor", value)
    if rule.kind is not Kind.CORRELATION:
        raise _NoKnob(_KIND.get(rule.kind, "it looks at single flows"), _INSTEAD)
    condition = rule.body["correlation"].get("condition") or {}
    bounds = [word for word in _BOUNDS if word in condition]
    if len(bounds) != 1:
        raise _NoKnob("its condition has " + (f"{len(bounds)} bounds" if bounds else "no bound"), _INSTEAD)
    return _edited(rule, ("correlation", "condition"), bounds[0], value)


def _timespan(rule: Rule, value: str) -> Rule:
    if rule.kind not in (Kind.CORRELATION, Kind.BEACON):
        raise _NoKnob(_KIND.get(rule.kind, "it looks at single flows"), _INSTEAD)
    return _edited(rule, ("correlation" if rule.kind is Kind.CORRELATION else "ewdetect",), "timespan", value)


def _level(rule: Rule, value: str) -> Rule:
    return replace(_alerting(rule), level=value, body={**rule.body, "level": value})


def _enabled(rule: Rule, value: bool) -> Rule:
    return replace(_alerting(rule), alerts=value)


def _alerting(rule: Rule) -> Rule:
    if not rule.alerts:
        raise _NoKnob("it never alerts by itself", "name the rule that stands on it")
    return rule


_INSTEAD = "take flows away with a Sigma filter, or change its level"
_KIND = {Kind.FIRST_SEEN: "it looks for what is new and counts nothing",
         Kind.DEVIATION: "it compares buckets, and has no window"}
# `enabled` stands last, because a rule that is off has no level to change.
_KNOBS: Mapping[str, Callable[[Rule, Any], Rule]] = {
    "threshold": _threshold, "timespan": _timespan, "level": _level, "enabled": _enabled}


def _edited(rule: Rule, path: tuple[str, ...], key: str, value: Any) -> Rule:
    """The rule with one value of its document changed; the document as read stays as it is."""
    body = copy.deepcopy(dict(rule.body))
    part = body
    for step in path:
        part = part[step]
    part[key] = value
    return replace(rule, body=body)


def _disagreements(before: Pack, after: Pack, tuning: Tuning, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """What the rules would be refused for if they had been written as they are now, at the place of the tuning."""
    for name in (name for name in tuning.rules if name in after.rules):
        known = {problem.message for problem in _refused(before.rules[name], before, fields)}
        yield from (replace(problem, location=tuning.at(name)) for problem in _refused(after.rules[name], after, fields)
                    if problem.message not in known)


def _refused(rule: Rule, pack: Pack, fields: Mapping[str, Field]) -> Iterator[Problem]:
    names = frozenset([*pack.rules, *(rule.id for rule in pack.rules.values())])
    yield from schemas.validate(replace(rule.document, data=rule.body), "rule")
    yield from reference_problems((rule,), Surroundings(pack, fields, names))

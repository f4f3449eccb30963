"""What the documents of a pack say of each other: correlations, their fields and aliases, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ewdetect.load.own import own_problems
from ewdetect.model import OWN_KINDS, Field, Kind, Pack, Rule
from ewdetect.problems import Problem, suggest
from ewdetect.resolve import filter_hits
from ewdetect.yamlfile import Path_

_NUMERIC = ("port", "integer", "number")
_ARITHMETIC = ("value_sum", "value_avg", "value_median", "value_percentile")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule may refer to. `names` are also those of documents that are there but were not understood.

    `elsewhere` are names and ids of rules that exist and are not in this pack: a filter on them waits for them.
    """

    pack: Pack
    fields: Mapping[str, Field]
    names: frozenset[str]
    elsewhere: frozenset[str] = frozenset()


def reference_problems(rules: tuple[Rule, ...], around: Surroundings) -> Iterator[Problem]:
    """Everything that is wrong between the documents of a pack."""
    missing = [problem for rule in rules for problem in _missing(rule, around)]
    cycles = list(_cycles(around.pack))
    yield from missing
    yield from cycles
    for rule in rules:
        yield from _metadata(rule, around)
        if rule.kind is Kind.CORRELATION and not cycles:
            yield from _correlation(rule, around)
        if rule.kind in OWN_KINDS:
            yield from own_problems(rule, around.pack, around.fields)
        if rule.kind is Kind.FILTER:
            yield from _filter(rule, around)


def _missing(rule: Rule, around: Surroundings) -> Iterator[Problem]:
    for index, name in enumerate(rule.refers_to if rule.derived else ()):
        if around.pack.find(name) is None and name not in around.names:
            path: Path_ = ("ewdetect", "rule") if rule.kind in OWN_KINDS else ("correlation", "rules", index)
            yield Problem("rule/missing-reference", f"`{rule.name}` refers to `{name}`, which is not in the pack",
                          rule.document.at(*path), suggest(name, sorted(around.names)))


def _cycles(pack: Pack) -> Iterator[Problem]:
    """Each ring of correlations once, at the member that comes first in the pack."""
    reported: set[str] = set()
    for rule in pack.rules.values():
        ring = _ring(rule, pack)
        if ring and not reported & set(ring):
            reported |= set(ring)
            yield Problem("rule/cyclic-correlation", f"correlations go round in a ring: {' → '.join(ring)}",
                          rule.document.at("correlation", "rules"), "let one of them refer to an event rule instead")


def _ring(start: Rule, pack: Pack) -> list[str]:
    """The shortest way from a rule back to itself, both ends included; empty where there is none."""
    ways, seen = [[start]], set[str]()
    for way in ways:                            # grows while it is read: breadth first
        for reference in way[-1].refers_to:
            found = pack.find(reference)
            if found is not None and found.name == start.name:
                return [rule.name for rule in (*way, start)]
            if found is not None and found.name not in seen:
                seen.add(found.name)
                ways.append([*way, found])
    return []


def _metadata(rule: Rule, around: Surroundings) -> Iterator[Problem]:
    """Field names in our own block: suppress.by, needs, distinct."""
    known, needs = list(around.fields), rule.meta.get("needs") or {}
    for index, name in enumerate((rule.meta.get("suppress") or {}).get("by", ())):
        yield from _unknown(rule, name, known, ("ewdetect", "suppress", "by", index))
    for index, name in enumerate(needs.get("telemetry", ())):
        if "." in name:                         # without a dot it is a trait of the source
            yield from _unknown(rule, name, known, ("ewdetect", "needs", "telemetry", index))
    attributes = [f.name.partition(".")[2] for f in around.fields.values() if f.origin == "context"]
    for index, name in enumerate(needs.get("context", ())):
        yield from _unknown(rule, name, list(dict.fromkeys(attributes)), ("ewdetect", "needs", "context", index))
    yield from _distinct(rule)


def _unknown(rule: Rule, name: str, known: list[str], path: Path_) -> Iterator[Problem]:
    if name not in known:
        yield Problem("rule/unknown-field", f"`{name}` is not known here", rule.document.at(*path),
                      suggest(name, known))


def _distinct(rule: Rule) -> Iterator[Problem]:
    names = rule.meta.get("distinct", ())
    correlation = rule.body.get("correlation") or {}
    if names and (correlation.get("type") != "temporal_ordered" or len(rule.refers_to) != 2):
        yield Problem("rule/distinct-needs-steps", "`distinct` compares the two steps of a temporal_ordered",
                      rule.document.at("ewdetect", "distinct"), "remove it, or make the correlation one of two steps")
    aliases = list(correlation.get("aliases") or ())
    for index, name in enumerate(names):
        if name not in aliases:
            yield Problem("rule/unknown-alias", f"`{name}` is not an alias of this correlation",
                          rule.document.at("ewdetect", "distinct", index),
                          suggest(name, aliases) if aliases else f"define it: `aliases: {{{name}: …}}`")


def _correlation(rule: Rule, around: Surroundings) -> Iterator[Problem]:
    body = rule.body["correlation"]
    aliases = body.get("aliases") or {}
    yield from _aliases(rule, aliases, around)
    for index, name in enumerate(body.get("group-by", ())):
        yield from _carried_by_all(rule, name, aliases, around, ("correlation", "group-by", index))
    condition = body.get("condition") or {}
    if "field" in condition:
        yield from _counted(rule, body["type"], condition["field"], aliases, around)


def _aliases(rule: Rule, aliases: Mapping[str, Mapping[str, str]], around: Surroundings) -> Iterator[Problem]:
    for alias, meanings in aliases.items():
        path: Path_ = ("correlation", "aliases", alias)
        for reference, field in meanings.items():
            if reference not in rule.refers_to:
                yield Problem("rule/alias-of-stranger", f"`{reference}` is not among the rules correlated here",
                              rule.document.at(*path, reference), suggest(reference, rule.refers_to))
            else:
                yield from _carried(rule, field, reference, around, (*path, reference))
        if lacking := [name for name in rule.refers_to if name not in meanings]:
            yield Problem("rule/incomplete-alias", f"`{alias}` says nothing for {_listed(lacking)}; no group can form",
                          rule.document.at(*path), "name a field for every rule of the correlation")


def _counted(rule: Rule, kind: str, name: str, aliases: Mapping[str, Any], around: Surroundings) -> Iterator[Problem]:
    path: Path_ = ("correlation", "condition", "field")
    yield from _carried_by_all(rule, name, aliases, around, path)
    field = around.fields.get(name)
    if kind in _ARITHMETIC and field is not None and field.type not in _NUMERIC:
        yield Problem("rule/bad-value-type", f"{kind} needs numbers, and `{name}` holds {field.type} values",
                      rule.document.at(*path), "name a numeric field, or use value_count")


def _carried_by_all(rule: Rule, name: str, aliases: Mapping[str, Any], around: Surroundings,
                    path: Path_) -> Iterator[Problem]:
    """One problem where some correlated rule's events do not have the field `name`."""
    if name not in aliases:
        words = tuple(aliases)
        found = [p for reference in rule.refers_to for p in _carried(rule, name, reference, around, path, words)]
        yield from found[:1]


def _carried(rule: Rule, name: str, reference: str, around: Surroundings, path: Path_,
             aliases: tuple[str, ...] = ()) -> Iterator[Problem]:
    """A field of the events that `reference` yields: flows have all fields, alerts of a correlation its group."""
    target = around.pack.find(reference)
    if target is None:
        return
    inner = _groups(target)
    known = list(around.fields) if inner is None else inner
    if name not in known:
        message = (f"alerts of `{reference}` carry only its group-by fields; `{name}` is none of them"
                   if inner is not None else f"`{name}` is not a field of a flow")
        yield Problem("rule/unknown-field", message, rule.document.at(*path), suggest(name, [*known, *aliases]))


def _groups(target: Rule) -> list[str] | None:
    """What alerts of a rule carry; None where its events are flows, as those of a first_seen are."""
    if target.kind is Kind.CORRELATION:
        return list(target.body["correlation"].get("group-by", ()))
    return list(target.meta["group-by"]) if target.kind in (Kind.DEVIATION, Kind.BEACON) else None


def _filter(rule: Rule, around: Surroundings) -> Iterator[Problem]:
    events = [r for r in around.pack.rules.values() if r.kind is Kind.EVENT]
    if "any" in rule.refers_to:
        if not any(filter_hits(rule, event) for event in events):
            yield _no_hit(rule, None, "no rule of the pack has a log source that it covers", "widen its logsource")
        return
    for index, name in enumerate(rule.refers_to):
        if name in around.names | around.elsewhere and around.pack.find(name) is None:
            continue                            # it has problems of its own, or is of another pack
        if problem := _missed(rule, index, name, around.pack, [e.name for e in events]):
            yield problem


def _missed(rule: Rule, index: int, name: str, pack: Pack, events: list[str]) -> Problem | None:
    target = pack.find(name)
    if target is None:
        return _no_hit(rule, index, f"there is no rule `{name}`", suggest(name, events))
    if target.derived:
        what = "a correlation" if target.kind is Kind.CORRELATION else f"a rule of type {target.kind}"
        return _no_hit(rule, index, f"`{name}` is {what}, and filters apply to event rules only",
                       f"name what it stands on: {_listed(target.refers_to)}")
    if not filter_hits(rule, target):
        return _no_hit(rule, index, f"its log source does not cover that of `{name}`", "widen its logsource")
    return None


def _no_hit(rule: Rule, index: int | None, message: str, fix: str) -> Problem:
    is_list = isinstance(rule.body["filter"]["rules"], list)
    path: Path_ = ("filter", "rules", index) if is_list and index is not None else ("filter", "rules")
    return Problem("filter/hits-nothing", f"the filter hits nothing: {message}", rule.document.at(*path), fix)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)

"""Correlations as one search: the events of all rules, tagged, then one stage after the other.

An inner correlation adds its crossings to the rows with `appendpipe`, which is no subsearch and has no limit of rows;
outer stages then find them by their tag, like events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR

from ewdetect.backends import predicate
from ewdetect.backends.base import Query, refuse_base, unsupported
from ewdetect.backends.predicate import Condition, Setting, Target
from ewdetect.backends.splunk.columns import Reader
from ewdetect.backends.splunk.rows import Column, Commands, Inputs, numbers, quoted
from ewdetect.backends.splunk.stages import seconds, steps, window
from ewdetect.backends.tree import simplified
from ewdetect.model import Kind
from ewdetect.plan import Key, Selection, Stage, Steps, Window, plan
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import schedule

CANNOT: Mapping[str, str] = {
    "avg": "a running sum and a running count have no exact quotient to compare with; use `value_sum`",
    "median": "it has no sliding form, and `median()` does not document an even number of values",
    "percentile": "it has no sliding form, and `perc()` takes the nearest rank, not the interpolated one",
    "sum of fractions": "a running sum of fractions drifts from the sum of a window",
    "several distinct aliases": "two steps are compared by the least and the greatest of one value",
    "distinct over more than two steps": "only two steps can be compared",
    "name of a key": "a column's name can hold letters, digits, `_`, `.`, `-` and blanks",
}
_WINDOWED = ("count", "distinct", "sum", "temporal")
_NAME = re.compile(r"[A-Za-z][\w.\- ]*")
_EXACT = ("The search reports what crosses within its time range. Let the range begin at least {look_back} s before "
          "the first crossing that counts.")
_LATER = "Crossings near the beginning of the range may belong to an episode that began before it."
_TEXTS = "Addresses group by their text, letters aside: the sensor must spell an IPv6 address in one way."
_MEMORY = ("`mvexpand` cuts its result at max_mem_usage_mb of limits.conf (500 MB by default) and says so in the job: "
           "keep the time range short where very many flows match.")


@dataclass(frozen=True, slots=True)
class _Event:
    """An event rule of the correlation: its tag, its condition, and what of it can be asked before sums are made."""

    tag: str
    text: str
    early: str
    found: Condition


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The query of a rule that has windows or steps. Raises Rejected with every reason at once."""
    rule = resolved.rule
    refuse_base(rule, target.name)
    stages = plan(resolved)
    _check(resolved, stages, target)
    setting = _setting(resolved, context, target)
    tags = {stage.name: f"r{n}" for n, stage in enumerate(stages)}
    events = _events(resolved, setting, tags)
    text = " | ".join([*_tagged(events, setting, _is_tagged(stages)), *_correlated(resolved, stages, tags, setting)])
    clauses = sum(event.found.clauses for event in events)
    caveats = dict.fromkeys([
        *(caveat for event in events for caveat in event.found.caveats), *setting.vocabulary.caveats,
        *_caveats(stages), *predicate.size_caveats(setting, clauses, len(text))])
    return Query(rule.name, target.name, target.dialect, setting.source.name, context, text, tuple(caveats),
                 schedule(stages, setting.source))


def _setting(resolved: ResolvedRule, context: str, target: Target) -> Setting:
    """The setting, with names for the sums whose parts the source has."""
    plain = predicate.setting_of(resolved, context, target)
    sums = {name: f"ew_{name.replace('.', '_')}" for name, parts in plain.vocabulary.sums.items()
            if name not in plain.names and all(part in plain.names for part in parts)}
    return replace(plain, names={**plain.names, **sums})


def _check(resolved: ResolvedRule, stages: Sequence[Stage], target: Target) -> None:
    """Raises Rejected for every construct that has no exact form."""
    documents = {part.name: part for part in resolved.parts}
    found = [(documents.get(stage.name, resolved.rule), construct) for stage in stages
             for construct in _constructs(stage)]
    if found:
        raise Rejected([unsupported(rule, target.name, construct, CANNOT[construct], rule.document.at("correlation"))
                        for rule, construct in found])


def _constructs(stage: Stage) -> Iterator[str]:
    if isinstance(stage, Selection):
        return
    if any(not _NAME.fullmatch(key.name) for key in stage.keys):
        yield "name of a key"
    if isinstance(stage, Window) and stage.measure.function not in _WINDOWED:
        yield stage.measure.function
    if isinstance(stage, Steps) and len(stage.distinct) > 1:
        yield "several distinct aliases"
    if isinstance(stage, Steps) and stage.distinct and len(stage.inputs) != 2:
        yield "distinct over more than two steps"


# ---------------------------------------------------------------- events

def _events(resolved: ResolvedRule, setting: Setting, tags: Mapping[str, str]) -> list[_Event]:
    """The event rules below. Raises Rejected with the problems of all of them."""
    events: list[_Event] = []
    problems: list[Problem] = []
    for part in resolved.parts:
        if part.kind is not Kind.EVENT:
            continue
        try:
            found = predicate.condition(part, resolved, setting)
            early = simplified(_without(found.tree, _sums(setting)))
            text, sooner = (predicate.spelt(tree, found.state, part, setting) for tree in (found.tree, early))
            events.append(_Event(tags[part.name], text, sooner, found))
        except Rejected as rejected:
            problems += rejected.problems
    if problems:
        raise Rejected(list(dict.fromkeys(problems)))
    return events


def _sums(setting: Setting) -> Mapping[str, Sequence[str]]:
    """Sum → its parts, all by Splunk's names."""
    names = setting.names
    return {names[name]: [names[part] for part in parts] for name, parts in setting.vocabulary.sums.items()
            if names.get(name, "").startswith("ew_")}


def _without(node: Any, names: Iterable[str], positive: bool = True) -> Any:
    """A condition that holds wherever `node` does, without a word on some fields."""
    match node:
        case ConditionAND() | ConditionOR():
            return type(node)([_without(arg, names, positive) for arg in node.args])
        case ConditionNOT():
            return ConditionNOT([_without(node.args[0], names, not positive)])
        case ConditionFieldEqualsValueExpression() if node.field in names:
            return positive
    return node


def _is_tagged(stages: Sequence[Stage]) -> bool:
    """One rule needs no tags, unless they are what is counted."""
    return len(stages) > 2 or any(isinstance(s, Window) and s.measure.function == "temporal" for s in stages)


def _tagged(events: Sequence[_Event], setting: Setting, tagged: bool) -> Commands:
    """The events that match any rule, each with the tags of all rules that it matches."""
    sums = {name: parts for name, parts in _sums(setting).items() if any(name in event.text for event in events)}
    commands = [f"search {_any(event.early for event in events)}"]
    if sums:
        commands.append("eval " + ", ".join(f"{name}={numbers(parts)}" for name, parts in sums.items()))
    if tagged:
        found = ",".join(f"if(searchmatch({quoted(event.text)}),{quoted(event.tag)},null())" for event in events)
        commands += [f"eval ew_rule=mvappend({found})", "where isnotnull(ew_rule)"]
    elif sums:
        commands.append(f"search {_any(event.text for event in events)}")
    return commands


def _any(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else " OR ".join(f"({text})" for text in found)


# ---------------------------------------------------------------- stages

def _correlated(resolved: ResolvedRule, stages: Sequence[Stage], tags: Mapping[str, str], setting: Setting) -> Commands:
    """Each inner correlation beside the events, then the last one alone."""
    reader = Reader(resolved, setting)
    upper = [stage for stage in stages if isinstance(stage, Window | Steps)]
    commands: Commands = []
    for stage in upper:
        inputs = _inputs(stage, stages, tags, reader)
        found = window(stage, inputs) if isinstance(stage, Window) else steps(stage, inputs)
        if stage is upper[-1]:
            commands += [*found, *_named(stage.keys, setting)]
        else:
            commands.append(f"appendpipe [ {' | '.join([*found, *_hits(stage.keys, tags[stage.name])])} ]")
    return commands


def _hits(keys: Sequence[Key], tag: str) -> Commands:
    """A crossing as an event: its time, its tag and its keys."""
    renamed = ", ".join(f"ew_k{n} AS ew_h{n}" for n in range(len(keys)))
    kept = " ".join(["_time", "ew_rule", *(f"ew_h{n}" for n in range(len(keys)))])
    return [*([f"rename {renamed}"] if keys else []), f"eval ew_rule={quoted(tag)}", f"fields {kept}"]


def _named(keys: Sequence[Key], setting: Setting) -> Commands:
    """The columns of an alert: time, keys under Splunk's names, measure."""
    names = [setting.names.get(key.name, key.name) for key in keys]
    kept = " ".join(["_time", *(f"ew_k{n}" for n in range(len(keys))), "ew_value"])
    renamed = ", ".join(f"ew_k{n} AS {quoted(name)}" for n, name in enumerate(names))
    return [f"fields {kept}", *([f"rename {renamed}"] if keys else [])]


def _inputs(stage: Window | Steps, stages: Sequence[Stage], tags: Mapping[str, str], reader: Reader) -> Inputs:
    below = {found.name: found for found in stages}

    def column(name: str, fields: Mapping[str, str]) -> Column:
        return Column(name, {tags[source]: _read(field, below[source], reader) for source, field in fields.items()})

    keys = [column(f"ew_k{n}", {s: key.fields[s] for s in stage.inputs}) for n, key in enumerate(stage.keys)]
    if isinstance(stage, Steps):
        values = [column(f"ew_v{n}", {s: key.fields[s] for s in stage.inputs}) for n, key in enumerate(stage.distinct)]
    else:
        width = len(next(iter(stage.measure.fields.values())))
        values = [column(f"ew_v{n}", {s: stage.measure.fields[s][n] for s in stage.inputs}) for n in range(width)]
        _whole(stage, reader)
    return Inputs(tuple(tags[s] for s in stage.inputs), tuple(keys), tuple(values), _is_tagged(stages))


def _read(field: str, below: Stage, reader: Reader) -> str:
    """A field of an event, or a key of an inner correlation's hit."""
    if isinstance(below, Selection):
        return reader.expression(field)
    return f"ew_h{[key.name for key in below.keys].index(field)}"


def _whole(stage: Window, reader: Reader) -> None:
    """Raises Rejected for a sum of other than whole numbers."""
    fields = reader.setting.fields
    if stage.measure.function == "sum" and any(
            fields[name].type != "integer" for names in stage.measure.fields.values() for name in names
            if name in fields):
        rule = reader.resolved.rule
        raise Rejected([unsupported(rule, reader.setting.target.name, "sum of fractions", CANNOT["sum of fractions"],
                                    rule.document.at("correlation", "condition"))])


# ---------------------------------------------------------------- caveats

def _caveats(stages: Sequence[Stage]) -> Iterator[str]:
    upper = [stage for stage in stages if not isinstance(stage, Selection)]
    windows = [stage for stage in upper if isinstance(stage, Window)]
    yield _EXACT.format(look_back=_look_back(stages))
    if len(upper) > 1 or any(t.operator not in ("gt", "gte") for stage in windows for t in stage.thresholds):
        yield _LATER
    if windows or len(stages) > 2:
        yield _MEMORY
    if any(stage.keys for stage in upper):
        yield _TEXTS


def _look_back(stages: Sequence[Stage]) -> int:
    """The timespans of the longest road from the last stage to the events, in seconds."""
    found: dict[str, int] = {}
    for stage in stages:
        found[stage.name] = 0 if isinstance(stage, Selection) else (
            seconds(stage.timespan) + max(found[name] for name in stage.inputs))
    return found[stages[-1].name]

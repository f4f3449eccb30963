"""The rows that stages begin with: the flows that match any event rule of a detection, each with the rules' tags.

From raw events, or from the summaries of a data model: one row for each second and combination of the fields that the
detection reads, with the number of flows in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sigma.conditions import ConditionOR

from ewdetect.backends import predicate
from ewdetect.backends.context import SIDES
from ewdetect.backends.events import any_of, conditions_of, sums_of, with_sums
from ewdetect.backends.predicate import Condition, Setting, Target
from ewdetect.backends.splunk import context
from ewdetect.backends.splunk.columns import Reader
from ewdetect.backends.splunk.period import started
from ewdetect.backends.splunk.rows import Commands, numbers, quoted
from ewdetect.backends.splunk.trees import fields_in, renamed, summarised
from ewdetect.backends.tree import simplified, without
from ewdetect.model import Rule
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule

WEIGHT = "ew_count"
_OWN = ("_time", "index", "sourcetype", "host", "source")       # what `tstats` knows without the dataset's name


@dataclass(frozen=True, slots=True)
class Event:
    """An event rule of a detection: its tag and its condition."""

    tag: str
    rule: Rule
    found: Condition


def setting_of(resolved: ResolvedRule, context_: str, target: Target) -> Setting:
    """The setting, with names for the sums whose parts the source has. Raises Rejected."""
    plain = predicate.setting_of(resolved, context_, target)
    if why := plain.vocabulary.cannot.get("event.start"):
        raise Rejected([Problem(
            "convert/unsupported", f"`{resolved.rule.name}`: {target.name} ({target.dialect}) cannot say "
            f"`event.start` of `{plain.source.name}`: {why}", resolved.rule.document.at("title"),
            "convert with --dialect spl")])
    return with_sums(plain)


def events_of(resolved: ResolvedRule, setting: Setting, tags: Mapping[str, str]) -> list[Event]:
    """The event rules that a detection stands on. Raises Rejected with the problems of all of them."""
    return [Event(tags[rule.name], rule, found) for rule, found in conditions_of(resolved, setting)]


def commands(events: Sequence[Event], read: Collection[str], setting: Setting, tagged: bool) -> Commands:
    """The rows. `read` are the canonical fields that later stages look at."""
    model = setting.vocabulary.model
    record = record_fields(setting) if model else ()
    trees = [without(event.found.tree, record) for event in events]
    used = {*(name for tree in trees for name in fields_in(tree)), *_targets(read, setting)}
    sums = {name: parts for name, parts in sums_of(setting).items() if name in used}
    after = {*sums, *context.late(setting)}
    first = _summaries(events, used | {p for parts in sums.values() for p in parts}, after, setting) if model else [
        f"search {any_of(_spelt(without(e.found.tree, after), e, setting) for e in events)}", *started(setting)]
    texts = [_spelt(tree, event, setting) for tree, event in zip(trees, events, strict=True)]
    fetched = [*_added(sums), *context.commands(used, setting)]
    if tagged:
        found = ",".join(f"if(searchmatch({quoted(text)}),{quoted(event.tag)},null())"
                         for text, event in zip(texts, events, strict=True))
        return [*first, *fetched, f"eval ew_rule=mvappend({found})", "where isnotnull(ew_rule)"]
    return [*first, *fetched, *([f"search {any_of(texts)}"] if fetched or model else [])]


def record_fields(setting: Setting) -> frozenset[str]:
    """The fields by which the mapping tells this source's events from others."""
    return frozenset(setting.vocabulary.conditions())


def _targets(read: Collection[str], setting: Setting) -> set[str]:
    """Splunk's fields behind canonical ones, with those that tell whether they are meant."""
    reader_needs = {name for name in read if name in setting.vocabulary.guarded or name in setting.vocabulary.values}
    extra = {"network.transport", "source.ip"} if reader_needs else set()
    return {setting.names[name] for name in {*read, *extra} if name in setting.names}


def _added(sums: Mapping[str, Sequence[str]]) -> Commands:
    return ["eval " + ", ".join(f"{name}={numbers(parts)}" for name, parts in sums.items())] if sums else []


def _spelt(tree: Any, event: Event, setting: Setting) -> str:
    return "*" if tree is True else predicate.spelt(tree, event.found.state, event.rule, setting)


# ---------------------------------------------------------------- data model

def _summaries(events: Sequence[Event], used: Collection[str], after: Collection[str], setting: Setting) -> Commands:
    """`tstats` over the dataset, fields under their short names, and what is missing as null."""
    model = setting.vocabulary.model
    dataset = model["dataset"].rpartition(".")[2]
    addresses = {setting.names[f"{side}.ip"] for side in SIDES}
    fields = sorted((set(used) | addresses) - set(after) - record_fields(setting))
    lower = {setting.names[n] for n, letters in setting.vocabulary.letters.items() if letters == "lower"}
    weak = [summarised(without(e.found.tree, after), lower | record_fields(setting)) for e in events]
    tree = renamed(simplified(ConditionOR(weak)) if len(weak) > 1 else weak[0], f"{dataset}.", _OWN)
    missing = ", ".join(f"{name}=if({name}={_literal(model['missing'].get(name, model['fill']))},null(),{name})"
                        for name in fields)
    return [f"tstats `ewdetect_summaries` fillnull_value={model['fill']} count AS {WEIGHT} "
            f"from datamodel={model['dataset']} where {_spelt(tree, events[0], setting)} "
            f"by _time span=1s {' '.join(f'{dataset}.{name}' for name in fields)}",
            "rename " + ", ".join(f"{dataset}.{name} AS {name}" for name in fields), f"eval {missing}"]


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else quoted(str(value))


def reader_of(resolved: ResolvedRule, setting: Setting) -> Reader:
    """What reads the columns of the rows."""
    return Reader(resolved, setting, record_fields(setting) if setting.vocabulary.model else frozenset())

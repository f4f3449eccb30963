"""A rule as one search: the flows of all event rules, tagged, then one stage after the other, then the period's hits.

An inner correlation adds its crossings to the rows with `appendpipe`, which is no subsearch and has no limit of rows;
outer stages then find them by their tag, like events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ewdetect.backends import predicate
from ewdetect.backends.base import Query, refuse_base, unsupported
from ewdetect.backends.predicate import Setting, Target
from ewdetect.backends.splunk import context as enrichment
from ewdetect.backends.splunk.columns import Reader
from ewdetect.backends.splunk.events import WEIGHT, commands, events_of, reader_of, setting_of
from ewdetect.backends.splunk.period import (
    MORE,
    caveats,
    filter_macro,
    guard,
    names_zone,
    run_of,
    schedule_of,
    true_of_nothing,
)
from ewdetect.backends.splunk.rows import Column, Commands, Inputs, quoted
from ewdetect.backends.splunk.stages import is_first, seconds, steps, window
from ewdetect.plan import Key, Selection, Stage, Steps, Window, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule

CANNOT: Mapping[str, str] = {
    "avg": "a running sum and a running count have no exact quotient to compare with; use `value_sum`",
    "median": "it has no sliding form, and `median()` does not document an even number of values",
    "percentile": "it has no sliding form, and `perc()` takes the nearest rank, not the interpolated one",
    "sum of fractions": "a running sum of fractions drifts from the sum of a window",
    "several distinct aliases": "two steps are compared by the least and the greatest of one value",
    "distinct over more than two steps": "only two steps can be compared",
    "name of a key": "a column's name can hold letters, digits, `_`, `.`, `-` and blanks",
    "condition that silence fulfils": "whether it held before is a question about all time, and a run has a part of it",
    "reserved name of a key": "an alert has a column of this name, or Enterprise Security takes it for a risk",
}
_WINDOWED = ("count", "distinct", "sum", "temporal")
_NAME = re.compile(r"[A-Za-z][\w.\- ]*")
# Our own columns, and the names by which results override every risk of a detection.
_RESERVED = frozenset(("value", "window_start", "window_end", "risk_object", "risk_object_type", "risk_score",
                       "risk_message"))
_TRIAGE = ("source.ip", "destination.ip", "destination.port")
_TEXTS = "Addresses group by their text, letters aside: the sensor must spell an IPv6 address in one way."
_MEMORY = ("`mvexpand` cuts its result at max_mem_usage_mb of limits.conf (500 MB by default) and says so in the job: "
           "it has up to two rows for each {what} of the time range.")
_LOOKUP = ("The lookup `{name}` must hold the same network, as docs/splunk.md says; beyond max_memtable_bytes of "
           "limits.conf (25 MB) Splunk reads it from disk.")
_MODEL = ("The macro `ewdetect_summaries` must exist; its definition is `summariesonly=false allow_old_summaries=true` "
          "until a site knows that its summaries are complete.")
_ZONE = ("`{field}` names no time zone, and `strptime` reads it in that of the user who owns the search: it must be "
         "the zone in which the sensor writes, or windows lie in another hour.")
_AGREE = "Flows of one second that agree in every field that the rule reads are one alert."


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The query of a rule. Raises Rejected with every reason at once."""
    rule = resolved.rule
    refuse_base(rule, target.name)
    stages = plan(resolved)
    _check(resolved, stages, target)
    setting = setting_of(resolved, context, target)
    tags = {stage.name: f"r{n}" for n, stage in enumerate(stages)}
    events = events_of(resolved, setting, tags)
    read = [name for name in _read_by(stages) if name in setting.names]
    planned = schedule_of(rule, stages, setting)
    run = run_of(planned, setting)
    found = [*commands(events, read, setting, _is_tagged(stages)), *_correlated(resolved, stages, tags, setting),
             *guard(run), *_named(stages, setting), f"`{filter_macro(rule.name)}`"]
    text = ("| " if setting.vocabulary.model else "") + " | ".join(found)
    clauses = sum(event.found.clauses for event in events)
    said = dict.fromkeys([
        *(c for event in events for c in event.found.caveats if not _is_replaced(c, setting)),
        *setting.vocabulary.caveats, *caveats(rule, stages, run), *_caveats(stages, setting),
        *predicate.size_caveats(setting, clauses, len(text))])
    return Query(rule.name, target.name, target.dialect, setting.source.name, context, text, tuple(said), planned)


def _is_replaced(caveat: str, setting: Setting) -> bool:
    """The general sentence on enrichment, which the one on our lookup says better."""
    return setting.context == "enriched" and caveat.startswith("The fields of the network context must be filled")


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
    if any(key.name in _RESERVED for key in stage.keys):
        yield "reserved name of a key"
    if isinstance(stage, Window) and stage.measure.function not in _WINDOWED:
        yield stage.measure.function
    if isinstance(stage, Window) and true_of_nothing(stage.thresholds):
        yield "condition that silence fulfils"
    if isinstance(stage, Steps) and len(stage.distinct) > 1:
        yield "several distinct aliases"
    if isinstance(stage, Steps) and stage.distinct and len(stage.inputs) != 2:
        yield "distinct over more than two steps"


def _is_tagged(stages: Sequence[Stage]) -> bool:
    """One rule needs no tags, unless they are what is counted."""
    return len(stages) > 2 or any(isinstance(s, Window) and s.measure.function == "temporal" for s in stages)


def _read_by(stages: Sequence[Stage]) -> Iterator[str]:
    """The canonical fields that stages group by and measure, and those that an analyst is shown."""
    for stage in stages:
        if isinstance(stage, Selection):
            continue
        for key in (*stage.keys, *(stage.distinct if isinstance(stage, Steps) else ())):
            yield from key.fields.values()
        if isinstance(stage, Window):
            yield from (name for names in stage.measure.fields.values() for name in names)
    if is_first(stages[-1]):
        yield from _TRIAGE


# ---------------------------------------------------------------- stages

def _correlated(resolved: ResolvedRule, stages: Sequence[Stage], tags: Mapping[str, str], setting: Setting) -> Commands:
    """Each inner correlation beside the events, then the last one alone."""
    reader = reader_of(resolved, setting)
    upper = [stage for stage in stages if isinstance(stage, Window | Steps)]
    found: Commands = []
    for stage in upper:
        inputs = _inputs(stage, stages, tags, reader)
        made = window(stage, inputs) if isinstance(stage, Window) else steps(stage, inputs)
        if stage is upper[-1]:
            found += made
        else:
            found.append(f"appendpipe [ {' | '.join([*made, *_hits(stage.keys, tags[stage.name], inputs)])} ]")
    return found


def _hits(keys: Sequence[Key], tag: str, inputs: Inputs) -> Commands:
    """A crossing as an event: its time, its tag and its keys."""
    renamed = ", ".join(f"ew_k{n} AS ew_h{n}" for n in range(len(keys)))
    weight = [WEIGHT] if inputs.weight else []
    kept = " ".join(["_time", "ew_rule", *weight, *(f"ew_h{n}" for n in range(len(keys)))])
    made = ", ".join([f"ew_rule={quoted(tag)}", *(f"{name}=1" for name in weight)])
    return [*([f"rename {renamed}"] if keys else []), f"eval {made}", f"fields {kept}"]


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
    names = _shown(stages, reader.setting) if stage is stages[-1] else ()
    shown = [column(f"ew_x{n}", dict.fromkeys(stage.inputs, name)) for n, name in enumerate(names)]
    weight = WEIGHT if reader.setting.vocabulary.model else ""
    return Inputs(tuple(tags[s] for s in stage.inputs), tuple(keys), tuple(values), _is_tagged(stages), weight,
                  tuple(shown))


def _shown(stages: Sequence[Stage], setting: Setting) -> tuple[str, ...]:
    """What an alert of single flows shows beside its keys."""
    last = stages[-1]
    single = {stage.name for stage in stages if isinstance(stage, Selection)}
    if not isinstance(last, Window) or not is_first(last) or not single.issuperset(last.inputs):
        return ()
    taken = {*columns_of(stages, setting), *(field for key in last.keys for field in key.fields.values())}
    return tuple(n for n in _TRIAGE if n in setting.names and not {n, _column(n, setting)} & taken)


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


# ---------------------------------------------------------------- results

def columns_of(stages: Sequence[Stage], setting: Setting) -> tuple[str, ...]:
    """The columns that name an alert's group, in the order of the keys."""
    last = stages[-1]
    if isinstance(last, Selection):
        return ()
    return tuple(_column(key.name, setting) for key in last.keys)


def _column(name: str, setting: Setting) -> str:
    return setting.vocabulary.columns.get(name) or setting.names.get(name, name)


def _named(stages: Sequence[Stage], setting: Setting) -> Commands:
    """The columns of an alert: its time, keys and measure, the window behind it. Single flows stay as they are."""
    last = stages[-1]
    if isinstance(last, Selection):
        return []
    shown = _shown(stages, setting)
    start = "ew_since" if isinstance(last, Steps) else "_time" if is_first(last) else f"_time-{seconds(last.timespan)}"
    some = [f"ew_x{n}=mvindex(ew_x{n},0,9)" for n in range(len(shown))]
    pairs = [*((f"ew_k{n}", _column(key.name, setting)) for n, key in enumerate(last.keys)),
             *((f"ew_x{n}", _column(name, setting)) for n, name in enumerate(shown)), ("ew_value", "value")]
    kept = " ".join(["_time", *(own for own, _ in pairs), "window_start", "window_end"])
    return [f"eval {', '.join([*some, f'window_start={start}', 'window_end=_time'])}", f"fields {kept}",
            "rename " + ", ".join(f"{own} AS {quoted(name)}" for own, name in pairs)]


# ---------------------------------------------------------------- caveats

def _caveats(stages: Sequence[Stage], setting: Setting) -> Iterator[str]:
    upper = [stage for stage in stages if isinstance(stage, Window | Steps)]
    if swept := [stage for stage in upper if isinstance(stage, Window) and not is_first(stage)]:
        pairs = all(stage.measure.function in ("distinct", "temporal") and all(
            t.operator in MORE for t in stage.thresholds) for stage in swept)
        yield _MEMORY.format(what="unbroken stay of a value in a window" if pairs else "matching flow")
    elif len(stages) > 2:
        yield _MEMORY.format(what="matching flow")
    if any(stage.keys for stage in upper):
        yield _TEXTS
    if setting.context == "enriched" and enrichment.late(setting):
        yield _LOOKUP.format(name=setting.vocabulary.lookup["name"])
    if (start := setting.vocabulary.start) and not names_zone(start["format"]):
        yield _ZONE.format(field=start["field"])
    if setting.vocabulary.model:
        yield _MODEL
        if not upper:
            yield _AGREE

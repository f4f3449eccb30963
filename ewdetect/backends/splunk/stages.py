"""Windows and ordered steps as SPL, exact to the microsecond.

A window (t - T, t] is swept: every row goes in at t and out at t + T, and a running sum of what goes in and out is the
measure at every moment. What it was before the rows of an instant is the measure of [t - T, t). So a crossing needs no
bucket, no `streamstats time_window` (which is cut at 10000 events) and no `transaction`. `stats` comes first in every
stage: it leaves one row for each group and instant, drops rows whose key is null, and makes events into results.
"""

from __future__ import annotations

from collections.abc import Sequence

from ewdetect.backends.splunk.rows import Commands, Inputs, quoted, rows
from ewdetect.plan import Stage, Steps, Threshold, Window

_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "==", "neq": "!="}
_BEFORE = "streamstats current=f window=1 global=f"
SECOND = 1_000_000


def window(stage: Window, inputs: Inputs) -> Commands:
    """The episodes of a window: `_time` of the crossing, `ew_value` and the keys. Functions: count, distinct, sum,
    temporal."""
    span = seconds(stage.timespan)
    if is_first(stage):
        return _first(inputs, span)
    match stage.measure.function:
        case "count":
            found = [*rows(inputs, each_rule=False, once=True), f"stats {inputs.count()} AS ew_n{inputs.by('_time')}",
                     *_edges("ew_n", span)]
        case "sum":
            weighted = [f"eval ew_v0=ew_v0*{inputs.weight}"] if inputs.weight else []
            found = [*rows(inputs, each_rule=True), "where isnotnull(ew_v0)", *weighted,
                     f"stats sum(ew_v0) AS ew_n{inputs.by('_time')}", *_edges("ew_n", span)]
        case "distinct":
            values = [value.name for value in inputs.values]
            found = [*rows(inputs, each_rule=False), *_stays(stage, inputs, values, span)]
        case _:
            found = [*rows(inputs, each_rule=True), *_stays(stage, inputs, ["ew_rule"], span)]
    return [*found, *_swept(inputs), *_episodes(stage, inputs)]


def is_first(stage: Stage) -> bool:
    """Whether one flow is enough for an alert, as with suppression: then the last one before it is all that counts."""
    return (isinstance(stage, Window) and stage.measure.function == "count" and len(stage.thresholds) == 1
            and (stage.thresholds[0].operator, stage.thresholds[0].value) in (("gte", 1), ("gt", 0)))


def _first(inputs: Inputs, span: int) -> Commands:
    """The instants with nothing before them for longer than the timespan; the window there holds their own flows."""
    shown = "".join(f" values({column.name}) AS {column.name}" for column in inputs.shown)
    return [*rows(inputs, each_rule=False, once=True), f"stats {inputs.count()} AS ew_value{shown}{inputs.by('_time')}",
            "sort 0 _time", f"{_BEFORE} last(_time) AS ew_prev{inputs.by()}",
            f"where isnull(ew_prev) OR ((_time-ew_prev)>{span})"]


def seconds(microseconds: int) -> int:
    """A timespan in seconds; Sigma has no shorter unit."""
    return microseconds // SECOND


def _edges(amount: str, span: int) -> Commands:
    """Every row twice: its amount goes in at its time, and out a timespan later."""
    return ['eval ew_edge=mvappend("in","out")', "mvexpand ew_edge",
            f'eval ew_delta=if(ew_edge="in",{amount},0-{amount}), {_moved(span)}']


def _moved(span: int) -> str:
    return f'ew_in=if(ew_edge="in",1,0), _time=if(ew_edge="in",_time,_time+{span})'


def _stays(stage: Window, inputs: Inputs, values: Sequence[str], span: int) -> Commands:
    """A value is in the window from its first row until a timespan after a row that no other follows in time.

    Rows between those change no measure. Where more is what alerts they cannot begin an alert either, and go.
    """
    by = inputs.by(*values)
    inner = [] if any(t.operator not in ("gt", "gte") for t in stage.thresholds) else [
        "where (ew_open=1) OR (ew_close=1)"]
    return [f"stats count AS ew_n{inputs.by(*values, '_time')}",
            "sort 0 _time", f"{_BEFORE} last(_time) AS ew_prev{by}",
            "sort 0 -_time", f"{_BEFORE} last(_time) AS ew_next{by}",
            f"eval ew_open=if(isnull(ew_prev) OR ((_time-ew_prev)>={span}),1,0), "
            f"ew_close=if(isnull(ew_next) OR ((ew_next-_time)>={span}),1,0)", *inner,
            'eval ew_edge=if(ew_close=1,mvappend("in","out"),"in")', "mvexpand ew_edge",
            f'eval ew_delta=if(ew_edge="in",ew_open,0-1), {_moved(span)}']


def _swept(inputs: Inputs) -> Commands:
    """One row for each instant at which a row goes in: the measure with it, and just before it."""
    return [f"stats sum(ew_delta) AS ew_delta max(ew_in) AS ew_in{inputs.by('_time')}", "sort 0 _time",
            f"streamstats sum(ew_delta) AS ew_value{inputs.by()}", "where ew_in=1",
            "eval ew_earlier=ew_value-ew_delta"]


def _episodes(stage: Window, inputs: Inputs) -> Commands:
    """The instants where the condition holds, and did not both at the instant before and just before this one."""
    now, just_before = (_holds(name, stage.thresholds) for name in ("ew_value", "ew_earlier"))
    return [f"eval ew_holds=if({now},1,0), ew_held=if({just_before},1,0)",
            f"{_BEFORE} last(ew_holds) AS ew_before{inputs.by()}",
            "where (ew_holds=1) AND ((ew_held=0) OR isnull(ew_before) OR (ew_before=0))"]


def _holds(name: str, thresholds: Sequence[Threshold]) -> str:
    return " AND ".join(f"({name}{_COMPARE[t.operator]}{_number(t.value)})" for t in thresholds)


def _number(value: float) -> str:
    return f"({value})" if value < 0 else str(value)


# ---------------------------------------------------------------- ordered steps

def steps(stage: Steps, inputs: Inputs) -> Commands:
    """The episodes of a chain. `ew_since` is the latest time at which a chain that ends in the row can begin."""
    span = seconds(stage.timespan)
    chain = _two_different(inputs) if inputs.values else _chain(inputs)
    return [*rows(inputs, each_rule=True), *chain, f"where ew_since>(_time-{span})",
            f"streamstats current=f max(ew_since) AS ew_earlier{inputs.by()}",
            f"where isnull(ew_earlier) OR (ew_earlier<(_time-{span}))", f"eval ew_value={len(stage.inputs)}"]


def _chain(inputs: Inputs) -> Commands:
    """One row for each instant, so that what a running maximum saw before it is strictly earlier."""
    last = len(inputs.tags) - 1
    flags = " ".join(f"max(eval(if(ew_rule={quoted(tag)},1,0))) AS ew_s{n}" for n, tag in enumerate(inputs.tags))
    commands = [f"stats {flags}{inputs.by('_time')}", "sort 0 _time", "eval ew_c0=if(ew_s0=1,_time,null())"]
    for n in range(1, last + 1):
        name = "ew_since" if n == last else f"ew_c{n}"
        commands += [f"streamstats current=f max(ew_c{n - 1}) AS ew_m{n}{inputs.by()}",
                     f"eval {name}=if(ew_s{n}=1,ew_m{n},null())"]
    return commands


def _two_different(inputs: Inputs) -> Commands:
    """Two steps whose values differ.

    Of the first step only two instants matter at any time: the latest (`ew_p…`), and, where it has one value alone,
    the latest with another value (`ew_other`, 0 where there is none). That is the instant before a run of instants
    with this value alone. The least and the greatest value of an instant tell whether it has one alone.
    """
    first, second = map(quoted, inputs.tags)
    ends = " ".join(f"{end}(eval(if(ew_rule={tag},ew_v0,null()))) AS ew_{name}{n}" for n, tag in enumerate(
        (first, second)) for end, name in (("min", "lo"), ("max", "hi")))
    previous = "last(ew_lo0) AS ew_plo last(ew_hi0) AS ew_phi last(ew_t0) AS ew_pt"
    return ["where isnotnull(ew_v0)", f"stats {ends}{inputs.by('_time')}", "sort 0 _time",
            "eval ew_t0=if(isnotnull(ew_lo0),_time,null())", f"streamstats current=f {previous}{inputs.by()}",
            "eval ew_run=case(isnull(ew_lo0),null(),(ew_lo0=ew_hi0) AND (ew_plo=ew_lo0) AND (ew_phi=ew_lo0),null(),"
            "true(),coalesce(ew_pt,0))",
            f"streamstats current=f last(ew_run) AS ew_other{inputs.by()}",
            "eval ew_since=case(isnull(ew_lo1) OR isnull(ew_pt),null(),(ew_plo=ew_phi) AND (ew_lo1=ew_hi1) AND "
            "(ew_plo=ew_lo1),ew_other,true(),ew_pt)"]

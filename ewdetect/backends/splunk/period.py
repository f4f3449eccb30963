"""When a search runs, what it reads, and how it reports every crossing in exactly one run.

A run reports the crossings of one period and reads as far back as they need. The next run's period begins where this
one ends, so nothing is told twice and nothing is lost, whatever the searches overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ewdetect.backends.predicate import Setting
from ewdetect.backends.splunk.rows import Commands, quoted
from ewdetect.model import Rule
from ewdetect.plan import Selection, Stage, Threshold, Window
from ewdetect.plan import seconds as timespan
from ewdetect.schedule import LASTING_KEY, Schedule, schedule

MORE = ("gt", "gte")
_INFO = "info_min_time info_max_time info_search_time info_sid"


@dataclass(frozen=True, slots=True)
class Run:
    """One run at `now`, in seconds: it reads [now - earliest, now - latest), judges what crossed in the `period` that
    ends at now - delay."""

    earliest: int
    latest: int
    period: int
    delay: int


def schedule_of(rule: Rule, stages: Sequence[Stage], setting: Setting) -> Schedule:
    """The schedule, with the data model's own delay. Where less can be an alert, the window before is needed too.

    Each crossing is reported by one run alone, so a rule about flows that last long has to wait for their ends.
    """
    plain = schedule(rule, stages, setting.source)
    wait = plain.lasting if LASTING_KEY in rule.meta else 0
    wider = any(not {t.operator for t in stage.thresholds} <= set(MORE) for stage in stages
                if isinstance(stage, Window))
    model = setting.vocabulary.model
    return replace(plain, window=plain.window * (2 if wider else 1),
                   delay=plain.delay + wait + (timespan(model["delay"]) if model else 0), lasting=0)


def run_of(found: Schedule, setting: Setting) -> Run:
    """What a run reads. A time range is one of `_time`: where that is not the start, flows of the period may have come
    until now."""
    latest = 0 if setting.vocabulary.start else found.delay
    return Run(found.window + found.period + found.delay, latest, found.period, found.delay)


def started(setting: Setting) -> Commands:
    """`_time` as the start of the flow.

    To `strptime` a Z at the end is a letter, and the zone that of whoever searches; so the offset is put behind it.
    """
    start = setting.vocabulary.start
    if not start:
        return []
    field, form = f"'{start['field']}'", start["format"]
    if _is_utc(form):
        field, form = f'{field}."+0000"', f"{form}%z"
    return [f"eval _time=strptime({field},{quoted(form)})"]


def names_zone(form: str) -> bool:
    """Whether a time of the format means one instant, whoever searches."""
    return _is_utc(form) or any(zone in form for zone in ("%z", "%:z", "%Z", "%s"))


def _is_utc(form: str) -> bool:
    return form.endswith("Z") and not form.endswith("%Z")


def guard(run: Run) -> Commands:
    """Only what crossed in the period that this run is for."""
    last = run.delay - run.latest
    end = f"(info_max_time-{last})" if last else "info_max_time"
    return ["addinfo", f"where (_time>=(info_max_time-{last + run.period})) AND (_time<{end})", f"fields - {_INFO}"]


def filter_macro(rule: str) -> str:
    """The name of the macro that a site tunes a rule with."""
    return f"ewdetect_{rule}_filter"


def true_of_nothing(thresholds: Sequence[Threshold]) -> bool:
    """Whether a window without any flow fulfils the condition."""
    holds = {"gt": lambda v: v < 0, "gte": lambda v: v <= 0, "lt": lambda v: v > 0, "lte": lambda v: v >= 0,
             "eq": lambda v: v == 0, "neq": lambda v: v != 0}
    return all(holds[t.operator](t.value) for t in thresholds)


def caveats(rule: Rule, stages: Sequence[Stage], run: Run) -> tuple[str, ...]:
    """What must be known to run the search."""
    upper = [stage for stage in stages if not isinstance(stage, Selection)]
    said = [f"Run it every {run.period} s over the time range from {run.earliest} s to {run.latest} s ago: it reports "
            f"what crosses in the {run.period} s before {run.delay} s ago, each once. By hand it reports the same part "
            "of its time range, and nothing over all time; to hunt over more, take the `addinfo` and the `where` "
            f"behind it away{', and let the range begin earlier by the window' if upper else ''}.",
            f"The macro `{filter_macro(rule.name)}` must exist; its definition is `search *` until a site tunes it."]
    if run.delay:
        said.append(f"A flow is written when it ends. One that lasted longer than {run.delay} s comes after its period "
                    "was judged, and is not counted.")
    return tuple(said)

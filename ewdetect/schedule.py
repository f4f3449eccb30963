"""When a deployed query runs and how far it looks back, so that every window is seen whole and every alert once.

A run judges the crossings of one period, which ends `delay` ago: by then every flow of it has arrived. It reads as far
back as the longest road of windows from the last stage to the flows needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ewdetect.flows import Source
from ewdetect.model import Rule
from ewdetect.plan import Selection, Stage, Window, seconds

# From a SIEM's usual least interval to the longest that an alert may wait. Each divides an hour, as cron must.
_PERIODS = (300, 360, 600, 720, 900, 1200, 1800, 3600)
SHORTEST = _PERIODS[0]
# A flow is written when it ends. Where a run may report again what it has reported, it also finds the crossings of
# flows that lasted up to so long; Elastic's runs may. A rule about longer flows says so itself.
LASTING = 3600
LASTING_KEY = "flows-last"


@dataclass(frozen=True, slots=True)
class Schedule:
    """All in seconds. `window` is 0 for single flows. `lasting` is how long a flow may last and still be counted."""

    period: int
    window: int
    delay: int
    lasting: int = 0


def lasting(rule: Rule) -> int:
    """How long a flow of the rule may last and still be counted, in seconds."""
    return seconds(rule.meta[LASTING_KEY]) if LASTING_KEY in rule.meta else LASTING


def schedule(rule: Rule, stages: Sequence[Stage], source: Source) -> Schedule:
    """The schedule of a rule's stages on one source: the greatest period up to a quarter of the last window."""
    delay = 0 if source.traits.delay == "0s" else seconds(source.traits.delay)
    return Schedule(_period(stages[-1]), _window(stages), delay, lasting(rule) if delay else 0)


def _period(last: Stage) -> int:
    if isinstance(last, Selection) or _at_first(last):
        return SHORTEST
    return max(period for period in _PERIODS if period <= max(last.timespan // 4_000_000, SHORTEST))


def _at_first(stage: Stage) -> bool:
    """Whether one flow is enough, so that a long window delays nothing: suppression is such a window."""
    return (isinstance(stage, Window) and stage.measure.function == "count"
            and all(t.operator == "gte" and t.value <= 1 for t in stage.thresholds))


def _window(stages: Sequence[Stage]) -> int:
    """The timespans of the longest road from the last stage to the flows, in seconds."""
    found: dict[str, int] = {}
    for stage in stages:
        found[stage.name] = 0 if isinstance(stage, Selection) else (
            stage.timespan // 1_000_000 + max(found[name] for name in stage.inputs))
    return found[stages[-1].name]

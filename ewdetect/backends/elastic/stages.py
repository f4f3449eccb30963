"""Windows and ordered steps as ES|QL, exact to the millisecond.

ES|QL has no window functions. A stage looks at the few instants at which its condition can become true, the anchors:
each row is joined to the anchors that it stands in a window with, (a - T, a] or [a - T, a), and counted for both. An
alert begins where the first reaches the threshold and the second does not. For measures that grow with every flow this
is all that the meaning asks for, and a run needs to see no more than one window before a crossing.

Rows that cannot matter go first, so that a scan of 65,000 ports costs no more than its threshold does. Time is cut into
slots as long as the window. Within a slot only the first rows up to the threshold can complete a window, and only the
last ones can be what is left of the slot in a window that ends in the next.
"""

from __future__ import annotations

import math

from ewdetect.backends.elastic.rows import Commands, Rows, inline, quoted
from ewdetect.plan import Steps, Threshold, Window

# COUNT_DISTINCT counts exactly up to its precision, which is 3000 unless it is given: docs of ES|QL.
_EXACT, _MOST = 3000, 40_000
LARGEST = _MOST // 4        # a window holds at most four times the threshold once the rest is gone


def window(stage: Window, rows: Rows) -> Commands:
    """The crossings of a window, one row each: `ew_t` of the crossing, `ew_value` and the keys."""
    span = stage.timespan // 1000
    least = at_least(stage.thresholds)
    match stage.measure.function:
        case "count":
            found = _count(rows, math.ceil(least), span)
        case "sum":
            found = _sum(rows, least, span)
        case _:
            found = _distinct(rows, math.ceil(least), span)
    return [*found, *_one(rows)]


def at_least(thresholds: tuple[Threshold, ...]) -> float:
    """The one value that a growing measure must reach; `gt` asks for the next whole number."""
    (threshold,) = thresholds
    return math.floor(threshold.value) + 1 if threshold.operator == "gt" else threshold.value


def _count(rows: Rows, least: int, span: int) -> Commands:
    ends = [f'ew_lo = MV_MAX(TOP(ew_t, {least}, "asc"))', f'ew_hi = MV_MIN(TOP(ew_t, {least}, "desc"))']
    return [*_busy(rows, least), f"EVAL ew_slot = ew_t / {span}", inline(rows, *ends, by=("ew_slot",)),
            rows.where("ew_t <= ew_lo OR ew_t >= ew_hi"), *_anchored(rows, span, "ew_t <= ew_lo"),
            inline(rows, f"ew_value = COUNT(*) WHERE ew_t > ew_at - {span}", "ew_before = COUNT(*) WHERE ew_t < ew_at",
                   by=("ew_at",)),
            rows.where(f"ew_value >= {least} AND ew_before < {least} AND ew_t == ew_at")]


def _distinct(rows: Rows, least: int, span: int) -> Commands:
    """Of each value a slot needs its first row, which brings it into a window, and its last, which keeps it there."""
    ends = [f'ew_lo = MV_MAX(TOP(CASE(ew_row == ew_first, ew_t), {least}, "asc"))',
            f'ew_hi = MV_MIN(TOP(CASE(ew_row == ew_last, ew_t), {least}, "desc"))']
    precision = "" if 4 * least <= _EXACT else f", {_MOST}"
    return [*_busy(rows, least), f"EVAL ew_slot = ew_t / {span}",
            inline(rows, "ew_first = MIN(ew_row)", "ew_last = MAX(ew_row)", by=("ew_slot", "ew_v")),
            rows.where("ew_row == ew_first OR ew_row == ew_last"), inline(rows, *ends, by=("ew_slot",)),
            rows.where("(ew_row == ew_first AND ew_t <= ew_lo) OR (ew_row == ew_last AND ew_t >= ew_hi)"),
            *_anchored(rows, span, "ew_row == ew_first AND ew_t <= ew_lo"),
            inline(rows, f"ew_value = COUNT_DISTINCT(ew_v{precision}) WHERE ew_t > ew_at - {span}",
                   f"ew_before = COUNT_DISTINCT(ew_v{precision}) WHERE ew_t < ew_at", by=("ew_at",)),
            rows.where(f"ew_value >= {least} AND ew_before < {least} AND ew_t == ew_at")]


def _sum(rows: Rows, least: float, span: int) -> Commands:
    return [inline(rows, "ew_all = SUM(ew_n)"), rows.where(f"ew_all >= {_number(least)}"),
            f"EVAL ew_slot = ew_t / {span}", *_anchored(rows, span, "ew_n > 0"),
            inline(rows, f"ew_value = SUM(ew_n) WHERE ew_t > ew_at - {span}",
                   "ew_before = SUM(ew_n) WHERE ew_t < ew_at", by=("ew_at",)),
            rows.where(f"ew_value >= {_number(least)} AND COALESCE(ew_before, 0) < {_number(least)} AND ew_t == ew_at")]


def _busy(rows: Rows, least: int) -> Commands:
    """Groups that cannot reach the threshold over the whole range go first: nearly all groups of real traffic."""
    return [inline(rows, "ew_all = COUNT(*)"), rows.where(f"ew_all >= {least}")] if least > 1 else []


def _anchored(rows: Rows, span: int, anchor: str) -> Commands:
    """Each row once for every anchor with which it shares a window, both ends included.

    Anchors are instants of one slot, so a row can only share one with an anchor of its own slot or of the next.
    """
    own = rows.mine(f"ew_slot == ew_target AND {anchor}")
    targets = "MV_APPEND(ew_slot, ew_slot + 1)"
    none = ["EVAL ew_at = COALESCE(ew_at, 0)"] if rows.apart else []
    return [f"EVAL ew_target = {f'CASE({rows.others()}, ew_slot, {targets})' if rows.apart else targets}",
            "MV_EXPAND ew_target", inline(rows, f"ew_at = VALUES(CASE({own}, ew_t))", by=("ew_target",)),
            "MV_EXPAND ew_at", *none, rows.where(f"ew_t <= ew_at AND ew_t >= ew_at - {span}")]


def _one(rows: Rows) -> Commands:
    """One row for each crossing, where several rows share its instant."""
    return [inline(rows, "ew_one = MIN(ew_row)", by=("ew_at",)), rows.where("ew_row == ew_one")]


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


# ---------------------------------------------------------------- ordered steps

def steps(stage: Steps, rows: Rows) -> Commands:
    """The crossings of a chain. Each step takes the earliest row after the step before, once for a chain that begins
    after a - T (`ew_f…`), and once for one that begins at a - T or later and ends before a (`ew_g…`): then the alert is
    not new."""
    span = stage.timespan // 1000
    last = quoted(rows.tags[-1])
    chain = _two_different(rows, span) if stage.distinct else _chain(rows, span)
    return [inline(rows, "ew_all = COUNT_DISTINCT(ew_in)"), rows.where(f"ew_all == {len(rows.tags)}"),
            f"EVAL ew_slot = ew_t / {span}", *_anchored(rows, span, f"ew_in == {last}"), *chain,
            f"EVAL ew_value = {len(rows.tags)}", *_one(rows)]


def _chain(rows: Rows, span: int) -> Commands:
    tags = [quoted(tag) for tag in rows.tags]
    commands = [inline(rows, f"ew_f0 = MIN(ew_t) WHERE ew_in == {tags[0]} AND ew_t > ew_at - {span}",
                       f"ew_g0 = MIN(ew_t) WHERE ew_in == {tags[0]}", by=("ew_at",))]
    for n, tag in enumerate(tags[1:-1], 1):
        commands.append(inline(rows, f"ew_f{n} = MIN(ew_t) WHERE ew_in == {tag} AND ew_t > ew_f{n - 1}",
                               f"ew_g{n} = MIN(ew_t) WHERE ew_in == {tag} AND ew_t > ew_g{n - 1}", by=("ew_at",)))
    end = len(tags) - 2
    held = f"ew_held = COUNT(*) WHERE ew_in == {tags[-1]} AND ew_t > ew_g{end} AND ew_t < ew_at"
    return [*commands, inline(rows, held, by=("ew_at",)),
            rows.where(f"ew_in == {tags[-1]} AND ew_t == ew_at AND ew_f{end} < ew_at AND ew_held == 0")]


def _two_different(rows: Rows, span: int) -> Commands:
    """Two steps whose `ew_v` differ: the earliest first step, and the earliest with another value than that one has.

    A time and a value are one text, 13 digits and a bar before the value, so that MIN finds both.
    """
    first, second = map(quoted, rows.tags)
    both = 'CONCAT(TO_STRING(ew_t), "|", ew_v)'
    split = ", ".join(f"ew_{c}t = TO_LONG(SUBSTRING(ew_{c}, 1, 13)), ew_{c}v = SUBSTRING(ew_{c}, 15)" for c in "fg")
    after = "(ew_v != ew_{0}v AND ew_t > ew_{0}t) OR (ew_v == ew_{0}v AND ew_t > ew_{0}o)"
    return [inline(rows, f"ew_f = MIN({both}) WHERE ew_in == {first} AND ew_t > ew_at - {span}",
                   f"ew_g = MIN({both}) WHERE ew_in == {first}", by=("ew_at",)), f"EVAL {split}",
            inline(rows, f"ew_fo = MIN(ew_t) WHERE ew_in == {first} AND ew_t > ew_at - {span} AND ew_v != ew_fv",
                   f"ew_go = MIN(ew_t) WHERE ew_in == {first} AND ew_v != ew_gv", by=("ew_at",)),
            inline(rows, f"ew_held = COUNT(*) WHERE ew_in == {second} AND ew_t < ew_at AND ({after.format('g')})",
                   by=("ew_at",)),
            rows.where(f"ew_in == {second} AND ew_t == ew_at AND ew_held == 0 AND ({after.format('f')})")]

"""Time spans, time modifiers and time formats, in UTC. From the page "Time modifiers" of the Search Reference."""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from tests.engines.spl.errors import SplSyntaxError, Undocumented, UnknownSpl
from tests.engines.spl.values import Number, number

_NAMES = {
    "s": ("s", "sec", "secs", "second", "seconds"), "m": ("m", "min", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"), "d": ("d", "day", "days"), "w": ("w", "week", "weeks"),
    "mon": ("mon", "month", "months"), "y": ("y", "yr", "yrs", "year", "years"),
    "us": ("us",), "ms": ("ms",), "cs": ("cs",), "ds": ("ds",),
}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names}
_SECONDS: dict[str, Decimal] = {
    "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400), "w": Decimal(604800),
    "us": Decimal("0.000001"), "ms": Decimal("0.001"), "cs": Decimal("0.01"), "ds": Decimal("0.1"),
}
_STEP = re.compile(r"([+-])(\d*)([a-z]+)|@([a-z]+?)([0-7])?(?![a-z0-9])")
_SPAN = re.compile(r"(\d*)([a-z]+)")
_FORMATS = re.compile(r"%([1-9]?)([A-Za-z%])")
_PLAIN = frozenset("YmdHMSyjbBaAIpZz")


def _unit(name: str, position: int | None) -> str:
    if name not in _UNITS:
        raise SplSyntaxError(f"unknown time unit {name}", position)
    return _UNITS[name]


def span_seconds(span: str, position: int | None = None) -> Number:
    """The length of a span such as `5m`. Months and years have no fixed length and are refused."""
    found = _SPAN.fullmatch(span)
    if not found:
        raise SplSyntaxError(f"not a time span: {span}", position)
    unit = _unit(found[2], position)
    if unit not in _SECONDS:
        raise UnknownSpl(f"a span of calendar length: {span}", position)
    length = int(found[1] or 1) * _SECONDS[unit]
    return int(length) if length == int(length) else length


def span_unit(span: str) -> str:
    """The unit of a span, by its shortest name."""
    found = _SPAN.fullmatch(span)
    return _UNITS.get(found[2], "") if found else ""


def _shifted(moment: datetime, months: int) -> datetime:
    month = moment.year * 12 + moment.month - 1 + months
    for day in (moment.day, 30, 29, 28):
        try:
            return moment.replace(year=month // 12, month=month % 12 + 1, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def _snapped(moment: datetime, unit: str, weekday: str | None) -> datetime:
    parts = {"s": (), "m": ("second",), "h": ("second", "minute")}.get(unit, ("second", "minute", "hour"))
    moment = moment.replace(microsecond=0, **dict.fromkeys(parts, 0))    # type: ignore[arg-type]
    if unit == "w":
        back = (moment.isoweekday() - int(weekday or 0)) % 7        # @w and @w0 are Sunday
        return moment - timedelta(days=back)
    if unit == "mon":
        return moment.replace(day=1)
    return moment.replace(month=1, day=1) if unit == "y" else moment


def relative(modifier: str, base: Number, position: int | None = None) -> Number:
    """The epoch second that a time modifier names, seen from `base`: `-70m@m`, `now`, `1700000000`."""
    asked = modifier.strip()
    if (epoch := number(asked)) is not None and not asked.startswith(("+", "-")):
        return epoch
    if asked == "now" or asked == "now()":
        return base
    at = 3 if asked.startswith("now") else 0
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(base * 1_000_000))
    while at < len(asked):
        step = _STEP.match(asked, at)
        if not step:
            raise SplSyntaxError(f"not a time modifier: {modifier}", position)
        moment, at = _stepped(moment, step, position), step.end()
    micro = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return micro // 1_000_000 if micro % 1_000_000 == 0 else Decimal(micro) / 1_000_000


def _stepped(moment: datetime, step: re.Match[str], position: int | None) -> datetime:
    if step[4]:
        return _snapped(moment, _unit(step[4], position), step[5])
    unit, count = _unit(step[3], position), int(step[2] or 1) * (1 if step[1] == "+" else -1)
    if unit in _SECONDS:
        return moment + count * timedelta(microseconds=int(_SECONDS[unit] * 1_000_000))
    return _shifted(moment, count * (12 if unit == "y" else 1))


def strftime(epoch: Number, form: str) -> str:
    """The instant in a format of the page "Date and time format variables". Other variables are errors."""
    micro = int(epoch * 1_000_000)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)

    def one(found: re.Match[str]) -> str:
        digits, letter = found[1], found[2]
        if letter in "NQ":
            return f"{micro % 1_000_000:06d}000"[:int(digits or (3 if letter == "Q" else 9))]
        plain = {"s": str(micro // 1_000_000), "T": f"{moment:%H:%M:%S}", "F": f"{moment:%Y-%m-%d}", "%": "%",
                 "e": f"{moment.day:2d}"}.get(letter)
        if (plain is None and letter not in _PLAIN) or digits:
            raise UnknownSpl(f"time format {found[0]}")
        return plain if plain is not None else moment.strftime(f"%{letter}")
    return _FORMATS.sub(one, form)


# The zone of whoever searches, as `+0200`; empty where a search must not depend on it.
SEARCHER: ContextVar[str] = ContextVar("zone of whoever searches", default="")
_READ = {"Y": r"(\d{4})", "m": r"(\d\d)", "d": r"(\d\d)", "H": r"(\d\d)", "M": r"(\d\d)", "S": r"(\d\d)",
         "N": r"(\d{1,9})", "z": r"([+-]\d\d:?\d\d|Z)", "T": r"(\d\d:\d\d:\d\d)", "F": r"(\d{4}-\d\d-\d\d)",
         "s": r"(\d+)"}


@lru_cache(maxsize=64)
def _reader(form: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """A pattern of a time format, and what its groups are. Other variables are errors."""
    letters, parts, at = [], [], 0
    for found in _FORMATS.finditer(form):
        digits, letter = found[1], found[2]
        if letter not in _READ or (digits and letter != "N"):
            raise UnknownSpl(f"time format {found[0]} in strptime")
        group = _READ[letter] if letter != "N" or not digits else f"(\\d{{{digits}}})"
        parts += [re.escape(form[at:found.start()]), group]
        letters.append(letter)
        at = found.end()
    return re.compile("".join([*parts, re.escape(form[at:])])), tuple(letters)


def strptime(value: str, form: str) -> Number | None:
    """The epoch second that a text in a format names; None where it does not have that form (the page "Date and Time
    functions"). A format without a zone is read in the searcher's zone; `%s` alone needs none."""
    pattern, letters = _reader(form)
    zone = SEARCHER.get()
    if not {"z", "s"} & set(letters) and not zone:
        raise Undocumented(f"strptime with {form!r}: the zone is that of whoever searches")
    found = pattern.fullmatch(value)
    if not found:
        return None
    said = dict(zip(letters, found.groups(), strict=True))
    if "s" in said:
        return int(said["s"])
    date = said.get("F") or "-".join(said[x] for x in "Ymd")
    clock = said.get("T") or ":".join(said[x] for x in "HMS")
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{said.get('z', zone).replace('Z', '+00:00')}")
    except ValueError:
        return None
    fraction = Decimal(f"0.{said.get('N', '0')}")
    whole = int(moment.timestamp())
    return whole + fraction if fraction else whole

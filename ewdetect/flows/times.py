"""Raw times → microseconds since 1970 UTC, as SQL text."""

from __future__ import annotations

from collections.abc import Sequence

# Times outside are damage, not traffic: seconds read as milliseconds land beyond the year 5000.
EARLIEST_US, LATEST_US = 0, 4_102_444_800_000_000       # 1970 and 2100
_IN_RANGE = f"t BETWEEN {EARLIEST_US} AND {LATEST_US}"
SYSLOG = "syslog"
# Times without a year are read as of this one, a leap year, until the whole log is known. No sensor's clock stands so.
YEARLESS = 1972
YEARLESS_FROM_US, YEARLESS_TO_US = 63_072_000_000_000, 94_694_400_000_000


def time_us(value: str, forms: Sequence[str], raw_type: str = "VARCHAR") -> str:
    """A raw time → microseconds since 1970 UTC, NULL where no form fits. A time without zone is UTC.

    `forms` are those of source.yml. A double holds seconds since 1970 to the microsecond until the year 2255.
    """
    if raw_type == "TIMESTAMPTZ":
        return f"epoch_us({value})"
    if raw_type != "VARCHAR":
        return _reader(value, forms[0])
    if len(forms) == 1:
        return _reader(value, forms[0])
    return f"coalesce({', '.join(_tried(value, form) for form in forms)})"


def _tried(value: str, form: str) -> str:
    """A number that is no time in one unit may be one in the next: seconds and milliseconds are told apart so."""
    us = _reader(value, form)
    if form == "iso8601":       # a cast that fails is slow, and no such time begins with a letter
        return f"CASE WHEN ascii({value}) < ascii('A') THEN {us} END"
    return f"list_filter([{us}], lambda t: {_IN_RANGE})[1]" if form.startswith("epoch_") else us


def _reader(value: str, form: str) -> str:
    match form:
        case "iso8601":
            return f"epoch_us(TRY_CAST({value} AS TIMESTAMPTZ))"
        case "epoch_seconds":
            return f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1000000) AS BIGINT)"
        case "epoch_milliseconds":
            return f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1000) AS BIGINT)"
        case "epoch_microseconds":
            return f"TRY_CAST({value} AS BIGINT)"
        case "epoch_nanoseconds":
            return f"TRY_CAST({value} AS BIGINT) // 1000"
        case "syslog":
            return f"epoch_us(try_strptime('{YEARLESS} ' || {value}, '%Y %b %d %H:%M:%S'))"
    return f"epoch_us(try_strptime({value}, '{form.replace(chr(39), '')}'))"


def dated(column: str, latest: str) -> str:
    """A time without a year, as `time_us` gives it, in the year that puts it last before `latest`; in microseconds.

    A day of grace, since clocks differ. 29 February of a year that has none becomes the 28th.
    """
    def in_year(ago: int) -> str:
        years = f"CAST(year(make_timestamp({latest})) - {YEARLESS + ago} AS INTEGER)"
        return f"epoch_us(make_timestamp({column}) + to_years({years}))"
    return f"CASE WHEN {in_year(0)} > {latest} + 86400000000 THEN {in_year(1)} ELSE {in_year(0)} END"

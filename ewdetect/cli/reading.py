"""How `backtest` is told to read: memory, the latest time, and the source by content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from ewdetect.engine import Engine
from ewdetect.flows import Source
from ewdetect.load import load_orientation, load_sources
from ewdetect.model import Field
from ewdetect.problems import Problem, Rejected

_UNITS = ("kB", "KB", "MB", "GB", "KiB", "MiB", "GiB")


class Memory(click.ParamType[str, str]):
    """An amount of memory as DuckDB takes it: a number and kB, MB, GB, KiB, MiB or GiB."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        number = value.rstrip("kKMGiB")
        if not number.replace(".", "", 1).isdigit() or value[len(number):] not in _UNITS:
            self.fail(f"`{value}` is no amount of memory; write one such as 512MB or 2GB", param, ctx)
        return value


def recognised(flows: tuple[str, ...], fields: Mapping[str, Field]) -> Source:
    """The source that wrote the flows. Standard input can be read once only, so it cannot be looked at before."""
    if "-" in flows:
        raise Rejected([Problem("flows/no-source", "standard input is not looked at twice", None,
                                "name the source with --source, or write the flows into a file")])
    with Engine(fields, load_orientation()) as engine:
        return engine.recognise(load_sources(fields), flows)


def microseconds(time: datetime | None) -> int | None:
    """A time without a zone, taken as UTC, in microseconds since 1970."""
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp()) * 1_000_000

"""How fast each source is read, next to what DuckDB alone needs for the same bytes.

`python -m bench.sources` repeats the undamaged lines of every sample, with addresses and ports changed so that
connections stay apart, and reads them with ewdetect and with DuckDB's own reader, in turns. ewdetect reads the fields
that the shipped rules ask for, as a backtest does. It exits with 1 where reading JSON takes more than MOST_RATIO times
as long, or where fewer than LEAST_LINES lines of text are read a second. Read is what stands in canonical fields, with
its damage noted. What comes then, addresses and context and putting the records of a connection together, is shown and
not judged: DuckDB alone does nothing of the kind. Nor is the ratio of text judged, where DuckDB alone only finds the
ends of lines.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ewdetect.backtest import fields_read
from ewdetect.engine import Engine
from ewdetect.engine.flow import kept_fields
from ewdetect.engine.read import stage
from ewdetect.flows import Format, Source
from ewdetect.load import content_root, load_fields, load_network, load_orientation, load_pack, load_sources
from ewdetect.network import Network

MOST_RATIO = 3.0
LEAST_LINES = 200_000
# Fewer lines of text are too few blocks of work to keep every core busy.
LINES, RECORDS, QUICK_LINES = 1_000_000, 200_000, 2_000
REPEAT = 3
_HOST = re.compile(r"\b10\.(10|0|128|244|1|2)\.\d+\.(\d+)\b")
_PORT = re.compile(r"\b(5\d{4})\b")
_CONFIG: dict[str, Any] = {"memory_limit": "512MB", "preserve_insertion_order": False}
_PLAIN = ("delim = chr(1), quote = '', escape = '', header = false, columns = {'l': 'VARCHAR'}, auto_detect = false, "
          "strict_mode = false")


@dataclass(frozen=True, slots=True)
class Speed:
    """Lines a second until they are records, and until they are flows, each in its quickest turn.

    The ratios are ewdetect's time over DuckDB's alone, of medians.
    """

    source: str
    text: bool
    records_per_second: float
    flows_per_second: float
    records_ratio: float
    flows_ratio: float

    @property
    def holds(self) -> bool:
        return self.records_per_second >= LEAST_LINES if self.text else self.records_ratio <= MOST_RATIO


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Reading speed of every source.")
    parser.add_argument("--quick", action="store_true", help="2,000 lines, and no judgement")
    parser.add_argument("--only", action="append", default=[], metavar="SOURCE")
    options = parser.parse_args(arguments)
    wanted = [s for s in load_sources() if not options.only or s.name in options.only]
    held = True
    print(f"{'':<22}{'records':>20}{'flows':>20}")
    lines, records = (QUICK_LINES, QUICK_LINES) if options.quick else (LINES, RECORDS)
    for speed in measured(wanted, lines, records):
        held = held and (speed.holds or options.quick)
        mark = "" if speed.holds or options.quick else "   too slow"
        print(f"{speed.source:<22}{speed.records_per_second:>10,.0f}/s{speed.records_ratio:>6.1f} x"
              f"{speed.flows_per_second:>10,.0f}/s{speed.flows_ratio:>6.1f} x{mark}", flush=True)
    return 0 if held else 1


def measured(sources: list[Source], lines: int, records: int) -> Iterator[Speed]:
    """`lines` of text, or JSON `records`, of each source."""
    fields = load_fields()
    network = load_network(content_root() / "fixtures" / "networks" / "office.yml", fields)
    pack = load_pack([content_root() / "rules"], fields)
    with tempfile.TemporaryDirectory(prefix="ewdetect-bench-") as folder:
        for source in sources:
            [raw] = [p for p in (content_root() / "mappings" / source.name).glob("sample.*")
                     if p.name != "sample.flows.jsonl"]
            path = Path(folder) / f"{source.name}.log"
            count = records if _is_json(raw) else lines
            path.write_text("".join(_lines(source, raw, network, count)), encoding="utf-8")
            yield _speed(source, path, network, fields_read(pack, source, fields), count)
            path.unlink()


def _speed(source: Source, path: Path, network: Network, used: frozenset[str], count: int) -> Speed:
    is_json = _is_json(path)
    turns = [(_seconds(lambda: _alone(path, is_json)), _seconds(lambda: _records(source, path, used)),
              _seconds(lambda: _read(source, path, network, used))) for _ in range(REPEAT)]
    alone, records, flows = zip(*turns, strict=True)
    plain = statistics.median(alone)
    # What is no ratio is of the quickest turn, since whatever else the machine does can only slow it.
    return Speed(source.name, not is_json, count / min(records), count / min(flows),
                 statistics.median(records) / plain, statistics.median(flows) / plain)


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _alone(path: Path, is_json: bool) -> None:
    reader = (f"read_json('{path}', format = 'newline_delimited')" if is_json else f"read_csv('{path}', {_PLAIN})")
    with duckdb.connect(config=_CONFIG) as db:
        db.execute(f"CREATE TABLE line AS SELECT * FROM {reader}")


def _records(source: Source, path: Path, used: frozenset[str]) -> None:
    """Reading alone: canonical columns, types, units, outcomes and damage, each record for itself."""
    with duckdb.connect(config=_CONFIG) as db:
        stage(db, source, kept_fields(load_fields(), used), [(str(path), str(path))], path.parent)


def _read(source: Source, path: Path, network: Network, used: frozenset[str]) -> tuple[int, ...]:
    """The damaged lines of a file."""
    with Engine(load_fields(), load_orientation()) as engine:
        report = engine.read(source, [str(path)], network, used)
        return tuple(place.line for place in report.places)


def _lines(source: Source, raw: Path, network: Network, count: int) -> Iterator[str]:
    """Lines like those of a sample, without the damaged ones. Flat objects are lines of their own."""
    damaged = set(_read(source, raw, network, frozenset(load_fields())))
    text = raw.read_text(encoding="utf-8", errors="replace")
    if Format.OBJECTS in source.formats:
        lines = [" ".join(chunk.split()) + "}" for chunk in re.findall(r"\{[^{}]*", text)]
    else:
        lines = text.splitlines()
    good = [line for number, line in enumerate(lines, 1) if number not in damaged]
    columns = source.lines.columns if source.lines else None
    if source.formats[0] is Format.ZEEK or (columns and columns.header and Format.LINES is source.formats[0]):
        head = [line for line in good if line.startswith("#") or line is good[0]]
        good = [line for line in good if line not in head]
        yield from (f"{line}\n" for line in head)
    yield from (f"{_varied(good[n % len(good)], n // len(good))}\n" for n in range(count))


def _varied(line: str, number: int) -> str:
    line = _HOST.sub(lambda m: f"10.{m[1]}.{number // 250 % 250}.{(int(m[2]) + number) % 250 + 1}", line)
    return _PORT.sub(lambda m: str(32768 + (int(m[1]) + number) % 28000), line)


if __name__ == "__main__":
    sys.exit(main())

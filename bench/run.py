"""The benchmark: is ewdetect fast enough, small enough, and does it find what was planted?

`python -m bench.run` measures, prints what it measured next to what is allowed, and exits with 1 where that is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.generate import attacks

MOST_RATIO = 6.0            # ewdetect's time over DuckDB's alone
MOST_GROWTH = 11.0          # time for ten times the flows
MOST_MEMORY_MB = 1024.0
FLOWS, QUICK_FLOWS = 1_000_000, 20_000
HERE = Path(__file__).parent
MAKERS = ("generate.py", "layouts.py", "workload.yml")      # what the inputs depend on


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds by the wall, from start to end, peak memory in MB, and what it said of itself."""

    seconds: float
    peak_mb: float
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """Something that was measured, and the most it may be."""

    what: str
    measured: float
    most: float

    @property
    def holds(self) -> bool:
        return self.measured <= self.most


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one input: medians over the repetitions."""

    layout: str
    flows: int
    seconds: float
    peak_mb: float
    alone_seconds: float | None         # DuckDB alone, where it was measured
    alone_peak_mb: float | None
    steps: Mapping[str, float]          # of the median run, in seconds
    alerts: Mapping[str, int]           # by rule
    planted: Mapping[str, int]          # by rule
    missed: tuple[str, ...]
    unplanned: tuple[str, ...]          # alerts that no attack explains
    lost: int                           # flows that were not kept


def measure(layout: str, flows: int, folder: Path, seed: int, repeat: int, alone: bool) -> Result:
    """Run ewdetect and, if asked, DuckDB alone on the same file, by turns."""
    path, network = _made(layout, folder, flows, seed), _made("network", folder, 0, seed)
    baseline, product = [], []
    for _ in range(repeat):
        if alone:
            baseline.append(_run("baseline", layout, str(path)))
        product.append(_run("product", layout, str(path), str(network)))
    middle = sorted(product, key=lambda run: run.seconds)[len(product) // 2]
    missed, unplanned = _judged(middle.said["alerts"], flows)
    return Result(
        layout, flows, middle.seconds, max(run.peak_mb for run in product),
        statistics.median(run.seconds for run in baseline) if baseline else None,
        max(run.peak_mb for run in baseline) if baseline else None,
        middle.said["steps"], dict(Counter(alert["rule"] for alert in middle.said["alerts"])),
        dict(Counter(attack.rule for attack in attacks(flows))), missed, unplanned, flows - middle.said["kept"],
    )


def _made(layout: str, folder: Path, flows: int, seed: int) -> Path:
    """The input, made once: its name tells how. In a process of its own, whose memory is not ours."""
    maker = hashlib.sha256(b"".join((HERE / part).read_bytes() for part in MAKERS)).hexdigest()[:8]
    path = folder / f"{layout}-{flows}-{seed}-{maker}.{'yml' if layout == 'network' else layout}"
    if not path.exists():
        _say(f"making {path}")
        half = path.with_suffix(".part")
        _python("bench.generate", layout, str(half), "--flows", str(flows), "--seed", str(seed))
        half.rename(path)
    return path


def _run(kind: str, *arguments: str) -> Run:
    begin = time.perf_counter()
    said = json.loads(_python("bench.measure", kind, *arguments))
    run = Run(time.perf_counter() - begin, said.pop("peak_mb"), said)
    _say(f"{kind} {arguments[0]}: {run.seconds:.1f} s, {run.peak_mb:.0f} MB")
    return run


def _python(module: str, *arguments: str) -> str:
    root = HERE.parent
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE, text=True,
                          cwd=root, env=environment).stdout


def _judged(alerts: Sequence[Mapping[str, Any]], flows: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(planted attacks without their alert, alerts without their attack)."""
    planted = attacks(flows)
    fits = [[a for a in planted if a.rule == alert["rule"] and a.address in alert["named"]
             and a.first <= alert["crossing"] <= a.last] for alert in alerts]
    found = {attack for some in fits for attack in some}
    missed = tuple(f"{a.rule} by {a.address}" for a in planted if a not in found)
    unplanned = tuple(f"{alert['rule']} for {', '.join(alert['named'])}"
                      for alert, some in zip(alerts, fits, strict=True) if not some)
    return missed, unplanned


# ---------------------------------------------------------------- what is allowed, what is shown

def bounds(results: Sequence[Result], timed: bool) -> Iterator[Bound]:
    """Everything that must hold: nothing missed, memory, and if `timed` the ratio to DuckDB alone and the growth."""
    for r in results:
        name = f"{r.layout} {r.flows:,}"
        if timed and r.alone_seconds:
            yield Bound(f"{name}: times DuckDB alone", r.seconds / r.alone_seconds, MOST_RATIO)
        yield Bound(f"{name}: peak MB", r.peak_mb, MOST_MEMORY_MB)
        yield Bound(f"{name}: planted attacks missed", len(r.missed), 0)
        yield Bound(f"{name}: flows lost", r.lost, 0)
    small, large = results[-2:]
    if timed:
        yield Bound(f"{large.layout}: {large.flows / small.flows:g} × the flows, times the time",
                    large.seconds / small.seconds, MOST_GROWTH)


def show(results: Sequence[Result], timed: bool) -> str:
    """The report: inputs, where the time went, alerts by rule, and what is allowed."""
    lines = [f"{'input':<10}{'flows':>12}{'seconds':>10}{'flows/s':>10}{'peak MB':>10}{'DuckDB s':>10}"
             f"{'DuckDB MB':>11}{'ratio':>8}"]
    for r in results:
        alone = (f"{r.alone_seconds:>10.1f}{r.alone_peak_mb:>11.0f}{r.seconds / r.alone_seconds:>8.2f}"
                 if r.alone_seconds else "")
        lines.append(f"{r.layout:<10}{r.flows:>12,}{r.seconds:>10.1f}{r.flows / r.seconds:>10,.0f}{r.peak_mb:>10.0f}"
                     + alone)
    columns = [f"{r.layout} {r.flows:,}" for r in results]
    head = "".join(f"{column:>20}" for column in columns)
    lines += ["", f"{'seconds of':<26}{head}"]
    lines += [f"{step:<26}" + "".join(f"{r.steps.get(step, 0):>20.2f}" for r in results) for step in results[0].steps]
    lines += ["", f"{'alerts (planted)':<26}{head}"]
    for rule in sorted({*results[0].planted, *(rule for r in results for rule in r.alerts)}):
        told = (f"{r.alerts.get(rule, 0)} ({r.planted.get(rule, 0)})" for r in results)
        lines.append(f"{rule:<26}" + "".join(f"{each:>20}" for each in told))
    for r in results:
        lines += [f"missed: {each}" for each in r.missed] + [f"unplanned: {each}" for each in r.unplanned[:10]]
    lines += ["", *(f"{'ok  ' if b.holds else 'FAIL'}  {b.what}: {b.measured:.4g}, at most {b.most:g}"
                    for b in bounds(results, timed))]
    return "\n".join(lines)


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and tell by the exit code whether everything held."""
    parser = argparse.ArgumentParser(description="Measure ewdetect against DuckDB alone. Keeps 1.5 GB of inputs.")
    parser.add_argument("--quick", action="store_true", help="few flows, once, times not judged: they are all start-up")
    parser.add_argument("--flows", type=int, default=FLOWS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "ewdetect-bench"),
                        help="where the inputs are kept for the next time")
    parser.add_argument("--json", type=Path, help="write the results there too")
    options = parser.parse_args(arguments)
    flows, repeat = (QUICK_FLOWS, 1) if options.quick else (options.flows, options.repeat)
    options.folder.mkdir(parents=True, exist_ok=True)
    results = [measure(layout, flows, options.folder, options.seed, repeat, alone=True) for layout in ("eve", "zeek")]
    results += [measure("parquet", count, options.folder, options.seed, repeat if count == flows else 1, alone=False)
                for count in (flows, flows * 10)]
    sys.stdout.write(show(results, not options.quick) + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n", encoding="utf-8")
    return 0 if all(bound.holds for bound in bounds(results, not options.quick)) else 1


if __name__ == "__main__":
    sys.exit(main())

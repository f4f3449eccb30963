"""ewdetect backtest"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import datetime

import click

from ewdetect.backtest import Backtest, run_backtest
from ewdetect.cli.options import chosen_pack, config_option, json_or_text, network_option, rule_paths, tuning
from ewdetect.cli.outcome import NO, YES
from ewdetect.cli.output import emit, progress, show, whole_file
from ewdetect.cli.reading import Memory, microseconds, recognised
from ewdetect.engine import Settings
from ewdetect.load import load_fields, load_network, load_orientation, load_source
from ewdetect.report.backtest_text import backtest_text
from ewdetect.report.json import alert_lines, backtest_json
from ewdetect.report.truth_text import truth_text
from ewdetect.truth import Judgement, judge, load_truth


@click.command("backtest")
@click.argument("flows", nargs=-1, required=True, metavar="FLOWS...")
@click.option("--source", required=True, metavar="S",
              help="What wrote the flows: a name of `ewdetect list sources`, or `auto` to tell it by their content.")
@network_option(required=True)
@click.option("--rules", multiple=True, metavar="PATH", help="Rule files or folders; left out, the rules that ship.")
@config_option()
@click.option("--rule", "only", multiple=True, metavar="NAME", help="Run this rule only; may be repeated.")
@click.option("--alerts", metavar="OUT.jsonl", help="Write every alert as a line of JSON; `-` is standard output.")
@click.option("--truth", metavar="FILE", help="Say which of the steps in FILE were caught, missed or falsely added.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), metavar="DATE",
              help="The latest time (UTC) of logs whose times have no year; left out, what other lines or the files' "
                   "dates say.")
@click.option("--memory", type=Memory(), default="512MB", show_default=True,
              help="What the engine may use before it spills to disk.")
@json_or_text
def command(flows: tuple[str, ...], source: str, network: str, rules: tuple[str, ...], config: str | None,
            only: tuple[str, ...], alerts: str | None, truth: str | None, until: datetime | None, memory: str,
            form: str) -> int:
    """Run rules over recorded flows and show what they find.

    FLOWS are files, globs and folders, gzipped or not; `-` is standard input. Finding alerts is no failure: the exit
    code is 1 where records were read and none could be kept, and with --truth where a step was missed or an alert is
    false.
    """
    fields = load_fields()
    context = load_network(network, fields)
    telemetry = recognised(flows, fields) if source == "auto" else load_source(source, fields)
    pack, found = chosen_pack(rule_paths(rules), fields, tuning(config))
    told = load_truth(truth) if truth else None
    with ExitStack() as stack:
        write = stack.enter_context(whole_file(alerts)) if alerts else None
        with progress("backtest") as update:
            result = run_backtest(pack, telemetry, flows, context, fields, load_orientation(),
                                  only or [rule.name for rule in found], Settings(memory=memory), update,
                                  microseconds(until))
        if write:
            write(alert_lines(result.alerts))
    judgement = judge(result.alerts, told) if told else None
    out = sys.stderr if alerts == "-" else sys.stdout
    if form == "json":
        emit(backtest_json(result, judgement), out)
    else:
        show(backtest_text(result, pack.rules, telemetry.name, network), out)
        if judgement:
            show(truth_text(judgement), out)
    return _code(result, judgement)


def _code(result: Backtest, judgement: Judgement | None) -> int:
    nothing_kept = result.report.read > 0 and result.report.kept == 0
    return NO if nothing_kept or (judgement and not judgement.passed) else YES

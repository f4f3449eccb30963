"""The command line. Each verb is a file of this folder, and is imported only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from ewdetect.cli.outcome import guarded
from ewdetect.problems import suggest

# What `ewdetect --help` says of each verb; it stands here so that help imports none of them.
VERBS = {
    "check": "Find everything that is wrong with rules, their tests and a network file.",
    "test": "Run the cases beside the rules; --mutate shows whether they prove anything.",
    "backtest": "Run rules over recorded flows and show what they find.",
    "convert": "Turn rules into queries for a SIEM.",
    "lookup": "Write a network as a lookup table for Splunk.",
    "list": "List rules, families, ATT&CK techniques, sources, fields or networks.",
    "explain": "Explain an address in a network, a problem code or a rule.",
    "new": "Write the files of a new rule or telemetry source.",
}


class Verbs(click.Group):
    """A group that knows its verbs by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]         # `list` is the name of a verb here, once that is imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            ctx.fail(f"there is no verb `{cmd_name}`; {suggest(cmd_name, [*VERBS])}")
        command: click.Command = import_module(f"ewdetect.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([*VERBS.items()])

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run one verb and exit with its code; see ewdetect.cli.outcome."""
        words = [*(sys.argv[1:] if args is None else args)]
        sys.exit(guarded(lambda: self._run(words)))

    def _run(self, words: Sequence[str]) -> int:
        with self.make_context("ewdetect", [*words]) as context:
            return int(self.invoke(context) or 0)


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"ewdetect {import_module('ewdetect.report.envelope').product_version()}")
        context.exit()


@click.group(cls=Verbs, epilog="Exit codes: 0 yes; 1 no (problems, a failed case, a missed step); 2 asked wrongly; "
                               "3 the world failed (a full disk, an unreadable file).")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def verbs() -> None:
    """Detections for traffic inside a network: check them, prove them, run them, ship them."""


def main() -> None:
    """The console script."""
    verbs.main()

"""ewdetect new"""

from __future__ import annotations

from pathlib import Path

import click

from ewdetect.cli.output import emit, tell
from ewdetect.problems import WorldFailed
from ewdetect.scaffold import Files, new_rule, new_source


@click.group("new")
def command() -> None:
    """Write the files of a new rule or telemetry source. What is there already is never overwritten."""


@command.command("rule")
@click.argument("address", metavar="FAMILY/NAME")
@click.option("--into", default="rules", show_default=True, metavar="FOLDER", help="The folder of the families.")
@click.option("--author", default="unknown", show_default=True, help="Who answers for the rule.")
def rule(address: str, into: str, author: str) -> None:
    """Write a rule and its test cases, which pass, to start from."""
    _write(new_rule(address, Path(into), author))
    tell(f"next: change both, then run `ewdetect check {into}` and `ewdetect test --mutate {into}`")


@command.command("source")
@click.argument("name")
@click.option("--into", default="mappings", show_default=True, metavar="FOLDER", help="The folder of the sources.")
def source(name: str, into: str) -> None:
    """Write the mapping of a telemetry source and a record that it reads, to start from."""
    _write(new_source(name, Path(into)))
    folder = Path(into, name)
    tell(f"next: put records of the sensor into {folder / 'sample.jsonl'}, map their names in source.yml, then run\n"
         f"      `ewdetect backtest {folder / 'sample.jsonl'} --source {folder / 'source.yml'} --network FILE`")


def _write(files: Files) -> None:
    """Write new files and print their paths. Raises WorldFailed."""
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise WorldFailed(f"{error.filename}: {error.strerror}") from error
    emit("".join(f"{path}\n" for path in files))

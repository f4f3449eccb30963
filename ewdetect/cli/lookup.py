"""ewdetect lookup"""

from __future__ import annotations

import click

from ewdetect.backends.splunk.lookup import context_table
from ewdetect.cli.options import network_option
from ewdetect.cli.output import emit
from ewdetect.load import load_fields, load_network


@click.command("lookup")
@network_option(required=True)
def command(network: str) -> None:
    """Write a network file as the lookup table that Splunk searches with `--context enriched` ask.

    One line is one network, and none overlap; docs/splunk.md says where the file goes.
    """
    emit(context_table(load_network(network, load_fields())))

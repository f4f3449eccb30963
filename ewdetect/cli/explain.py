"""ewdetect explain"""

from __future__ import annotations

from pathlib import Path

import click

from ewdetect.checks import page_of
from ewdetect.cli.options import network_option, rule_paths
from ewdetect.cli.output import emit, show
from ewdetect.codes import explanations
from ewdetect.load import load_fields, load_network, load_pack, only_document, test_of
from ewdetect.model import Rule
from ewdetect.network import address_int, explain
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.report.listing_text import address_text, rule_text


@click.command("explain")
@click.argument("what")
@network_option()
def command(what: str, network: str | None) -> None:
    """Explain WHAT: an address in a network, a problem code, or a rule.

    An address needs --network: every entry that says something of it is shown, and which one counts. A code such as
    rule/unknown-field stands behind every problem. A rule is shown with its investigation guide.
    """
    if _is_address(what):
        _address(what, network)
    elif "/" in what:
        emit(_page(what))
    else:
        _rule(what)


def _is_address(what: str) -> bool:
    try:
        address_int(what)
    except ValueError:
        return False
    return True


def _address(what: str, network: str | None) -> None:
    if network is None:
        raise click.UsageError(f"in which network is {what}? name its file with --network")
    known = load_network(network, load_fields())
    show(address_text(what, known, explain(known, what)))


def _page(code: str) -> str:
    """The page of the check that reports a code, or what is known of it."""
    known = explanations()
    if not (page := page_of(code) or known.get(code, "")):
        raise Rejected([Problem("explain/unknown", f"there is no problem code `{code}`", None,
                                suggest(code, list(known)))])
    return page.strip() + "\n"


def _rule(name: str) -> None:
    pack = load_pack(rule_paths(()), load_fields())
    found = pack.find(name)
    if found is None:
        raise Rejected([Problem("rule/unknown", f"`{name}` is no address, no problem code and no rule", None,
                                suggest(name, sorted(pack.rules)))])
    show(rule_text(found, _cases(found)))


def _cases(rule: Rule) -> int:
    test = test_of(Path(rule.document.path))
    return len(only_document(test, "test").data["cases"]) if test.is_file() else 0

"""Tables and pages for `list` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ewdetect.model import Rule
from ewdetect.network import Contribution, Network
from ewdetect.report.words import count, safe


def listing_text(rows: Sequence[Mapping[str, str]]) -> Table:
    """One line for each row; the keys of the first row are the heads."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    heads = list(rows[0]) if rows else []
    for head in heads:
        table.add_column(head, no_wrap=head == heads[0], overflow="fold")
    for row in rows:
        table.add_row(*(safe(row[head]) for head in heads))
    return table


def address_text(address: str, network: Network, found: Sequence[Contribution]) -> RenderableType:
    """Every entry that says something of an address; `>` marks what counts. Attributes that nothing sets stand last."""
    said = [each for each in found if not _is_default(each, network)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("", "attribute", "value", "entry", "where", ""):
        table.add_column(head, no_wrap=True)
    for each in said:
        table.add_row(*_contribution(each, network), style="" if each.wins else "dim")
    rest = ", ".join(f"{each.attribute} {_plain(each.value)}" for each in found if _is_default(each, network))
    return Group(Text(f"{safe(address)} in network {safe(network.name)}\n", "bold"), table,
                 Text(f"\nno entry says it: {rest}" if rest else ""))


def _is_default(each: Contribution, network: Network) -> bool:
    return each.entry is None and each.wins and each.value == network.defaults[each.attribute]


def _contribution(each: Contribution, network: Network) -> Iterator[str]:
    yield ">" if each.wins else " "
    yield each.attribute
    yield safe(_plain(each.value))
    yield str(each.entry.cidr) if each.entry else "internal:"
    yield f"{network.path}:{each.entry.location.line}" if each.entry else network.path
    yield "" if each.wins else "overridden"


def _plain(value: object) -> str:
    return "missing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def rule_text(rule: Rule, cases: int) -> RenderableType:
    """The head of a rule, its guide and its tuning."""
    body, meta = rule.body, rule.meta
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Rule", f"{rule.name}  {rule.id}")
    table.add_row("File", str(rule.document.at("title")))
    table.add_row("Level", f"{rule.level}, status {rule.status}, {count(cases, 'test case')}")
    table.add_row("Stands on", ", ".join(rule.refers_to) or "single flows")
    table.add_row("Tags", ", ".join(map(str, body.get("tags", ()))))
    needs = meta.get("needs") or {}
    table.add_row("Needs", "; ".join(f"{what}: {', '.join(names)}" for what, names in needs.items()))
    table.add_row("Tuning", safe(meta.get("tuning", "")))
    return Group(Text(safe(rule.title), "bold underline"), Text(safe(str(body.get("description", "")).strip())), Text(),
                 table, *_list("False positives", body.get("falsepositives", ())),
                 *_list("References", body.get("references", ())),
                 *_lines("Guide", str(meta.get("guide", "")).splitlines()))


def _list(head: str, values: Sequence[object]) -> Iterator[RenderableType]:
    yield from _lines(head, [f"- {value}" for value in values])


def _lines(head: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    if lines:
        yield Text(f"\n{head}", "bold")
        yield Padding(Group(*(Text(safe(line)) for line in lines)), (0, 0, 0, 2))

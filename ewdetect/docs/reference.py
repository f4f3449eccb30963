"""The reference pages: fields, sources, problems, command line, and the tables of the README."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ewdetect.attack import techniques
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.cli import verbs
from ewdetect.codes import explanations
from ewdetect.counts import MEANINGS
from ewdetect.coverage import Coverage, Grade, cover
from ewdetect.docs.markdown import bullets, code, fenced, page, table
from ewdetect.docs.rules import attack_link
from ewdetect.engine import DAMAGE
from ewdetect.flows import Source, Traits
from ewdetect.flows.source import knows_bytes
from ewdetect.load import context_fields
from ewdetect.model import Field, Pack
from ewdetect.problems import Rejected
from ewdetect.resolve import resolve_rule

_WIDTH = 100


def fields_page(fields: Mapping[str, Field]) -> str:
    """Every field that a rule may ask for."""
    kinds = {origin: [f for f in fields.values() if f.origin == origin] for origin in ("record", "derived")}
    return page(
        "# Fields of a flow",
        "One record for each connection, oriented initiator to responder. Rules, test tables and sources use these "
        "names; `mappings/flow.yml` is the list. A field that a record does not have is missing, never zero or empty.",
        "## Record fields\n\nThe source fills them. *Default* is what a flow in a test table has where the column is "
        "left out.\n\n" + _fields_table(kinds["record"], "default"),
        "## Derived fields\n\nThe engine works them out.\n\n" + _fields_table(kinds["derived"]),
        "## Context fields\n\nThe network file gives them, for each side: `source.zone`, `destination.zone` and so on. "
        "*Default* is what an address has that no entry says it of.\n\n"
        + _fields_table(context_fields(fields).values(), "default"))


def _fields_table(fields: Iterable[Field], *more: str) -> str:
    rows = [(f"`{f.name}`", (f.unit and f"{f.type} ({f.unit})") or f.type, _meaning(f), *(_default(f) for _ in more))
            for f in fields]
    return table(("field", "type", "meaning", *more), rows)


def _meaning(field: Field) -> str:
    return f"{field.meaning}. One of {code(field.values)}." if field.values else f"{field.meaning}."


def _default(field: Field) -> str:
    shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return "" if field.default is None else f"`{shown}`"


def sources_page(sources: Sequence[Source], fields: Mapping[str, Field]) -> str:
    """What each telemetry source can tell, and what becomes of records that cannot be read."""
    damage = table(("reason", "meaning"), [(f"`{word}`", text) for word, text in DAMAGE.items()])
    return page(
        "# Sources",
        "A source says how raw records become flows. `ewdetect backtest FLOWS --source NAME` takes files, folders, "
        "globs, gzip (by content, whatever the name) and `-` for standard input. `--source auto` tells it by content. "
        "[Coverage](coverage.md) says which rules each can answer.",
        sources_table(sources), *(_source(source, fields) for source in sources),
        "## Records that are dropped\n\n`backtest` counts them and shows the first places of each kind.\n\n" + damage)


def sources_table(sources: Sequence[Source]) -> str:
    """One line for each source."""
    return table(("source", "what it reads", "outcomes it tells apart", "a flow may arrive late by", "queries for"),
                 [(f"`{s.name}`", s.title, code(s.traits.outcomes), s.traits.delay,
                   ", ".join(title for title, found in _vocabularies(s) if not isinstance(found, Rejected)))
                  for s in sources])


def _vocabularies(source: Source) -> Iterator[tuple[str, Vocabulary | Rejected]]:
    """Each SIEM, and how it holds the flows of a source, or why no query can ask it for them."""
    for title, shared, siem in (("Elastic", "ecs", "elastic"), ("Splunk", "cim", "splunk")):
        try:
            yield title, load_vocabulary(shared, siem, source)
        except Rejected as rejected:
            yield title, rejected


def _source(source: Source, fields: Mapping[str, Field]) -> str:
    absent = [f.name for f in fields.values() if f.origin == "record" and not source.tells(f.name)]
    return f"## {source.name}\n\n{source.title}.\n\n" + bullets([
        *_records(source), *_times(source.traits),
        f"Initiator: {source.traits.initiator}" + (f" ({source.traits.evidence})" if source.traits.evidence else ""),
        f"Reports denials: {_yes('denied' in source.traits.outcomes)}; knows the state: "
        f"{_yes(source.tells('network.state'))}; the application: {_yes(source.tells('network.protocol'))}; bytes: "
        f"{knows_bytes(source)}",
        *([f"Does not fill: {code(absent)}"] if absent else ["Fills every record field"]), *_queries(source)])


def _records(source: Source) -> Iterator[str]:
    yield f"Both directions in one record: {_yes(source.traits.bidirectional)}"
    yield f"Records of one connection: {' and '.join(_REPORTS[word] for word in source.traits.reports)}"
    if source.merge:
        counted = {"sum": "each counts anew", "max": "later ones go on counting"}[source.merge.counters]
        yield f"Joined into one flow where no two are more than {source.merge.gap} apart; {counted}"


def _queries(source: Source) -> Iterator[str]:
    for title, found in _vocabularies(source):
        if isinstance(found, Rejected):
            yield f"Queries for {title}: none; {found.problems[0].message}"
        else:
            yield " ".join([f"Queries for {title}: yes.", *found.caveats])


_REPORTS = {"once": "one", "twice": "both ends or both ways", "installments": "installments"}


def _times(traits: Traits) -> Iterator[str]:
    yield "Timing: exact" if traits.timing == "exact" else f"Timing: a record sums up {traits.interval}"
    yield f"Sampled: {_yes(traits.sampled)}"
    yield f"A flow may arrive {traits.delay} after its end"


def coverage_page(pack: Pack, sources: Sequence[Source], fields: Mapping[str, Field]) -> str:
    """Rule × source: what each source can answer, and why not."""
    resolved = {rule.name: resolve_rule(rule, pack) for rule in sorted(pack.alerting(), key=lambda rule: rule.name)}
    covered = {(name, s.name): cover(each, s, fields) for name, each in resolved.items() for s in sources}
    marks = table(("rule", *(f"`{s.name}`" for s in sources)),
                  [(f"[{name}](rules/{name}.md)", *(_MARKS[covered[name, s.name].grade] for s in sources))
                   for name in resolved])
    return page(
        "# Coverage",
        "Which source answers which rule. `ewdetect list coverage` prints the same. `backtest` skips what is "
        "impossible and names what is degraded; `convert` refuses the one and adds a caveat for the other.",
        ", ".join(f"{mark} {grade.value}" for grade, mark in _MARKS.items()) + f".\n\n{marks}",
        *(_reasons(s, [covered[name, s.name] for name in resolved]) for s in sources))


_MARKS = {Grade.EXACT: "●", Grade.DEGRADED: "◐", Grade.IMPOSSIBLE: "○"}


def _reasons(source: Source, covered: Sequence[Coverage]) -> str:
    """Every reason of a source, with the rules that it holds for."""
    found: dict[tuple[Grade, str], list[str]] = {}
    for each in covered:
        for reason in each.reasons:
            found.setdefault((each.grade, reason), []).append(each.rule)
    lines = [f"{grade.value}: {reason} ({code(rules)})" for (grade, reason), rules in found.items()]
    return f"## {source.name}\n\n" + (bullets(lines) if lines else "Every rule, exactly.")


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def problems_page() -> str:
    """Every problem code."""
    areas = groupby(explanations().items(), key=lambda item: item[0].partition("/")[0])
    return page(
        "# Problems",
        "Everything that ewdetect refuses has a code. The message names the place and the mend; this page says why. "
        "`ewdetect explain CODE` prints the entry.",
        *(f"## {area}\n\n" + bullets(f"`{name}`: {text}" for name, text in items) for area, items in areas))


def cli_page() -> str:
    """The help text of every verb."""
    context = verbs.context_class(verbs, info_name="ewdetect")
    return page(
        "# Command line",
        "Results go to standard output, talk to standard error. Exit codes, for every verb: 0 yes; 1 no (problems, "
        "a failed case); 2 asked wrongly; 3 the world failed (a disk is full, a file cannot be read).",
        *(f"## {name}\n\n" + fenced(text, "text") for name, text in _helps(verbs, context)))


def _helps(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """(full name, help) of a click command and those below it. Typed loosely: click stays behind the door of cli."""
    context.max_content_width = context.terminal_width = _WIDTH
    yield context.command_path, command.get_help(context)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        inner = command.get_command(context, name)
        yield from _helps(inner, inner.context_class(inner, info_name=name, parent=context))


def readme(text: str, pack: Pack, sources: Sequence[Source], counts: Mapping[str, int]) -> str:
    """The README with its tables of rules, sources and counts made anew."""
    blocks = {"rules": rules_table(pack), "sources": sources_table(sources), "counts": counts_table(counts)}
    for name, content in blocks.items():
        text = _block(text, name, content)
    return text


def counts_table(counts: Mapping[str, int]) -> str:
    """How much there is, as `ewdetect.counts` counted it."""
    return table(("what ships", "how many", "what that means"),
                 [(what, f"{number:,}", MEANINGS[what]) for what, number in counts.items()])


def rules_table(pack: Pack) -> str:
    """One line for each rule that alerts, by family."""
    rules = sorted(pack.alerting(), key=lambda rule: (rule.family, rule.name))
    return table(("family", "rule", "what it sees", "level", "ATT&CK"), [
        (r.family, f"[{r.name}](docs/rules/{r.name}.md)", r.title, r.level, " ".join(map(attack_link, techniques(r))))
        for r in rules])


def _block(text: str, name: str, content: str) -> str:
    """`text` with what stands between the marks of a block replaced."""
    begin, end = f"<!-- {name}: made by `make docs` -->\n", f"<!-- end of {name} -->"
    head, _, rest = text.partition(begin)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise ValueError(f"the README has no block `{name}`")
    return f"{head}{begin}\n{content}\n{end}{tail}"

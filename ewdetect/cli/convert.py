"""ewdetect convert"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from ewdetect.backends.base import Query
from ewdetect.backtest import chosen_rules
from ewdetect.cli.options import chosen_pack, network_option, rule_paths
from ewdetect.cli.outcome import code_of
from ewdetect.cli.output import emit, tell, tell_problems
from ewdetect.convert import backend, convert_rule
from ewdetect.load import load_fields, load_network, load_pack, load_source
from ewdetect.model import Field, Pack, Rule
from ewdetect.problems import Problem, Rejected
from ewdetect.report.json import queries_json
from ewdetect.resolve import resolve_rule


@click.command("convert")
@click.argument("rules", nargs=-1, required=True, metavar="RULE...")
@click.option("--to", "target", required=True, metavar="SIEM", help="elastic, splunk or duckdb.")
@click.option("--source", metavar="S", help="What wrote the flows there; `ewdetect list sources` shows the names.")
@network_option()
@click.option("--context", default="inline", show_default=True, metavar="HOW",
              help="inline: zones become networks in the query; enriched: the SIEM fills context fields.")
@click.option("--dialect", metavar="D",
              help="lucene, esql, threshold or new_terms (elastic), spl or tstats (splunk); left out, the first.")
@click.option("--format", "form", type=click.Choice(["text", "json", "rule"]), default="text", show_default=True,
              help="The query, for a person or for a program; or the whole rule as the SIEM takes it.")
def command(rules: tuple[str, ...], target: str, source: str | None, network: str | None, context: str,
            dialect: str | None, form: str) -> int:
    """Turn rules into queries for a SIEM, exactly or not at all.

    RULE is the name of a rule that ships, or the path of a rule file or folder. Queries go to standard output; caveats
    and the rules that are refused to standard error, and then the exit code is 1.
    """
    fields, into = load_fields(), backend(target)
    telemetry = load_source(source, fields) if source else None
    known = load_network(network, fields) if network else None
    queries: list[Query] = []
    whole: list[str] = []
    problems: list[Problem] = []
    for rule, pack in _chosen(rules, fields):
        resolved = resolve_rule(rule, pack, telemetry, known)
        try:
            query = convert_rule(resolved, into, context, dialect)
            whole += [into.content(resolved, query)] if form == "rule" else []
            queries.append(query)
        except Rejected as rejected:
            problems += rejected.problems
    problems = list(dict.fromkeys(problems))
    emit({"json": lambda: queries_json(queries, problems), "rule": lambda: "".join(whole),
          "text": lambda: _text(queries)}[form]())
    for said in (f"{query.rule}: {caveat}" for query in queries for caveat in query.caveats):
        tell(said)
    if problems:
        tell_problems(problems)
    return code_of(problems)


def _chosen(words: Sequence[str], fields: Mapping[str, Field]) -> Iterator[tuple[Rule, Pack]]:
    """Each rule with the pack it stands in: the alerting rules of the paths, and those named of the ones that ship."""
    paths = [word for word in words if "/" in word or word.endswith(".yml") or Path(word).exists()]
    if paths:
        pack, found = chosen_pack(rule_paths(paths), fields)
        yield from ((rule, pack) for rule in found)
    if names := [word for word in words if word not in paths]:
        pack = load_pack(rule_paths(()), fields)
        yield from ((rule, pack) for rule in chosen_rules(pack, names))


def _text(queries: Sequence[Query]) -> str:
    """One query as it is; several under the names of their rules."""
    if len(queries) == 1:
        return queries[0].text.rstrip("\n") + "\n"
    return "\n".join(f"# {query.rule} ({query.dialect})\n{query.text.rstrip()}\n" for query in queries)

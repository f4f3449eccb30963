"""ewdetect convert"""

from __future__ import annotations

from collections.abc import Sequence

import click

from ewdetect.backends.base import Query
from ewdetect.cli.named import named_rules
from ewdetect.cli.options import config_option, network_option, tuning
from ewdetect.cli.outcome import code_of
from ewdetect.cli.output import emit, tell, tell_problems
from ewdetect.convert import backend, convert_rule
from ewdetect.load import load_fields, load_network, load_source
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
@config_option()
@click.option("--format", "form", type=click.Choice(["text", "json", "rule"]), default="text", show_default=True,
              help="The query, for a person or for a program; or the whole rule as the SIEM takes it.")
def command(rules: tuple[str, ...], target: str, source: str | None, network: str | None, context: str,
            dialect: str | None, config: str | None, form: str) -> int:
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
    for rule, pack in named_rules(rules, fields, tuning(config)):
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


def _text(queries: Sequence[Query]) -> str:
    """One query as it is; several under the names of their rules."""
    if len(queries) == 1:
        return queries[0].text.rstrip("\n") + "\n"
    return "\n".join(f"# {query.rule} ({query.dialect})\n{query.text.rstrip()}\n" for query in queries)

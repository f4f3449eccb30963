"""ResolvedRule → the SQL that the engine runs, or that a user runs on a table `flow` of his own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from ewdetect.backends.base import Query, no_rule_form
from ewdetect.backends.duckdb.predicate import Unsayable, predicate
from ewdetect.backends.duckdb.stages import Block, blocks, hits
from ewdetect.backends.sigma import hydrate
from ewdetect.load import load_fields
from ewdetect.plan import Steps, plan
from ewdetect.problems import Problem, Rejected
from ewdetect.resolve import ResolvedRule


@cache
def _types() -> Mapping[str, str]:
    return {name: field.type for name, field in load_fields().items()}


class DuckdbBackend:
    """The reference backend. Context is always enriched: the engine joins it before rules run."""

    name = "duckdb"
    dialects = ("sql",)
    cannot: Mapping[str, str] = MappingProxyType({
        "keyword": "a flow has no text to search",
        "distinct over more than two steps": "only two steps can be compared",
    })

    def render(self, resolved: ResolvedRule, context: str = "enriched", dialect: str | None = None) -> Query:
        """All statements and, last, a SELECT of the hits."""
        made = compile_rule(resolved)
        sql = [s for block in made for s in block.statements] + [f"SELECT * FROM {hits(made[-1].stage)}"]
        source = resolved.source.name if resolved.source else "flow"
        return Query(resolved.rule.name, self.name, dialect or "sql", source, "enriched", ";\n".join(sql) + ";\n")

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """Raises Rejected: the engine runs rules, and keeps none."""
        raise Rejected([no_rule_form(resolved.rule, self.name)])


def compile_rule(resolved: ResolvedRule) -> tuple[Block, ...]:
    """The blocks of a rule; the last one's stage holds its alerts. Raises Rejected for what SQL cannot say."""
    stages = plan(resolved)
    problems = [Problem("convert/unsupported", "`distinct` compares the two steps of an ordered pair",
                        resolved.rule.document.at("ewdetect", "distinct"), "use two rules in the correlation")
                for s in stages if isinstance(s, Steps) and s.distinct and len(s.inputs) != 2]
    if problems:
        raise Rejected(problems)
    try:
        predicates = {name: predicate(rule, _types()) for name, rule in hydrate(resolved).items()}
    except Unsayable as error:
        raise Rejected([Problem("convert/unsupported", f"the engine cannot say {error}",
                                resolved.rule.document.at("detection"), "use fields and plain values")]) from error
    return blocks(stages, predicates)

"""What a converted query is, what a backend must offer, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ewdetect.model import Kind, Rule
from ewdetect.problems import Location, Problem, Rejected, suggest
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule

CONTEXTS = ("inline", "enriched")


@dataclass(frozen=True, slots=True)
class Query:
    """One rule in the language of one SIEM.

    `caveats` are sentences for the person who deploys it: what the text cannot carry, and what it takes for granted.
    `schedule` is how it must run; None where nothing runs it again and again.
    """

    rule: str
    target: str         # name of the backend
    dialect: str
    source: str         # telemetry source, or empty where the query runs on canonical flows
    context: str        # inline or enriched
    text: str
    caveats: tuple[str, ...] = ()
    schedule: Schedule | None = None


class Backend(Protocol):
    """A SIEM. `cannot` maps each construct it refuses to the reason; `dialect: construct` where only one does."""

    @property
    def name(self) -> str: ...

    @property
    def dialects(self) -> tuple[str, ...]: ...      # the first is the default

    @property
    def cannot(self) -> Mapping[str, str]: ...

    def render(self, resolved: ResolvedRule, context: str, dialect: str | None) -> Query:
        """The query of a resolved rule. Raises Rejected with every reason why there is none."""

    def content(self, resolved: ResolvedRule, query: Query) -> str:
        """The whole rule as the SIEM takes it, around a query of `render`. Raises Rejected where it takes none."""


def reason(cannot: Mapping[str, str], dialect: str, construct: str) -> str | None:
    """Why `dialect` refuses `construct`; None where it does not."""
    return cannot.get(f"{dialect}: {construct}") or cannot.get(construct)


def unsupported(rule: Rule, target: str, construct: str, why: str, place: Location, fix: str = "") -> Problem:
    """The problem of a construct that a target cannot say exactly."""
    return Problem("convert/unsupported", f"`{rule.name}` cannot become a query for {target}: {construct}: {why}",
                   place, fix or "use another target, or write the rule without it")


def no_rule_form(rule: Rule, target: str) -> Problem:
    """The problem of a target that takes queries and no rules."""
    return Problem("convert/no-rule-form", f"`{rule.name}`: {target} has no rules to deploy",
                   rule.document.at("title"), "leave `--format rule` out to see the query")


def refuse_base(rule: Rule, target: str) -> None:
    """Raises Rejected for a rule that only feeds correlations."""
    if not rule.alerts:
        raise Rejected([unsupported(
            rule, target, "a base rule", "it only feeds correlations, and would alert on ordinary traffic",
            rule.document.at("title"), "convert a rule that alerts; `ewdetect list` shows them")])


def refuse_correlation(rule: Rule, target: str) -> None:
    """Raises Rejected for a correlation and for what only feeds one, where a target says single flows only."""
    if rule.kind is Kind.EVENT:
        refuse_base(rule, target)
        return
    kind = (rule.body.get("correlation") or {}).get("type", rule.kind.value)
    raise Rejected([unsupported(
        rule, target, f"`{kind}`", "this dialect finds single flows, and a correlation counts or orders them",
        rule.document.at("correlation", "type"), "leave `--dialect` out, and a language that can is taken")])


def chosen(word: str | None, vocabulary: tuple[str, ...], what: str) -> str:
    """One of a closed vocabulary, the first where nothing was asked for. Raises Rejected for another word."""
    if word is None:
        return vocabulary[0]
    if word in vocabulary:
        return word
    raise Rejected([Problem(f"convert/unknown-{what}", f"there is no {what} `{word}` here", None,
                            suggest(word, vocabulary))])

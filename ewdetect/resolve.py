"""Rule × Source × Network → ResolvedRule: everything a backend needs, and nothing it must look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ewdetect.flows import Source
from ewdetect.model import Kind, Pack, Rule
from ewdetect.network import Network
from ewdetect.problems import Problem, Rejected, suggest


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """A rule with the rules it refers to (dependencies first, the rule itself last) and their filters.

    `network` is None where the context is not to be compiled in (the engine and enriched queries).
    """

    rule: Rule
    parts: tuple[Rule, ...]
    filters: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)   # part name → filters that hit it
    source: Source | None = None
    network: Network | None = None


def chosen_rules(pack: Pack, only: Sequence[str]) -> tuple[Rule, ...]:
    """The alerting rules, or those of the given names or ids. Raises Rejected, `rule/unknown`, for every other word."""
    unknown = [word for word in only if pack.find(word) is None]
    if unknown:
        names = sorted(pack.rules)
        raise Rejected(Problem("rule/unknown", f"there is no rule `{word}`", None, suggest(word, names))
                       for word in unknown)
    if off := [place for word in only if (rule := pack.find(word)) and (place := pack.off.get(rule.name))]:
        raise Rejected(Problem("config/switched-off", "the rule was asked for, and is switched off here", place,
                               "ask for others, or let it alert here") for place in off)
    found = dict.fromkeys(rule.name for word in only if (rule := pack.find(word)))
    return tuple(pack.rules[name] for name in found) if only else pack.alerting()


def resolve_rule(rule: Rule, pack: Pack, source: Source | None = None, network: Network | None = None) -> ResolvedRule:
    """Collect what `rule` stands on. The pack is already checked, so every reference resolves."""
    parts = _dependencies(rule, pack, {})
    filters = {part.name: tuple(f for f in pack.filters if filter_hits(f, part))
               for part in parts if part.kind is Kind.EVENT}
    return ResolvedRule(rule, parts, filters, source, network)


def _dependencies(rule: Rule, pack: Pack, seen: dict[str, Rule]) -> tuple[Rule, ...]:
    if rule.derived:
        for reference in rule.refers_to:
            found = pack.find(reference)
            if found is not None and found.name not in seen:
                _dependencies(found, pack, seen)
    seen[rule.name] = rule
    return tuple(seen.values())


def filter_hits(sigma_filter: Rule, rule: Rule) -> bool:
    """Whether a filter applies: it names the rule (or says `any`) and its log source covers the rule's."""
    named = "any" in sigma_filter.refers_to or bool({rule.name, rule.id} & set(sigma_filter.refers_to))
    mine, theirs = sigma_filter.body.get("logsource") or {}, rule.body.get("logsource") or {}
    return named and rule.kind is Kind.EVENT and all(theirs.get(k) == v for k, v in mine.items())

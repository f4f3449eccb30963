"""A first-seen combination as Kibana's new terms rule: an approximation for those who ask for it by name.

Kibana compares what it finds between `from` and `to` of a run with the history before that run, not before each flow.
https://www.elastic.co/docs/solutions/security/detect-and-alert/create-detection-rule#create-new-terms-rule
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ewdetect.backends.base import Query, unsupported
from ewdetect.backends.elastic.approximation import approximation, setting_of
from ewdetect.backends.predicate import Setting, Target, letters_caveat
from ewdetect.model import Kind
from ewdetect.plan import FirstSeen, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import schedule

DIALECT = "new_terms"
FIELDS = 3                      # of `new_terms_fields`

_REASONS = {
    "anything but first_seen": "a rule of type new_terms tells what was never seen before, and nothing else",
    "aged": "it does not ask whether one of the fields is itself known",
    "many fields": f"it compares at most {FIELDS} fields",
    "unmapped field": "it compares fields that the flows have; for the context, use --context enriched",
}
CANNOT: Mapping[str, str] = {f"{DIALECT}: {construct}": why for construct, why in _REASONS.items()}


@dataclass(frozen=True, slots=True)
class Terms:
    """The fields that are compared, by the SIEM's names, and for how many seconds back."""

    fields: tuple[str, ...]
    history: int

    @property
    def parts(self) -> Mapping[str, Any]:
        """The keys of Kibana's rule."""
        return {"new_terms_fields": list(self.fields), "history_window_start": f"now-{self.history}s"}


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The Lucene query on the first line, fields and history as JSON on the second. `target` is Lucene's.

    Raises Rejected with every reason why there is none.
    """
    setting = setting_of(resolved, context, target)
    terms = terms_of(resolved, setting.names)
    when = replace(schedule(resolved.rule, plan(resolved), setting.source), window=0, lasting=0)
    return approximation(resolved, setting, DIALECT, terms.parts,
                         _differences(_stage(resolved), terms, setting), when)


def terms_of(resolved: ResolvedRule, names: Mapping[str, str]) -> Terms:
    """What Kibana compares. Raises Rejected with every reason why it cannot."""
    rule = resolved.rule
    found = list(_constructs(resolved, names))
    if found:
        raise Rejected([unsupported(rule, "elastic", construct, _REASONS[construct], rule.document.at("title"),
                                    "run it with `ewdetect backtest`") for construct in found])
    stage = _stage(resolved)
    return Terms(tuple(names[key.name] for key in stage.keys), stage.history // 1_000_000)


def _constructs(resolved: ResolvedRule, names: Mapping[str, str]) -> Iterator[str]:
    """What of the rule a new terms rule cannot hold."""
    if resolved.rule.kind is not Kind.FIRST_SEEN:
        yield "anything but first_seen"
        return
    stage = _stage(resolved)
    if stage.aged:
        yield "aged"
    if len(stage.keys) > FIELDS:
        yield "many fields"
    if any(key.name not in names for key in stage.keys):
        yield "unmapped field"


def _stage(resolved: ResolvedRule) -> FirstSeen:
    """The stage that the alerts are made of: the last is only that there is one for each instant."""
    stage = plan(resolved)[-2]
    assert isinstance(stage, FirstSeen)     # `_constructs` has refused everything else
    return stage


def _differences(stage: FirstSeen, terms: Terms, setting: Setting) -> Iterator[str]:
    """How it differs from the rule."""
    yield (f"An approximation of the rule: Kibana looks back {terms.history} s from each run, not from each flow, and "
           "alerts on the first flow of a run that has the combination.")
    yield (f"Kibana has no warm-up. Before the indices hold {stage.warm_up // 1_000_000} s of flows everything is new, "
           "so enable the rule when they do, and keep them as long as the history.")
    yield from letters_caveat(terms.fields, setting)

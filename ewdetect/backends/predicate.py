"""ResolvedRule → the text of its predicate: what pySigma refuses or gets wrong is found here, before it prints.

The order matters. Constructs are checked on the rule as written; context and values are replaced while names are
canonical; then pySigma's pipeline renames and adds the source's own conditions, and a printer prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sigma.conversion.state import ConversionState
from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import (
    SigmaCasedString,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaQueryExpression,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
)

from ewdetect.backends.base import Query, reason, refuse_correlation
from ewdetect.backends.context import EnrichedContext, InlineContext
from ewdetect.backends.findings import Findings
from ewdetect.backends.printing import ExplicitPrinter
from ewdetect.backends.repeats import refuse_counts
from ewdetect.backends.sigma import hydrate
from ewdetect.backends.tree import clauses, simplified
from ewdetect.backends.values import SourceValues, TypedValues
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source
from ewdetect.load import load_fields
from ewdetect.model import Field, Rule
from ewdetect.network import Network
from ewdetect.plan import plan
from ewdetect.problems import Location, Problem, Rejected, suggest
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import schedule

# Constructs that have one reason for every SIEM. Backends add their own.
CANNOT: Mapping[str, str] = {
    "keywords": "a flow has no text to search; name a field",
    "re": "regular expressions differ in every engine, in anchors, letters and syntax; use `|startswith` and its like",
    "cased": "text is compared without regard to case everywhere, and SIEMs store it in letters of their own",
    "time parts": "none of the SIEMs compares parts of a time in a plain query",
    "expand": "placeholders are not filled in; write the values, or use the network context",
    "encodings": "flows carry no encoded text",
    "control character": "a query is one line of text, in consoles and in configuration files",
    "several conditions": "a document with a list of conditions is several rules; write one document for each",
}
_FULL_TEXT = ("text", "match_only_text")     # types of Elasticsearch whose words are indexed one by one
_BY_TYPE: tuple[tuple[type[SigmaType], str], ...] = (
    (SigmaRegularExpression, "re"), (SigmaCasedString, "cased"), (SigmaFieldReference, "fieldref"),
    (SigmaTimestampPart, "time parts"), (SigmaExpansion, "encodings"), (SigmaQueryExpression, "expand"))


@dataclass(frozen=True, slots=True)
class Target:
    """What `render` has to know of a dialect: its names, its files in mappings/, its refusals, its printer."""

    name: str
    dialect: str
    shared: str                         # mappings/<shared>.yml
    siem: str                           # mappings/<source>/<siem>.yml
    cannot: Mapping[str, str]
    printer: type[ExplicitPrinter]


@dataclass(frozen=True, slots=True)
class Setting:
    """Whose flows a query is about, and what the SIEM calls them. `letters` is by the SIEM's names."""

    target: Target
    source: Source
    context: str
    vocabulary: Vocabulary
    fields: Mapping[str, Field]
    names: Mapping[str, str]
    letters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """One event rule's condition as a tree in the SIEM's own names, ready to print. `clauses` counts comparisons."""

    tree: Any
    state: Mapping[str, Any]
    clauses: int
    caveats: tuple[str, ...]


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The query of an event rule. Raises Rejected with every reason at once."""
    rule = resolved.rule
    refuse_correlation(rule, target.name)
    setting = setting_of(resolved, context, target)
    found = condition(rule, resolved, setting)
    text = printer(setting).finished(spelt(found.tree, found.state, rule, setting), found.state)
    caveats = (*suppression_caveats(rule), *found.caveats, *setting.vocabulary.caveats,
               *size_caveats(setting, found.clauses, len(text)))
    return Query(rule.name, target.name, target.dialect, setting.source.name, context, text, caveats,
                 schedule(rule, plan(resolved), setting.source))


def setting_of(resolved: ResolvedRule, context: str, target: Target) -> Setting:
    """The setting of one conversion. Raises Rejected."""
    source = _source(resolved)
    vocabulary = load_vocabulary(target.shared, target.siem, source)
    if vocabulary.repeats:
        refuse_counts(resolved, source)
    if vocabulary.delay:
        source = replace(source, traits=replace(source.traits, delay=vocabulary.delay))
    fields = load_fields()
    names = vocabulary.names(fields, context == "enriched")
    return Setting(target, source, context, vocabulary, fields, names, vocabulary.stored(fields, names))


def condition(rule: Rule, resolved: ResolvedRule, setting: Setting) -> Condition:
    """The condition of an event rule, with its filters. Raises Rejected with every reason at once."""
    findings = Findings(rule, tuple(resolved.filters.get(rule.name, ())))
    sigma_rule = hydrate(replace(resolved, parts=(rule,)))[rule.name]
    _check(sigma_rule, findings, setting.target)
    findings.settle()
    _transform(sigma_rule, findings, resolved.network, setting)
    _check_names(sigma_rule, findings, setting)
    findings.settle()
    return _settled(sigma_rule, findings, setting)


def printer(setting: Setting) -> ExplicitPrinter:
    """A printer that knows the SIEM's letters and columns."""
    made = setting.target.printer()
    made.letters = setting.letters
    made.keep = setting.vocabulary.keep
    return made


def spelt(tree: Any, state: Mapping[str, Any], rule: Rule, setting: Setting) -> str:
    """A tree as text. Raises Rejected."""
    try:
        return str(printer(setting).convert_condition(tree, ConversionState(processing_state=dict(state))))
    except SigmaError as error:
        raise _unsaid(rule, error) from error


def _source(resolved: ResolvedRule) -> Source:
    if resolved.source is None:
        raise Rejected([Problem("convert/no-source", f"`{resolved.rule.name}`: which source wrote the flows?",
                                resolved.rule.document.at("logsource"), "name it with --source")])
    return resolved.source


def items_of(detections: Any) -> Iterator[SigmaDetectionItem]:
    """Every item of detections, however deep."""
    for part in detections:
        if isinstance(part, SigmaDetection):
            yield from items_of(part.detection_items)
        else:
            yield part


def _check(rule: SigmaRule, findings: Findings, target: Target) -> None:
    """Problems for every construct that the target refuses."""
    if len(rule.detection.condition) > 1:
        _refuse(findings, target, "several conditions", None)
    for asked in items_of(rule.detection.detections.values()):
        for construct in _constructs(asked):
            _refuse(findings, target, construct, asked.field)


def _refuse(findings: Findings, target: Target, construct: str, name: str | None) -> None:
    why = reason(target.cannot, target.dialect, construct)
    if why:
        where = f" on `{name}`" if name else ""
        findings.refuse("convert/unsupported", f"{target.name} ({target.dialect}) cannot say {construct}{where}: {why}",
                        name, "use another target, or write the rule without it")


def _constructs(asked: SigmaDetectionItem) -> Iterator[str]:
    if asked.field is None:
        yield "keywords"
    for value in asked.value:
        inner = getattr(value, "number", value)         # the number of a comparison may be a part of a time
        for kind, construct in _BY_TYPE:
            if isinstance(value, kind) or isinstance(inner, kind):
                yield construct
        if isinstance(value, SigmaString) and value.contains_placeholder():
            yield "expand"


def _transform(rule: SigmaRule, findings: Findings, network: Network | None, setting: Setting) -> None:
    kind = InlineContext if setting.context == "inline" else EnrichedContext
    vocabulary, fields = setting.vocabulary, setting.fields
    for step in (kind(findings, fields, network), SourceValues(findings, vocabulary, setting.source),
                 TypedValues(findings, vocabulary, fields)):
        step.apply(rule)


def _check_names(rule: SigmaRule, findings: Findings, setting: Setting) -> None:
    """Problems for fields without a name in the SIEM, and for texts without a literal."""
    names, made, types = setting.names, setting.target.printer(), setting.vocabulary.content["types"]
    for asked in items_of(rule.detection.detections.values()):
        words = "full text" if types.get(names.get(asked.field or "")) in _FULL_TEXT else None
        for name in _names(asked):
            if name not in names and name in setting.vocabulary.cannot:
                findings.refuse("convert/unsupported", cannot_say(name, setting), name, "use another target or source")
            elif name not in names and not {name, asked.field} & findings.refused:
                fix = "map it there, or use another source" if name in setting.fields else suggest(name, sorted(names))
                findings.refuse("convert/unmapped-field", f"{setting.vocabulary.path} has no name for `{name}`",
                                name, fix)
        for value in asked.value:
            construct = made.unsayable(value) or words if isinstance(value, SigmaString) else None
            if construct:
                _refuse(findings, setting.target, construct, asked.field)


def cannot_say(name: str, setting: Setting) -> str:
    """The sentence that refuses a field which the SIEM does not hold."""
    target = setting.target
    return f"{target.name} ({target.dialect}) cannot say `{name}`: {setting.vocabulary.cannot[name]}"


def unnamed(name: str, resolved: ResolvedRule, setting: Setting, place: Location, held: str) -> Rejected:
    """Why a field that a rule groups or counts by has no name. `held` is what holds the SIEM's fields."""
    if name in setting.vocabulary.cannot:
        return Rejected([Problem("convert/unsupported", f"`{resolved.rule.name}`: {cannot_say(name, setting)}", place,
                                 "use another target or source")])
    field = setting.fields.get(name)
    why = f"{setting.vocabulary.path} has no name for it"
    fix = "map it there, or use another source" if field else suggest(name, sorted(setting.names))
    if field and field.origin != "record":
        why, fix = f"a query groups and counts by fields that the {held} have", "convert with --context enriched"
    return Rejected([Problem("convert/unmapped-field", f"`{resolved.rule.name}`: `{name}`: {why}", place, fix)])


def _names(asked: SigmaDetectionItem) -> Iterator[str]:
    if asked.field:
        yield asked.field
    for value in asked.value:
        if isinstance(value, SigmaFieldReference):
            yield value.field


def _settled(rule: SigmaRule, findings: Findings, setting: Setting) -> Condition:
    """The tree in the SIEM's names. pySigma's own `convert` would print the tree unprepared."""
    pipeline = setting.vocabulary.pipeline(setting.names)
    try:
        pipeline.apply(rule)
        tree = simplified(rule.detection.parsed_condition[0].parsed)
    except SigmaError as error:
        raise _unsaid(findings.rule, error) from error
    if isinstance(tree, bool):
        findings.refuse(
            "convert/never-matches", f"the condition is always {str(tree).lower()} in this network", None,
            "see what the rule needs of the network context, and mark the hosts there")
        findings.settle()
    return Condition(tree, dict(pipeline.state), clauses(rule.detection.detections.values()), tuple(findings.caveats))


def _unsaid(rule: Rule, error: SigmaError) -> Rejected:
    return Rejected([Problem("convert/unsupported", f"`{rule.name}`: {error}", rule.document.at("detection"),
                             "use another target")])


def suppression_caveats(rule: Rule) -> Iterator[str]:
    """What the query leaves to the SIEM's rule."""
    if suppress := rule.meta.get("suppress"):
        keys = ", ".join(suppress["by"])
        yield f"The query is the predicate alone: set suppression by {keys} for {suppress['for']} in the SIEM's rule."


def size_caveats(setting: Setting, count: int, characters: int) -> Iterator[str]:
    """A caveat for each limit of the SIEM that the query passes."""
    limits = setting.vocabulary.limits.get(setting.target.dialect, {})
    for what, actual in (("clauses", count), ("characters", characters)):
        if actual > limits.get(what, actual):
            yield (f"The query has {actual} {what}, more than the {limits[what]} that the SIEM takes by default; "
                   "raise the limit there, or convert with --context enriched.")


def letters_caveat(names: Iterable[str], setting: Setting) -> Iterator[str]:
    """A caveat for the fields whose values a SIEM compares letter by letter, and whose letters the source mixes."""
    texts = {setting.names[own] for own, field in setting.fields.items()
             if field.type == "string" and own in setting.names}
    mixed = [name for name in names if name in texts and setting.letters.get(name, "mixed") == "mixed"]
    if mixed:
        yield f"Values of {', '.join(mixed)} differ by the letters in which the source wrote them."

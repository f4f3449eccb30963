"""ResolvedRule → the text of its predicate: what pySigma refuses or gets wrong is found here, before it prints.

The order matters. Constructs are checked on the rule as written; context and values are replaced while names are
canonical; then pySigma's pipeline renames and adds the source's own conditions, and a printer prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from ewdetect.backends.sigma import hydrate
from ewdetect.backends.tree import clauses, simplified
from ewdetect.backends.values import SourceValues, TypedValues
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source
from ewdetect.load import load_fields
from ewdetect.model import Field
from ewdetect.problems import Problem, Rejected, suggest
from ewdetect.resolve import ResolvedRule

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


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The query of an event rule. Raises Rejected with every reason at once."""
    rule = resolved.rule
    refuse_correlation(rule, target.name)
    source = _source(resolved)
    vocabulary = load_vocabulary(target.shared, target.siem, source)
    fields = load_fields()
    names = vocabulary.names(fields, context == "enriched")
    letters = vocabulary.stored(fields, names)
    findings = Findings(rule, tuple(resolved.filters.get(rule.name, ())))
    sigma_rule = hydrate(resolved)[rule.name]
    _check(sigma_rule, findings, target)
    findings.settle()
    _transform(sigma_rule, findings, resolved, source, vocabulary, fields, context)
    _check_names(sigma_rule, findings, names, fields, target, vocabulary)
    findings.settle()
    text, count = _printed(sigma_rule, findings, vocabulary, names, target, letters)
    caveats = (*_caveats(rule.meta.get("suppress")), *findings.caveats, *vocabulary.caveats,
               *_size(vocabulary.limits.get(target.dialect, {}), count, len(text)))
    return Query(rule.name, target.name, target.dialect, source.name, context, text, caveats)


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


def _transform(rule: SigmaRule, findings: Findings, resolved: ResolvedRule, source: Source, vocabulary: Vocabulary,
               fields: Mapping[str, Field], context: str) -> None:
    kind = InlineContext if context == "inline" else EnrichedContext
    for step in (kind(findings, fields, resolved.network), SourceValues(findings, vocabulary, source),
                 TypedValues(findings, vocabulary, fields)):
        step.apply(rule)


def _check_names(rule: SigmaRule, findings: Findings, names: Mapping[str, str], fields: Mapping[str, Field],
                 target: Target, vocabulary: Vocabulary) -> None:
    """Problems for fields without a name in the SIEM, and for texts without a literal."""
    printer = target.printer()
    for asked in items_of(rule.detection.detections.values()):
        for name in _names(asked):
            if name not in names and not {name, asked.field} & findings.refused:
                fix = "map it there, or use another source" if name in fields else suggest(name, sorted(names))
                findings.refuse("convert/unmapped-field", f"{vocabulary.path} has no name for `{name}`", name, fix)
        for value in asked.value:
            construct = printer.unsayable(value) if isinstance(value, SigmaString) else None
            if construct:
                _refuse(findings, target, construct, asked.field)


def _names(asked: SigmaDetectionItem) -> Iterator[str]:
    if asked.field:
        yield asked.field
    for value in asked.value:
        if isinstance(value, SigmaFieldReference):
            yield value.field


def _printed(rule: SigmaRule, findings: Findings, vocabulary: Vocabulary, names: Mapping[str, str],
             target: Target, letters: Mapping[str, str]) -> tuple[str, int]:
    """The text of the query and its number of comparisons. pySigma's own `convert` would print the tree unprepared."""
    printer = target.printer()
    printer.letters = letters
    printer.keep = vocabulary.keep
    pipeline = vocabulary.pipeline(names)
    try:
        pipeline.apply(rule)
        tree = simplified(rule.detection.parsed_condition[0].parsed)
        if isinstance(tree, bool):
            findings.refuse(
                "convert/never-matches", f"the condition is always {str(tree).lower()} in this network", None,
                "see what the rule needs of the network context, and mark the hosts there")
            findings.settle()
        predicate = str(printer.convert_condition(tree, ConversionState(processing_state=dict(pipeline.state))))
    except SigmaError as error:
        raise Rejected([Problem("convert/unsupported", f"`{findings.rule.name}`: {error}",
                                findings.rule.document.at("detection"), "use another target")]) from error
    return printer.finished(predicate, pipeline.state), clauses(rule.detection.detections.values())


def _caveats(suppress: Mapping[str, Any] | None) -> Iterator[str]:
    if suppress:
        keys = ", ".join(suppress["by"])
        yield f"The query is the predicate alone: set suppression by {keys} for {suppress['for']} in the SIEM's rule."


def _size(limits: Mapping[str, int], count: int, characters: int) -> Iterator[str]:
    """A caveat for each limit of the SIEM that the query passes."""
    for what, actual in (("clauses", count), ("characters", characters)):
        if actual > limits.get(what, actual):
            yield (f"The query has {actual} {what}, more than the {limits[what]} that the SIEM takes by default; "
                   "raise the limit there, or convert with --context enriched.")

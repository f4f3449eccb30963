"""Values as the SIEM holds them: outcomes told from raw fields, words spelt otherwise, units, types and letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from sigma.processing.transformations.base import DetectionItemTransformation
from sigma.rule import SigmaDetectionItem
from sigma.types import (
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaNull,
    SigmaNumber,
    SigmaString,
    SigmaType,
    SpecialChars,
)

from ewdetect.backends.context import address_family
from ewdetect.backends.findings import Findings
from ewdetect.backends.tree import Node, constant, every, item, negate, plain, some
from ewdetect.backends.vocabulary import Vocabulary
from ewdetect.flows import Case, Source, Term
from ewdetect.model import Field

OUTCOME = "flow.outcome"
TRANSPORT = "network.transport"
_INTEGERS = ("byte", "short", "integer", "long")
_COMPARE = {"gt": SigmaCompareExpression.CompareOperators.GT, "gte": SigmaCompareExpression.CompareOperators.GTE,
            "lt": SigmaCompareExpression.CompareOperators.LT, "lte": SigmaCompareExpression.CompareOperators.LTE}


@dataclass
class SourceValues(DetectionItemTransformation):
    """Conditions that only this source's raw fields can answer, built from source.yml so that they cannot drift.

    `flow.outcome` becomes the cases of source.yml; a word that the SIEM spells otherwise becomes the conditions that
    the mapping names; a field that is only meant for some records gets their condition beside it.
    """

    findings: Findings
    vocabulary: Vocabulary
    source: Source

    def apply_detection_item(self, detection_item: SigmaDetectionItem) -> Any:
        name = detection_item.field or ""
        if name in self.vocabulary.cannot:
            return None         # it stays, and is refused with its reason
        if name == OUTCOME and OUTCOME not in self.vocabulary.fields:
            made = self._outcome(detection_item)
        elif name == TRANSPORT and self._unseen(detection_item):
            made = self._seen(detection_item)
        elif name in self.vocabulary.values:
            made = self._respelt(name, detection_item.value)
        elif name in self.vocabulary.guarded:
            made = self._guarded(detection_item)
        else:
            return None
        return negate(made) if made is not None and detection_item.negated else made

    def _outcome(self, asked: SigmaDetectionItem) -> Node | None:
        spec = self.source.fields.get(OUTCOME)
        words = [self._word(value) for value in asked.value]
        told = self.vocabulary.outcomes or self.source.traits.outcomes
        can = [word for word in words if word in told]
        if spec is None or not spec.cases or None in words or not can:
            self.findings.refuse(
                "convert/unsupported", f"`{OUTCOME}`: {self._teller()} {', '.join(told)} and nothing else", OUTCOME,
                "use another source" + (", or `ewdetect backtest`" if self.vocabulary.outcomes else ""))
            return None
        for word in words:
            if word not in can:
                self.findings.note(self._never(str(word)))
        if len(told) == 1:
            return item("source.ip", [], negated=True)      # the opposite of an address that is none: always true
        cases = [self._stored(case) for case in spec.cases]
        return some(*(self._told(cases, spec.otherwise, str(word)) for word in can))

    def _teller(self) -> str:
        if self.vocabulary.outcomes:
            return f"the records of `{self.source.name}` that {self.vocabulary.path} takes tell"
        return f"the source `{self.source.name}` tells"

    def _never(self, word: str) -> str:
        who = f"`{self.source.name}` never tells"
        if word in self.source.traits.outcomes:
            who = f"The records of `{self.source.name}` that the query takes never tell"
        return f"{who} the outcome `{word}`; that part of the condition is never true."

    def _unseen(self, asked: SigmaDetectionItem) -> list[str]:
        """The protocols that are asked for, and that the records taken never have."""
        words = {self._word(value) for value in asked.value} - {None, *self.vocabulary.transports}
        return sorted(map(str, words)) if self.vocabulary.transports else []

    def _seen(self, asked: SigmaDetectionItem) -> Node:
        for word in self._unseen(asked):
            self.findings.note(f"The records of `{self.source.name}` that the query takes are never {word}; "
                               "that part of the condition is never true.")
        kept = [value for value in asked.value if self._word(value) in (None, *self.vocabulary.transports)]
        return self._respelt(TRANSPORT, kept)

    def _stored(self, case: Case) -> Case:
        """A case by the fields of the SIEM. Two that differ only in how a log spells a field are one there."""
        return replace(case, terms=tuple(map(self._named, case.terms)))

    def _named(self, term: Term) -> Term:
        return replace(term, path=field_of(term.path, self.source, self.vocabulary))

    def _word(self, value: SigmaType) -> Any:
        try:
            return plain(value)
        except ValueError:
            return None

    def _told(self, cases: Sequence[Case], otherwise: str | None, result: str) -> Node:
        """Where the first case that holds gives `result`, or no case holds and the rest has it."""
        rest = [every(*(negate(self._all(case.terms)) for case in widest(cases)))] if otherwise == result else []
        found = dict.fromkeys((case, tuple(exceptions(cases[:i], case)))
                              for i, case in enumerate(cases) if case.result == result)
        kept = [(case, but) for case, but in found if () not in but and not any(
            implies(case, other) and not more for other, more in found if other is not case)]
        return some(*(every(self._all(case.terms), *(negate(self._all(terms)) for terms in but)) for case, but in kept),
                    *rest)

    def _all(self, terms: Iterable[Term]) -> Node:
        return every(*(self._term(term) for term in terms))

    def _term(self, term: Term) -> Node:
        name = term.path
        match term.operator:
            case "bits" | "nobits":
                return _bits(name, int(term.values[0]), term.operator == "bits")
            case "has" | "hasnt":
                return item(name, _decimal(int(term.values[0]), term.operator == "has"))
            case "startswith":
                return item(name, [_prefix(str(value)) for value in term.values])
            case "like":
                return item(name, [SigmaString(str(value)) for value in term.values])
            case "unlike":
                liked = item(name, [SigmaString(str(value)) for value in term.values])
                return every(item(name, [SigmaExists(True)]), negate(liked))
            case "present":
                return item(name, [SigmaExists(bool(term.values[0]))])
            case "not":
                return every(item(name, [SigmaExists(True)]), item(name, self._words(term), negated=True))
            case "":
                # The values of a canonical field are meant as the sensor writes them; a raw path has no field at all.
                words = self._words(term)
                respelt = name in self.vocabulary.values and name not in self.source.fields
                return self._respelt(name, words) if respelt else item(name, words)
        return item(name, [SigmaCompareExpression(SigmaNumber(v), _COMPARE[term.operator]) for v in term.values])

    def _words(self, term: Term) -> list[SigmaType]:
        """The values of a condition on a raw text, in the type of the SIEM's field."""
        if self.vocabulary.content["types"].get(term.path) == "boolean":
            return [constant(value == "true") for value in term.values]
        return [constant(value) for value in term.values]

    def _respelt(self, name: str, values: Iterable[SigmaType]) -> Node:
        spellings = self.vocabulary.values.get(name, {})
        spelt = [(value, spellings.get(str(self._word(value)))) for value in values]
        if wordless := [str(v) for v, conditions in spelt if conditions is None and self._number_for_a_word(name, v)]:
            self.findings.refuse(
                "convert/unsupported", f"`{name}`: {self.vocabulary.path} has no word for {', '.join(wordless)}", name,
                f"write some of {', '.join(map(str, spellings))}, or use `ewdetect backtest`")
        parts = [item(name, [value]) if conditions is None
                 else every(*(_spelt(field, words) for field, words in conditions.items()))
                 for value, conditions in spelt]
        return some(*parts) if parts else item(name, [])

    def _number_for_a_word(self, name: str, value: SigmaType) -> bool:
        """Whether a number is asked for where the SIEM's field has words: they cannot be compared."""
        kind = self.vocabulary.content["types"].get(self.vocabulary.fields.get(name))
        return kind == "keyword" and isinstance(value, SigmaNumber | SigmaCompareExpression)

    def _guarded(self, asked: SigmaDetectionItem) -> Node:
        name = asked.field or ""
        spec = self.source.fields[name]
        guards = (*(self._term(self._named(term)) for term in spec.when),
                  *(negate(self._term(self._named(term))) for term in spec.unless))
        present = [value for value in asked.value if not _asks_for_nothing(value)]
        held = every(item(name, present), *guards)
        if len(present) == len(asked.value):
            return held
        return some(held, negate(every(item(name, [SigmaExists(True)]), *guards)))


def _spelt(field: str, words: Any) -> Node:
    """A condition of `values`: one word, or a list of which any will do."""
    if field == "network.type":
        return address_family([words])
    return item(field, map(constant, words if isinstance(words, list) else [words]))


def field_of(path: str, source: Source, vocabulary: Vocabulary) -> str:
    """The field that holds a raw path: as the mapping says, else the canonical field that is made of it alone."""
    made = (name for name, spec in source.fields.items() if path in spec.paths and not (spec.when or spec.unless))
    return vocabulary.raw.get(path) or next(made, path)


def _asks_for_nothing(value: SigmaType) -> bool:
    """Whether the value holds where the field is missing, spelt either way."""
    return isinstance(value, SigmaNull) or (isinstance(value, SigmaExists) and not value.exists)


def exceptions(earlier: Sequence[Case], case: Case) -> list[tuple[Term, ...]]:
    """What must not hold for `case` to be the first one: of each earlier case with another result, what is left open.

    Left out are cases that cannot hold together with it, and those that a wider one among them covers.
    """
    rivals = [c for c in earlier if c.result != case.result and not apart(c, case)]
    return [tuple(term for term in rival.terms if not any(_within(own, term) for own in case.terms))
            for rival in widest(rivals)]


def widest(cases: Sequence[Case]) -> list[Case]:
    """The cases without those that another one covers; of two that cover each other, the first stays."""
    def covered(index: int, case: Case) -> bool:
        return any(implies(case, other) and (not implies(other, case) or place < index)
                   for place, other in enumerate(cases) if place != index)
    return [case for index, case in enumerate(cases) if not covered(index, case)]


def implies(case: Case, other: Case) -> bool:
    """Whether `other` holds wherever `case` does, as far as the terms show."""
    return all(any(_within(mine, term) for mine in case.terms) for term in other.terms)


def apart(one: Case, other: Case) -> bool:
    """Whether two cases can never hold together, as far as the terms show."""
    return any(_contradict(a, b) or _contradict(b, a) for a in one.terms for b in other.terms if a.path == b.path)


def _within(narrow: Term, wide: Term) -> bool:
    same = narrow.path == wide.path and narrow.operator == wide.operator
    return same and (narrow.values == wide.values or (not narrow.operator and set(narrow.values) <= set(wide.values)))


def _contradict(a: Term, b: Term) -> bool:
    match a.operator, b.operator:
        case "", "":
            return not set(a.values) & set(b.values)
        case "", "gt":
            return all(isinstance(v, int) and v <= b.values[0] for v in a.values)
        case "bits", "nobits":
            return bool(int(a.values[0]) & int(b.values[0]))
    return False


def _prefix(text: str) -> SigmaString:
    value = SigmaString()
    value.s = [text, SpecialChars.WILDCARD_MULTI]
    return value


def _suffix(text: str) -> SigmaString:
    value = SigmaString()
    value.s = [SpecialChars.WILDCARD_MULTI, text]
    return value


def _bits(name: str, mask: int, are_set: bool) -> Node:
    """TCP flags in a field of two hexadecimal digits: the first and the second digit that fit the mask."""
    def fits(digit: int, part: int) -> bool:
        return digit & part == (part if are_set else 0)

    first = [_prefix(f"{d:x}") for d in range(16) if fits(d, mask >> 4)]
    second = [_suffix(f"{d:x}") for d in range(16) if fits(d, mask & 15)]
    return every(*(item(name, digits) for digits in (first, second) if len(digits) < 16))


def _decimal(mask: int, are_set: bool) -> list[SigmaType]:
    """TCP flags in a field that holds one byte as a decimal number: every value that fits the mask."""
    wanted = mask if are_set else 0
    return [SigmaNumber(value) for value in range(256) if value & mask == wanted]


@dataclass
class TypedValues(DetectionItemTransformation):
    """Values in the type, unit and letters of the SIEM's field: ports as numbers, addresses as addresses."""

    findings: Findings
    vocabulary: Vocabulary
    fields: Mapping[str, Field]

    def apply_detection_item(self, detection_item: SigmaDetectionItem) -> None:
        name = detection_item.field or ""
        field = self.fields.get(name)
        kind = field.type if field else self._own_type(name)
        detection_item.value = [self._typed(name, kind, value) for value in detection_item.value]

    def _own_type(self, name: str) -> str:
        """The type of a field that is the SIEM's own, in our words."""
        return "integer" if self.vocabulary.content["types"].get(name) in _INTEGERS else "string"

    def _typed(self, name: str, kind: str, value: SigmaType) -> SigmaType:
        if isinstance(value, SigmaNull | SigmaExists):
            return value
        try:
            match kind:
                case "ip" if isinstance(value, SigmaString):
                    return SigmaCIDRExpression(str(ip_network(plain(value))))
                case "port" | "integer" | "number":
                    return self._number(name, value)
                case "string":
                    return self._text(name, value)
        except ValueError:
            self.findings.refuse(
                "convert/unsupported", f"`{name}` holds a value of type {kind}, and `{value}` is none", name,
                "write one that is; parts of addresses and numbers cannot be compared")
        return value

    def _number(self, name: str, value: SigmaType) -> SigmaType:
        factor = self.vocabulary.scale.get(name, 1)
        if isinstance(value, SigmaCompareExpression):
            return SigmaCompareExpression(SigmaNumber(_times(value.number.number, factor)), value.op)
        if isinstance(value, SigmaString | SigmaNumber):
            return SigmaNumber(_times(float(plain(value)), factor))
        return value

    def _text(self, name: str, value: SigmaType) -> SigmaType:
        if isinstance(value, SigmaNumber):
            value = constant(str(value.number))
        if not isinstance(value, SigmaString):
            return value
        upper = self.vocabulary.letters.get(name) == "upper"
        return value.map_parts(lambda part: str(part).upper() if upper else str(part).lower(),
                               lambda part: isinstance(part, str))


def _times(number: float, factor: int) -> float:
    product = number * factor
    return int(product) if product == int(product) else product

"""Which of Elastic's fields a rule reads, groups by and shows, and of what type they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ewdetect.backends.context import SIDES
from ewdetect.backends.values import OUTCOME, field_of
from ewdetect.backends.vocabulary import Vocabulary, load_vocabulary
from ewdetect.flows import Source, Term
from ewdetect.load import load_fields
from ewdetect.model import Field
from ewdetect.plan import Key, Selection, Stage, fields_used, plan
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.resolve import ResolvedRule

# https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/field-data-types
_TYPES = {"ip": "ip", "port": "long", "integer": "long", "number": "double", "boolean": "boolean", "time": "date",
          "string": "keyword", "token": "keyword"}


@dataclass(frozen=True, slots=True)
class Reading:
    """A rule, and what Elastic calls the fields of the flows that it is about. `names` is by canonical name."""

    resolved: ResolvedRule
    source: Source
    vocabulary: Vocabulary
    fields: Mapping[str, Field]
    names: Mapping[str, str]


def reading(resolved: ResolvedRule, context: str) -> Reading:
    """Raises Rejected where no source is named, or where it has no mapping."""
    if resolved.source is None:
        raise Rejected([Problem("convert/no-source", f"`{resolved.rule.name}`: which source wrote the flows?",
                                resolved.rule.document.at("logsource"), "name it with --source")])
    vocabulary, fields = load_vocabulary("ecs", "elastic", resolved.source), load_fields()
    return Reading(resolved, resolved.source, vocabulary, fields,
                   vocabulary.names(fields, context == "enriched"))


def index_of(vocabulary: Vocabulary) -> list[str]:
    """The index patterns that hold the source's flows. Raises Rejected where the mapping names none."""
    found = [str(step["val"]) for step in vocabulary.transformations
             if step["type"] == "set_state" and step["key"] == "index"]
    if not found:
        raise Rejected([Problem("mapping/no-index", "nothing says which index holds the flows",
                                Location(vocabulary.path), "add a `set_state` of the key `index`")])
    return [pattern.strip() for pattern in found[-1].split(",")]


def required(read: Reading, more: Iterable[str]) -> list[dict[str, str]]:
    """Every field that the query reads, with its type, sorted by name. `more` are fields of Elastic."""
    names = {*read.vocabulary.conditions(), *_elastic(read, fields_used(read.resolved)), *more}
    return [{"name": name, "type": _type(read, name)} for name in sorted(names)]


def _elastic(read: Reading, canonical: Iterable[str]) -> Iterator[str]:
    for name in canonical:
        yield from _behind(read, name)


def _behind(read: Reading, name: str) -> Iterator[str]:
    """The fields of Elastic that answer for one canonical field."""
    for spelling in read.vocabulary.values.get(name, {}).values():
        yield from _elastic(read, (key for key in spelling if key != name))
    side, _, _ = name.partition(".")
    field = read.fields.get(name)
    if name in read.names:
        yield read.names[name]
    elif name in read.vocabulary.sums:
        yield from _elastic(read, read.vocabulary.sums[name])
    elif name == OUTCOME:
        yield from _told(read)
    elif name == "network.type":
        yield read.names["source.ip"]
    elif field is not None and field.origin != "record":
        yield from (read.names[f"{s}.ip"] for s in ([side] if side in SIDES else SIDES))


def _told(read: Reading) -> Iterator[str]:
    """The fields from which the source's outcome is told."""
    spec = read.source.fields.get(OUTCOME)
    terms: tuple[Term, ...] = spec.terms() if spec else ()
    for term in terms:
        name = field_of(term.path, read.source, read.vocabulary)
        yield read.names.get(name, name)


def _type(read: Reading, name: str) -> str:
    said = read.vocabulary.content["types"].get(name)
    kinds = (_TYPES[read.fields[own].type] for own, target in read.names.items()
             if target == name and own in read.fields)
    return str(said) if said else next(kinds, "keyword")


def grouped(read: Reading) -> list[str]:
    """The fields that alerts of the last stage are grouped by, as the flow at the crossing has them."""
    last = plan(read.resolved)[-1]
    found = [read.names.get(_of_crossing(key, last)) for key in _keys(last)]
    return [name for name in dict.fromkeys(found) if name]


def group_names(read: Reading) -> list[str]:
    """The names of the last stage's keys, canonical fields or aliases."""
    return [key.name for key in _keys(plan(read.resolved)[-1])]


def _keys(stage: Stage) -> tuple[Key, ...]:
    return () if isinstance(stage, Selection) else stage.keys


def _of_crossing(key: Key, stage: Stage) -> str:
    """The canonical field behind a key. The flow of the last rule is the one that completes a chain."""
    inputs = () if isinstance(stage, Selection) else stage.inputs
    return key.fields[inputs[-1]] if inputs else key.name


def columns(read: Reading) -> list[str]:
    """The fields that every row of an ES|QL query has."""
    return [name for name in read.vocabulary.keep if not name.startswith("_")]


def shown(read: Reading) -> list[str]:
    """What an analyst wants to see of an alert: its keys, the flow, and the context that the rule asks for."""
    used = fields_used(read.resolved)
    flow = [field.name for field in read.fields.values() if field.shown]
    context = [field.name for field in read.fields.values() if field.origin != "record" and field.name in used]
    found = [*grouped(read), *(read.names[name] for name in (*flow, "network.community_id", *context)
                               if name in read.names)]
    return list(dict.fromkeys(found))

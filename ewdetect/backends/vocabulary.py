"""How one SIEM spells the flows of one source, read from mappings/: pySigma pipelines, and what they cannot say.

`mappings/ecs.yml` (or cim.yml) holds the names that every source of the SIEM shares, `mappings/<source>/elastic.yml`
(or splunk.yml) what differs. Each is a pySigma processing pipeline with a block of ours, `ewdetect:`, beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from ewdetect.flows import Source
from ewdetect.load import changed, content_root
from ewdetect.model import Field
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.yamlfile import Document, read_documents


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One SIEM's spelling of one source's flows. Keys are canonical names unless said otherwise.

    `letters` says how the SIEM stores a field's text: lower, upper or mixed, which is what counts where nothing is
    said; its keys, and those of `raw`, may be the SIEM's own fields. `raw` maps raw paths of source.yml to fields,
    `values` a field and value, or a raw path and value, to other conditions, each with a value or a list of them.
    `guarded` are fields that need their `when` and `unless` of source.yml, because the SIEM has them unprocessed.
    `sides` are templates of the enriched context's names. `keep` are the columns of an alert in ES|QL; a source's own
    list takes the place of the shared one. `sums` are fields that only a sum of others gives, missing where one of them
    is. `content` is what a whole rule says of the source: the types of its fields, its name, what fills it. `cannot`
    says of a field why the SIEM has none for it. Splunk alone has `start` (the field that holds the time of a flow, and
    its strptime format; empty where `_time` is that time), `columns` (the names of an alert's columns), `lookup` (the
    context's table) and `model` (a data model and how it marks what is missing). `once` says
    that the conditions pick one record of each connection, where the sensor writes several; `repeats` that they pick
    some that all tell who began, and why there may be several: then what counts records is refused. `outcomes` are
    the words of `flow.outcome` that these records have, where they are not all that the sensor tells; each record has
    one of them, so a single one is no condition. `transports` are the protocols that these records have, where they
    leave others out. `delay` (Sigma timespan) is how long after its time a record may arrive, where the SIEM's time is
    not the flow's start and comes sooner than the source's own `delay`.
    """

    path: str
    fields: Mapping[str, str]
    transformations: tuple[Mapping[str, Any], ...]
    sides: Mapping[str, str]
    enriched: Mapping[str, str]
    letters: Mapping[str, str]
    scale: Mapping[str, int]
    raw: Mapping[str, str]
    values: Mapping[str, Mapping[str, Any]]
    guarded: frozenset[str]
    sums: Mapping[str, tuple[str, ...]]
    keep: tuple[str, ...]
    limits: Mapping[str, Mapping[str, int]]
    caveats: tuple[str, ...]
    content: Mapping[str, Any]
    cannot: Mapping[str, str]
    start: Mapping[str, str]
    columns: Mapping[str, str]
    lookup: Mapping[str, str]
    model: Mapping[str, Any]
    once: bool = False
    repeats: str = ""
    outcomes: tuple[str, ...] = ()
    transports: tuple[str, ...] = ()
    delay: str = ""

    def names(self, fields: Mapping[str, Field], enriched: bool) -> Mapping[str, str]:
        """Canonical name → the SIEM's, with the context's names where the SIEM fills them."""
        asked = (key for words in self.values.values() for conditions in words.values() for key in conditions)
        own = {name: name for name in (*self.raw.values(), *asked) if name not in (*self.fields, "network.type")}
        if not enriched:
            return {**self.fields, **own}
        context = {f.name: self.sides[side].format(attribute=attribute) for f in fields.values()
                   for side, _, attribute in [f.name.partition(".")] if f.origin == "context"}
        return {**self.fields, **own, **context, **self.enriched}

    def stored(self, fields: Mapping[str, Field], names: Mapping[str, str]) -> Mapping[str, str]:
        """Field of the SIEM → the letters of its text. What our own enrichment fills is in lower case."""
        filled = {names[f.name]: "lower" for f in fields.values() if f.origin != "record" and f.name in names}
        return {**filled, **{names.get(name, name): letters for name, letters in self.letters.items()}}

    def conditions(self) -> Iterator[str]:
        """The SIEM's fields by which the source's records are told from others."""
        for step in self.transformations:
            if step["type"] == "add_condition":
                said = step["conditions"]
                for key in (key for part in (said if isinstance(said, list) else [said]) for key in part):
                    yield key.partition("|")[0]

    def pipeline(self, names: Mapping[str, str]) -> ProcessingPipeline:
        """The pySigma pipeline: names mapped, a field that has none refused, then what the files add."""
        return ProcessingPipeline.from_dict({"name": self.path, "transformations": [
            {"id": "names", "type": "field_name_mapping", "mapping": dict(names)},
            {"id": "strict", "type": "strict_field_mapping_failure"},
            *map(_unnamed, self.transformations)]})


def _unnamed(transformation: Mapping[str, Any]) -> dict[str, Any]:
    """A condition that a file adds stays out of the rule's own selections.

    Under a name of the file, `1 of them` would mean it too, and a selection of that name would be lost. pySigma gives a
    condition without one a name that starts with `_`, which no pattern of a rule means.
    """
    added = transformation.get("type") == "add_condition"
    return {key: value for key, value in transformation.items() if not (added and key == "name")}


def load_vocabulary(shared: str, siem: str, source: Source) -> Vocabulary:
    """The vocabulary of `mappings/<shared>.yml` and `mappings/<source>/<siem>.yml`. Raises Rejected."""
    root = content_root() / "mappings"
    path = root / source.name / f"{siem}.yml"
    if not path.is_file():
        if why := source.unqueried.get(siem):
            raise Rejected([Problem("convert/no-mapping", f"`{source.name}` has no queries in {siem}: {why}",
                                    Location(str(path)), "run the rule with `ewdetect backtest`")])
        raise Rejected([Problem("convert/no-mapping", f"nothing says how {siem} holds the flows of `{source.name}`",
                                Location(str(path)), f"write {path}; another source's file is the pattern")])
    vocabulary = _vocabulary(*(_read(file, changed(file)) for file in (root / f"{shared}.yml", path)))
    if source.merge and not (vocabulary.once or vocabulary.repeats):
        raise Rejected([Problem("convert/several-records", f"`{source.name}` in {siem}: it writes several records of "
                                "one connection, which only ewdetect's reader joins; a query would count them apart, "
                                "and take answers for connections", Location(str(path)),
                                "run the rule with `ewdetect backtest`, or say there which one record counts, and "
                                "`once: true`")])
    if strange := set(vocabulary.outcomes) - set(source.traits.outcomes):
        raise Rejected([Problem("mapping/bad-outcome", f"`{source.name}` never tells {', '.join(sorted(strange))}",
                                Location(str(path)), f"write some of {', '.join(source.traits.outcomes)}")])
    return vocabulary


_REPEATED = ("{why}, so a connection may alert again, and counts at the time of each record; ewdetect joins those "
             "within its `merge` into one flow.")


def shared_block(shared: str, key: str) -> Mapping[str, str]:
    """One of our blocks of `mappings/<shared>.yml`, where no source is at hand."""
    path = content_root() / "mappings" / f"{shared}.yml"
    found: Mapping[str, str] = _read(path, changed(path)).data["ewdetect"][key]
    return found


@cache
def _read(path: Path, version: int) -> Document:
    document = read_documents(path)[0]
    pipeline = {key: value for key, value in document.data.items() if key != "ewdetect"}
    try:
        ProcessingPipeline.from_dict(pipeline)
    except SigmaError as error:
        raise Rejected([Problem("mapping/not-a-pipeline", str(error), document.at("transformations"),
                                "see pySigma's documentation of processing pipelines")]) from error
    return document


def _vocabulary(shared: Document, own: Document) -> Vocabulary:
    """Both files together; for one name, the source's own file counts."""
    steps = [step for document in (shared, own) for step in document.data.get("transformations") or []]
    ours = [document.data.get("ewdetect") or {} for document in (shared, own)]
    repeats = str(ours[1].get("repeats") or "")

    def merged(key: str) -> dict[str, Any]:
        return {**(ours[0].get(key) or {}), **(ours[1].get(key) or {})}

    def listed(key: str) -> tuple[str, ...]:
        return (*(ours[0].get(key) or ()), *(ours[1].get(key) or ()))

    names, spelt = (_mapping(document) for document in (shared, own))
    # A name that all sources share is none where the source's own file says why.
    gone = set(ours[1].get("cannot") or ()) - spelt.keys()
    fields = {name: target for name, target in {**names, **spelt}.items() if name not in gone}
    return Vocabulary(
        path=own.path, fields=fields, transformations=tuple(s for s in steps if s["type"] != "field_name_mapping"),
        sides=merged("sides"), enriched=merged("enriched"), letters=merged("letters"), scale=merged("scale"),
        raw=merged("raw"), values=merged("values"), guarded=frozenset(listed("guarded")),
        sums={name: tuple(parts) for name, parts in merged("sums").items()},
        keep=tuple(ours[1].get("keep") or ours[0].get("keep") or ()),
        limits=merged("limits"), caveats=(*listed("caveats"), *([_REPEATED.format(why=repeats)] if repeats else [])),
        content={**merged("content"), "types": {**_types(ours[0]), **_types(ours[1])}}, start=start_of(own),
        cannot={name: why for name, why in merged("cannot").items() if name not in fields},
        columns=merged("columns"), lookup=merged("lookup"), model=merged("model"),
        once=bool(ours[1].get("once")), repeats=repeats, outcomes=tuple(ours[1].get("outcomes") or ()),
        transports=tuple(ours[1].get("transports") or ()), delay=str(ours[1].get("delay") or ""))


def _mapping(document: Document) -> dict[str, str]:
    return {name: target for step in document.data.get("transformations") or []
            if step["type"] == "field_name_mapping" for name, target in step["mapping"].items()}


def _types(ours: Mapping[str, Any]) -> Mapping[str, str]:
    return (ours.get("content") or {}).get("types") or {}


def start_of(own: Document) -> Mapping[str, str]:
    """How a flow's time is read. Raises Rejected for anything but a field and a format."""
    start = (own.data.get("ewdetect") or {}).get("start") or {}
    if start and not (isinstance(start, dict) and start.keys() == {"field", "format"}
                      and all(isinstance(value, str) and value for value in start.values())):
        raise Rejected([Problem("mapping/bad-start", "`start` needs a `field` and its `format`, both texts",
                                own.at("ewdetect", "start"), 'write `start: {field: …, format: "%Y-…"}`')])
    return start

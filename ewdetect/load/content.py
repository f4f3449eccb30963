"""What ships beside the code (fields, sources, ATT&CK), and the user's network file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ewdetect import schemas
from ewdetect.flows import Orientation, Source, source_from
from ewdetect.model import Field
from ewdetect.network import Network, network_from
from ewdetect.problems import Location, Problem, Rejected, WorldFailed, suggest
from ewdetect.yamlfile import Document, read_documents

_PACKAGE = Path(__file__).parent.parent
_SIDES = ("source.", "destination.")


@dataclass(frozen=True, slots=True)
class Technique:
    """One ATT&CK technique. `status` is active, deprecated or revoked; `replaced_by` is an id or empty."""

    id: str
    name: str
    tactics: tuple[str, ...]        # as Sigma tags spell them, such as lateral-movement
    status: str
    replaced_by: str


@dataclass(frozen=True, slots=True)
class Tactic:
    """One ATT&CK tactic."""

    id: str         # such as TA0008
    name: str       # such as Lateral Movement


def content_root() -> Path:
    """The folder that holds `rules/` and `mappings/`: the checkout, or `_content` inside an installed package."""
    for root in (_PACKAGE.parent, _PACKAGE / "_content"):
        if (root / "mappings" / "flow.yml").is_file():
            return root
    raise WorldFailed(f"{_PACKAGE}: the installation is incomplete, mappings/flow.yml is not there")


def load_fields(root: Path | None = None) -> Mapping[str, Field]:
    """Every canonical field by name: record fields, derived ones, and each context attribute once for each side."""
    path = (root or content_root()) / "mappings" / "flow.yml"
    return _fields(path, changed(path))


def changed(path: Path) -> int:
    """When a file changed last, in nanoseconds, as a key for what was read from it; 0 where it is not there."""
    return path.stat().st_mtime_ns if path.is_file() else 0


@cache
def _fields(path: Path, version: int) -> Mapping[str, Field]:
    data = only_document(path, "flow").data
    fields = {name: _field(name, raw, "record") for name, raw in data["fields"].items()}
    fields |= {name: _field(name, raw, "derived") for name, raw in data["derived"].items()}
    for side in _SIDES:
        fields |= {side + name: _field(side + name, raw, "context") for name, raw in data["context"].items()}
    return MappingProxyType(fields)


def context_fields(fields: Mapping[str, Field] | None = None) -> Mapping[str, Field]:
    """The context attributes by their bare names (`zone`, `role` …), out of the result of `load_fields`."""
    side = _SIDES[0]
    found = (f for f in (load_fields() if fields is None else fields).values() if f.origin == "context")
    return {f.name.removeprefix(side): replace(f, name=f.name.removeprefix(side))
            for f in found if f.name.startswith(side)}


def load_network(path: Path | str, fields: Mapping[str, Field]) -> Network:
    """A network file, checked. `fields` is what `load_fields` gave. Raises Rejected."""
    document = only_document(existing(Path(path)), "network")
    try:
        network = network_from(document, context_fields(fields))
    except Rejected as rejected:
        found = schemas.validate(document, "network")
        places = {problem.location for problem in found}
        raise Rejected([*found, *(p for p in rejected.problems if p.location not in places)]) from rejected
    # Every entry has been looked at by now, and jsonschema would take longer for ten thousand than all the rest.
    _refuse(schemas.validate(replace(document, data={**document.data, "networks": []}), "network"))
    return network


def load_source(name: str, fields: Mapping[str, Field] | None = None) -> Source:
    """A telemetry source by the name of its folder in mappings/, or by the path of a source.yml. Raises Rejected."""
    document = only_document(_source_path(name), "source")
    _refuse(schemas.validate(document, "source"))
    return source_from(document, load_fields() if fields is None else fields)


def load_sources(fields: Mapping[str, Field] | None = None) -> tuple[Source, ...]:
    """Every telemetry source that ships, by name. Raises Rejected."""
    known = load_fields() if fields is None else fields
    folders = sorted(path.parent.name for path in (content_root() / "mappings").glob("*/source.yml"))
    return tuple(load_source(name, known) for name in folders)


def load_orientation(root: Path | None = None) -> Orientation:
    """The ports by which the engine turns inverted flows round."""
    raw = only_document((root or content_root()) / "mappings" / "flow.yml", "flow").data["orientation"]
    return Orientation(tuple(raw["service_ports"]), raw["ephemeral_from"])


def load_attack() -> Mapping[str, Technique]:
    """ATT&CK Enterprise techniques by id, such as `T1021.002`. The file's head says where they are from."""
    return {row[0]: Technique(row[0], row[1], tuple(row[2].split(",")), row[3], row[4]) for row in _rows("attack")}


def load_strategies() -> Mapping[str, str]:
    """Technique → ATT&CK's detection strategy for it, such as `DET0376`, where one is known."""
    return {row[0]: row[1] for row in _rows("strategies")}


def load_attack_version() -> str:
    """The version of ATT&CK that the techniques are from, such as `19`; the head of their table says it."""
    head = _table("attack").partition("\n")[0]
    return head.partition("Enterprise v")[2].partition(" ")[0]


def load_tactics() -> Mapping[str, Tactic]:
    """ATT&CK Enterprise tactics by Sigma's tag name, such as `lateral-movement`, in the order of ATT&CK's matrix."""
    return {row[0]: Tactic(row[1], row[2]) for row in _rows("tactics")}


def _rows(name: str) -> list[list[str]]:
    """The rows of a table in data/, without its head."""
    return [line.split("\t") for line in _table(name).splitlines() if not line.startswith("#")][1:]


def _table(name: str) -> str:
    return (_PACKAGE / "data" / f"{name}.tsv").read_text(encoding="utf-8")


def existing(path: Path) -> Path:
    """`path` itself. Raises Rejected where nothing is there, WorldFailed where one may not look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Rejected([missing_path(path)]) from error
    except OSError as error:
        raise WorldFailed(f"{path}: {error.strerror}") from error
    return path


def missing_path(path: Path) -> Problem:
    """The problem of a path that leads nowhere, with the neighbour that was probably meant."""
    parent = path.parent
    neighbours = [p.name for p in parent.iterdir() if not p.name.startswith(".")] if parent.is_dir() else []
    fix = suggest(path.name, neighbours) if neighbours else "check the spelling and the folder that you are in"
    return Problem("path/missing", f"there is no file or folder `{path}`", Location(str(path)), fix)


def _source_path(name: str) -> Path:
    mappings = content_root() / "mappings"
    if (mappings / name / "source.yml").is_file():
        return mappings / name / "source.yml"
    given = Path(name)
    if given.suffix == ".yml" or "/" in name:
        found = existing(given)
        return found / "source.yml" if found.is_dir() else found
    available = sorted(path.parent.name for path in mappings.glob("*/source.yml"))
    raise Rejected([Problem("source/unknown", f"there is no source `{name}`", None, suggest(name, available))])


def only_document(path: Path, area: str) -> Document:
    """The one YAML document of a file. Raises Rejected: `<area>/one-document` where there are more, or none."""
    documents = read_documents(path)
    if len(documents) == 1:
        return documents[0]
    place = documents[1].at() if documents else Location(str(path))
    raise Rejected([Problem(f"{area}/one-document", f"the file holds {len(documents)} YAML documents, not one", place,
                            "keep one document in each file")])


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Rejected(problems)


def _field(name: str, raw: Mapping[str, Any], origin: str) -> Field:
    return Field(name=name, type=raw["type"], meaning=raw["meaning"], unit=raw.get("unit", ""),
                 values=tuple(raw.get("values", ())), default=raw.get("default"), origin=origin,
                 shown=raw.get("shown", False))

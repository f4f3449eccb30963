"""What test cases run in: the networks and recordings of fixtures/, and the reference engine."""

from __future__ import annotations

from collections.abc import Mapping

from ewdetect.cli.fixtures import fixture_folders, network_files
from ewdetect.engine import Engine
from ewdetect.engine.cases import open_flows
from ewdetect.load import load_fields, load_network, load_orientation, load_source, only_document
from ewdetect.model import Field
from ewdetect.network import Network
from ewdetect.problems import Location, Problem, Rejected
from ewdetect.schemas import validate
from ewdetect.test import World
from ewdetect.yamlfile import Document


def world_of(fields: Mapping[str, Field]) -> World:
    """The reference engine on the networks of fixtures/. Raises Rejected for a network file with problems."""
    source, orientation = load_source("flow", fields), load_orientation()
    networks = {name: load_network(path, fields) for name, path in network_files().items()}
    return World(networks, lambda flows, network: open_flows(flows, network, source, fields, orientation),
                 open_recording)


def open_recording(path: str, network: Network) -> Engine:
    """An engine that has read `recordings/<name>`; its truth file names the recording and its source.

    Raises Rejected where the folder has no truth file, or that does not say it. The caller closes the engine.
    """
    folder = next((f / path for f in fixture_folders() if (f / path / "truth.yml").is_file()), None)
    if folder is None:
        raise Rejected([Problem("path/missing", f"there is no recording `{path}` with a truth.yml", Location(path),
                                "name a folder below fixtures/, such as `recordings/office_lab`")])
    document = only_document(folder / "truth.yml", "truth")
    if problems := validate(document, "truth") or _says_too_little(document):
        raise Rejected(problems)
    truth, fields = document.data, load_fields()
    engine = Engine(fields, load_orientation())
    engine.read(load_source(truth["source"], fields), [str(folder / truth["recording"])], network, fields)
    return engine


def _says_too_little(document: Document) -> list[Problem]:
    return [Problem("truth/missing-key", f"`{key}` is missing, and a test case takes its flows from here",
                    document.at(), f"add `{key}:`") for key in ("recording", "source") if key not in document.data]

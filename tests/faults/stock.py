"""The official converters, as they are installed, with the rules and pipelines of stock.yml.

Their Kibana formats download ATT&CK before they do anything. Here they read a file made from our own list, so that
a test neither needs a network nor depends on one.
"""

from __future__ import annotations

import atexit
import copy
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sigma.backends.elasticsearch.elasticsearch_eql import EqlBackend
from sigma.backends.elasticsearch.elasticsearch_esql import ESQLBackend
from sigma.backends.elasticsearch.elasticsearch_lucene import LuceneBackend
from sigma.backends.splunk.spl2 import SplunkSPL2Backend
from sigma.backends.splunk.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.data import mitre_attack
from sigma.processing.pipeline import ProcessingPipeline

from ewdetect.load import load_attack
from ewdetect.yamlfile import read_documents

PACKAGES = ("pysigma", "pysigma-backend-elasticsearch", "pysigma-backend-splunk")
BACKENDS: Mapping[str, Any] = {"lucene": LuceneBackend, "esql": ESQLBackend, "eql": EqlBackend,
                               "splunk": SplunkBackend, "spl2": SplunkSPL2Backend}
TACTICS = {"TA0007": "discovery", "TA0008": "lateral-movement"}     # those of stock.yml


def versions() -> Mapping[str, str]:
    """The installed versions of what is compared."""
    return {package: version(package) for package in PACKAGES}


@cache
def inputs() -> Mapping[str, Any]:
    [document] = read_documents(Path(__file__).with_name("stock.yml"))
    made: Mapping[str, Any] = document.data
    return made


def rule(name: str) -> dict[str, Any]:
    """One document of stock.yml as a whole Sigma document."""
    body = copy.deepcopy(inputs()["rules"][name])
    head = {"title": name.replace("_", " ").capitalize(), "name": name}
    return {**head, **({} if "correlation" in body else {"logsource": {"category": "firewall"}}), **body}


def converted(to: str, documents: Sequence[str] | str, pipeline: str = "", form: str = "default") -> list[str]:
    """What a stock converter makes of rules of stock.yml, in their order, or of a text. Raises what it raises."""
    if form.startswith("siem_rule"):
        attack_from_a_file()
    rules = (SigmaCollection.from_yaml(documents) if isinstance(documents, str) else
             SigmaCollection.from_dicts([rule(name) for name in documents]))
    steps = ProcessingPipeline.from_dict(copy.deepcopy(inputs()["pipelines"][pipeline])) if pipeline else None
    found = BACKENDS[to](steps).convert(rules, form)
    return [text if isinstance(text, str) else json.dumps(text)
            for text in (found if isinstance(found, list) else [found])]


def attack_file(path: Path) -> None:
    """Our list of techniques in the form that pySigma downloads."""
    techniques = [
        {"type": "attack-pattern", "name": technique.name, "external_references": [_reference(technique.id)],
         "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": t} for t in technique.tactics]}
        for technique in load_attack().values()]
    tactics = [{"type": "x-mitre-tactic", "x_mitre_shortname": name, "external_references": [_reference(number)]}
               for number, name in TACTICS.items()]
    path.write_text(json.dumps({"objects": [*tactics, *techniques]}), encoding="utf-8")


def _reference(number: str) -> dict[str, str]:
    return {"source_name": "mitre-attack", "external_id": number}


@cache
def attack_from_a_file() -> str:
    """The place of the list. pySigma keeps one for the whole process; nothing else of this project asks for it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    attack_file(folder / "attack.json")
    mitre_attack.set_cache_dir(str(folder / "cache"))
    mitre_attack.set_url(str(folder / "attack.json"))
    return str(folder / "attack.json")

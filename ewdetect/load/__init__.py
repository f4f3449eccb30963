"""Paths → the values that travel: rules, fields, networks, sources, ATT&CK. Every problem of a file set at once."""

from ewdetect.load.content import (
    Tactic,
    Technique,
    changed,
    content_root,
    context_fields,
    load_attack,
    load_attack_version,
    load_fields,
    load_network,
    load_orientation,
    load_source,
    load_sources,
    load_strategies,
    load_tactics,
    only_document,
)
from ewdetect.load.detection import Item, items
from ewdetect.load.files import rule_of, test_files, test_of
from ewdetect.load.pack import load_pack, read_pack
from ewdetect.load.tuning import Tuning, load_tuning

__all__ = [
    "Item",
    "Tactic",
    "Technique",
    "Tuning",
    "changed",
    "content_root",
    "context_fields",
    "items",
    "load_attack",
    "load_attack_version",
    "load_fields",
    "load_network",
    "load_orientation",
    "load_pack",
    "load_source",
    "load_sources",
    "load_strategies",
    "load_tactics",
    "load_tuning",
    "only_document",
    "read_pack",
    "rule_of",
    "test_files",
    "test_of",
]

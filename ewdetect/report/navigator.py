"""A layer for ATT&CK Navigator: which techniques the rules cover, the darker the more rules.

The format is 4.5: https://github.com/mitre-attack/attack-navigator/blob/master/layers/LAYERFORMATv4_5.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ewdetect.attack import Cell
from ewdetect.report.envelope import product_version
from ewdetect.report.words import count

_LAYER, _NAVIGATOR = "4.5", "4.9.0"         # the form of the file, and the first Navigator that reads it
_COLOURS = ["#cfe3f7", "#1f5c99"]


def navigator_layer(cells: Sequence[Cell], attack_version: str) -> str:
    """The layer as JSON text: one entry for each cell, its score the number of rules, its comment their names."""
    return json.dumps({
        "name": "ewdetect",
        "versions": {"attack": attack_version, "navigator": _NAVIGATOR, "layer": _LAYER},
        "domain": "enterprise-attack",
        "description": f"What the rules of ewdetect {product_version()} look for. A score is a number of rules.",
        "sorting": 0,
        "layout": {"layout": "side", "showID": True, "showName": True, "expandedSubtechniques": "annotated"},
        "techniques": [_technique(cell) for cell in cells],
        "gradient": {"colors": _COLOURS, "minValue": 0, "maxValue": max((len(c.rules) for c in cells), default=1)},
    }, indent=2, ensure_ascii=False) + "\n"


def _technique(cell: Cell) -> dict[str, Any]:
    return {"techniqueID": cell.technique.id, "tactic": cell.tag, "score": len(cell.rules),
            "comment": f"{count(len(cell.rules), 'rule')}: {', '.join(cell.rules)}", "enabled": True}

"""What a check may look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from ewdetect.load import Technique
from ewdetect.model import Field, Pack, Rule
from ewdetect.network import Network
from ewdetect.yamlfile import Document


@dataclass(frozen=True, slots=True)
class Scope:
    """The pack, and what it is held against.

    `tests` maps the absolute path of a rule file to the document of its test file, None where that could not be read.
    `today` is the day by which filters expire; where it is not said, nothing has expired.
    """

    pack: Pack
    fields: Mapping[str, Field] = field(default_factory=dict)
    attack: Mapping[str, Technique] = field(default_factory=dict)
    tests: Mapping[Path, Document | None] = field(default_factory=dict)
    network: Network | None = None
    today: date = date.min

    def rules(self) -> Iterator[Rule]:
        """Event rules and correlations, in reading order."""
        yield from self.pack.rules.values()

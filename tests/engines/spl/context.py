"""What a search runs against: events, lookup tables, data models, time range, limits; and what it wrote."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.engines.spl.errors import SplError, Undocumented
from tests.engines.spl.evaluate import Environment
from tests.engines.spl.limits import Limits
from tests.engines.spl.nodes import Condition, Search
from tests.engines.spl.times import relative
from tests.engines.spl.values import Number, Row, number

MATCH_TYPES = frozenset(("EXACT", "CIDR", "WILDCARD"))


@dataclass(frozen=True, slots=True)
class Lookup:
    """A lookup table and its stanza of transforms.conf. Rows are in file order, all cells texts."""

    rows: Sequence[Mapping[str, str]]
    match_type: Mapping[str, str] = field(default_factory=dict)    # lookup field → CIDR, WILDCARD or EXACT
    max_matches: int = 100
    min_matches: int = 0
    default_match: str = ""
    case_sensitive_match: bool = True

    def __post_init__(self) -> None:
        wrong = set(self.match_type.values()) - MATCH_TYPES
        if wrong or not 1 <= self.max_matches <= 1000:
            raise SplError(f"a lookup with match_type {wrong}, max_matches {self.max_matches}")


@dataclass(frozen=True, slots=True)
class DataModel:
    """One dataset of a data model: SPL `eval` expressions give its fields from an event.

    `constraint` is a search that chooses its events. With `summariesonly=true` only events before `summarized_until`
    (epoch seconds) are seen.
    """

    dataset: str
    fields: Mapping[str, str]
    constraint: str = "*"
    summarized_until: Number | None = None


@dataclass(slots=True)
class Captured:
    """What `outputlookup` and `collect` wrote, by lookup and by index."""

    lookups: dict[str, list[Row]] = field(default_factory=dict)
    collected: dict[str, list[Row]] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    """A run. `transformed` says whether the rows at hand are results of a transforming command, not events."""

    events: Sequence[Row]
    lookups: Mapping[str, Lookup]
    datamodels: Mapping[str, DataModel]
    earliest: Number | None
    latest: Number | None
    now: Number | None
    limits: Limits
    captured: Captured
    shuffle: random.Random | None
    pipeline: Callable[[Search, list[Row] | None, Context], list[Row]]
    transformed: bool = False

    @property
    def environment(self) -> Environment:
        """What expressions may ask for."""
        return Environment(self.now)

    def mixed(self, rows: list[Row]) -> list[Row]:
        """The rows in any order, where Splunk promises none: as they are, or shuffled if the run asks for it."""
        if self.shuffle:
            self.shuffle.shuffle(rows)
        return rows

    def read(self, condition: Condition) -> list[Row]:
        """The events of the time range: what the search says itself goes before what it is run with."""
        if condition.earliest is None and condition.latest is None:
            return self.narrowed(in_range(self.events, self.earliest, self.latest), condition)
        if (condition.earliest is None or condition.latest is None) and (self.earliest, self.latest) != (None, None):
            raise Undocumented("the search names one of earliest and latest, and runs with a time range")
        return self.narrowed(self.events, condition)

    def narrowed(self, rows: Sequence[Row], condition: Condition) -> list[Row]:
        """The rows in the ranges of event time and of index time that the condition itself names."""
        inside = in_range(rows, self.instant(condition.earliest), self.instant(condition.latest))
        return in_range(inside, self.instant(condition.index_earliest), self.instant(condition.index_latest),
                        "_indextime")

    def instant(self, modifier: str | None) -> Number | None:
        """The epoch second of a time modifier."""
        if modifier is None:
            return None
        if self.now is None and number(modifier) is None:
            raise SplError(f"the search uses the time modifier {modifier}: give `now`")
        return relative(modifier, self.now or 0)


def in_range(rows: Sequence[Row], earliest: Number | None, latest: Number | None, field: str = "_time") -> list[Row]:
    """The rows from `earliest` on, before `latest` (the page "Specify time modifiers": latest is not included)."""
    if earliest is None and latest is None:
        return list(rows)
    if any(field not in row for row in rows):
        raise SplError(f"a time range over rows without {field}")
    return [row for row in rows if (earliest is None or row[field] >= earliest)
            and (latest is None or row[field] < latest)]

"""What the parser makes: expressions of `eval`, expressions of `search`, and commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tests.engines.spl.values import Number

# --- eval and where

@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | Decimal


@dataclass(frozen=True, slots=True)
class FieldRef:
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Expr, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str           # "-" or "NOT"
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expr
    right: Expr


Expr = Literal | FieldRef | Call | Unary | Binary


# --- search

@dataclass(frozen=True, slots=True)
class Everything:
    """`search *`."""


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    operator: str
    value: str
    position: int


@dataclass(frozen=True, slots=True)
class Not:
    part: Predicate


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Predicate, ...]


Predicate = Everything | Compare | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Condition:
    """The argument of `search`, or of WHERE in `tstats`: time modifiers stand apart from the rest."""

    predicate: Predicate
    earliest: str | None = None
    latest: str | None = None
    index_earliest: str | None = None
    index_latest: str | None = None


# --- commands

@dataclass(frozen=True, slots=True)
class Aggregate:
    """One `function(argument) AS name`. `percent` belongs to perc<N>; argument None is a bare `count`."""

    function: str
    argument: FieldRef | Expr | None
    name: str
    percent: Number | None = None
    is_eval: bool = False


@dataclass(frozen=True, slots=True)
class SearchCommand:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Where:
    expression: Expr


@dataclass(frozen=True, slots=True)
class Eval:
    assignments: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Fields:
    names: tuple[str, ...]
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rename:
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Fillnull:
    value: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    command: str            # "stats" or "eventstats"
    aggregates: tuple[Aggregate, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Streamstats:
    aggregates: tuple[Aggregate, ...]
    by: tuple[str, ...]
    current: bool = True
    window: int = 0
    time_window: Number | None = None
    global_: bool = True
    reset_on_change: bool = False
    reset_before: Expr | None = None
    reset_after: Expr | None = None


@dataclass(frozen=True, slots=True)
class Tstats:
    aggregates: tuple[Aggregate, ...]
    datamodel: str
    condition: Condition
    by: tuple[str, ...]
    span: Number | None = None
    summariesonly: bool = False
    fillnull_value: str | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    field: str
    name: str
    span: Number
    aligntime: str | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    field: str
    descending: bool = False
    kind: str = "auto"      # auto, num, str, ip


@dataclass(frozen=True, slots=True)
class Sort:
    keys: tuple[SortKey, ...]
    count: int | None       # None: not given, which means 10000


@dataclass(frozen=True, slots=True)
class Dedup:
    names: tuple[str, ...]
    count: int = 1
    keepempty: bool = False
    consecutive: bool = False
    keys: tuple[SortKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    command: str            # "head", "tail" or "reverse"
    count: int = 0


@dataclass(frozen=True, slots=True)
class Mvexpand:
    field: str
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Makemv:
    field: str
    delim: str = " "
    allowempty: bool = False


@dataclass(frozen=True, slots=True)
class Mvcombine:
    field: str


@dataclass(frozen=True, slots=True)
class Rex:
    field: str
    pattern: str
    max_match: int = 1


@dataclass(frozen=True, slots=True)
class Regex:
    field: str
    pattern: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    command: str            # "append" or "appendpipe"
    search: Search
    maxout: int | None = None


@dataclass(frozen=True, slots=True)
class Multisearch:
    searches: tuple[Search, ...]


@dataclass(frozen=True, slots=True)
class LookupCommand:
    table: str
    inputs: tuple[tuple[str, str], ...]         # (lookup field, event field)
    outputs: tuple[tuple[str, str], ...]        # the same; empty: all other fields of the table
    new_only: bool
    position: int


@dataclass(frozen=True, slots=True)
class Inputlookup:
    table: str
    append: bool
    condition: Condition | None
    position: int


@dataclass(frozen=True, slots=True)
class Outputlookup:
    table: str
    append: bool = False
    key_field: str | None = None


@dataclass(frozen=True, slots=True)
class Collect:
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Makeresults:
    count: int = 1


@dataclass(frozen=True, slots=True)
class Addinfo:
    """`addinfo`, which takes nothing."""


@dataclass(frozen=True, slots=True)
class Foreach:
    patterns: tuple[str, ...]
    template: str
    position: int


Command = (SearchCommand | Where | Eval | Fields | Table | Rename | Fillnull | Stats | Streamstats | Tstats | Bin | Sort
           | Dedup | Take | Mvexpand | Makemv | Mvcombine | Rex | Regex | Append | Multisearch | LookupCommand
           | Inputlookup | Outputlookup | Collect | Makeresults | Foreach | Addinfo)


@dataclass(frozen=True, slots=True)
class Search:
    """A pipeline. `names` are the commands' names as written, for messages and for who looks for forbidden ones."""

    commands: tuple[Command, ...]
    names: tuple[str, ...] = field(default=())

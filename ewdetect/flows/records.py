"""Source → SQL text for JSON as text: records of one flow, where the fast reader met damage, and records of many.

Each function takes and gives a SELECT. The innermost has a column `l`, a JSON value as text, and may have `line`, its
number. The outermost has a column for each raw path and `#fault`, as in lines.py. Nothing here runs SQL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ewdetect.flows.lines import without_unset
from ewdetect.flows.source import OUTER, Columns, Source, Unfold
from ewdetect.flows.sql import name, packed, raw, text, tree


def _is_object(value: str) -> str:
    return f"coalesce(json_valid({value}), false) AND regexp_matches({value}, '^ *\\{{')"


IS_OBJECT = _is_object("l")


def transformed(value: str, paths: Sequence[str]) -> str:
    """JSON text as a struct with a field for each path, and lists where a path goes into one."""
    structure = json.dumps(_structure([path.split("/") for path in paths]))
    return f"json_transform({value}, {text(structure)})"


def json_fault(source: Source) -> str:
    """A line that is no JSON object, or one of quite another kind, leaves everything empty."""
    columns = dict.fromkeys(p.partition("/")[0] for p in source.raw_paths())
    return f"CASE WHEN {' AND '.join(f'{name(c)} IS NULL' for c in columns)} THEN 'unreadable' ELSE '' END"


def plain_json(source: Source, base: str, also: Sequence[str] = ()) -> str:
    """JSON objects as raw columns, all of them text."""
    values = f"unnest({transformed(f'CASE WHEN {IS_OBJECT} THEN l END', source.raw_paths())})"
    parsed = f"SELECT {', '.join([*also, values])} FROM ({base})"
    return unset_as_null(source, f'SELECT *, {json_fault(source)} AS "#fault" FROM ({parsed})')


def unset_as_null(source: Source, base: str, types: Mapping[str, str] = MappingProxyType({})) -> str:
    """Raw columns with NULL for texts that mean missing. A raw path that `types` does not name is text."""
    if not source.unset:
        return base
    def value(path: str) -> str:
        is_text = types.get(path, "VARCHAR") == "VARCHAR"
        return without_unset(raw(path), source) if is_text else raw(path)
    return f"SELECT * REPLACE ({', '.join(packed(source.raw_paths(), value))}) FROM ({base}) r"


def unfolded(source: Source, base: str, holds: str, also: Sequence[str] = ()) -> str:
    """Records that hold many flows, as one row for each flow. `holds` is what lines must be to be records.

    A record that holds none is a flow itself where flows are JSON, and else of another kind.
    """
    kept = "".join(f"{a}, " for a in also)
    # What is no object becomes NULL first, for DuckDB may look into a line before it has tested it.
    lines = f"SELECT {kept}coalesce({holds}, false) AS held, CASE WHEN {IS_OBJECT} THEN l END AS l FROM ({base})"
    outer = [p.removeprefix(OUTER) for p in source.raw_paths() if p.startswith(OUTER)]
    inner = [p for p in source.raw_paths() if not p.startswith(OUTER)]
    around = [f"{_struct('t', tree(outer))} AS {name('..')}"] if outer else []
    asked = [*outer, *(u.flows for u in source.unfold)]
    is_json = any(u.columns is None for u in source.unfold)
    opened = (_opened_one_by_one if is_json else _opened_at_once)(source.unfold, asked, kept, lines)
    flows = _flows(source.unfold, [*also, *around, "broken"], opened)
    whole = f"CASE WHEN {_is_object('flow')} THEN flow END"
    values = [f"unnest({transformed(whole, inner)})"] if is_json else [
        f"{_value(p, source.unfold)} AS {name(p)}" for p in inner]
    fault = "CASE WHEN broken THEN 'unreadable' WHEN flow IS NULL THEN 'passed' "
    fault += f"WHEN NOT ({_is_object('flow')}) THEN 'unreadable' " if is_json else ""
    fault += " ".join(
        f"WHEN kind = {k} AND len(parts) < {u.columns.least} THEN 'ragged'"
        for k, u in enumerate(source.unfold) if u.columns) + " ELSE '' END"
    columns = [*also, *values, *(name("..") for _ in around)]
    return unset_as_null(source, f"SELECT {', '.join(columns)}, {fault} AS \"#fault\" FROM ({flows})")


def _json_path(path: str) -> str:
    steps = path.split("/")
    return "$" + "".join("[*]" if s == "*" else f"[{s}]" if s.isdigit() else f'."{s}"' for s in steps if s)


def _structure(paths: Sequence[Sequence[str]]) -> Any:
    """What json_transform is to make of JSON so that the paths are in it: objects, lists, and texts at their ends."""
    if not all(paths):
        return "VARCHAR"
    if _is_place(paths[0][0]):
        return [_structure([p[1:] for p in paths])]
    return {key: _structure([p[1:] for p in paths if p[0] == key]) for key in dict.fromkeys(p[0] for p in paths)}


def _is_place(step: str) -> bool:
    """Whether a step of a path goes into a list: to all its elements, or to one."""
    return step == "*" or step.isdigit()


def _struct(value: str, node: Mapping[str, Any]) -> str:
    """A part of a struct, with the names of `node` alone."""
    parts = (f"{text(key)}: {f'{value}.{name(key)}' if child is None else _struct(f'{value}.{name(key)}', child)}"
             for key, child in node.items())
    return f"{{{', '.join(parts)}}}"


def _picked(value: str, steps: Sequence[str], depth: int = 0) -> str:
    """What a path leads to in a value that json_transform made: with a `*` in it, all that it leads to, as one list."""
    if not steps:
        return value
    step, *rest = steps
    if step == "*":
        each = f"x{depth}"
        listed = value if not rest else f"list_transform({value}, lambda {each}: {_picked(each, rest, depth + 1)})"
        return f"flatten({listed})" if "*" in rest else listed
    return _picked(f"{value}[{int(step) + 1}]" if step.isdigit() else f"{value}.{name(step)}", rest, depth)


# Lines that hold no records become none: a filter would put the few of many buffers together, and all would be parsed
# at once.
def _opened_one_by_one(unfold: Sequence[Unfold], asked: Sequence[str], kept: str, lines: str) -> str:
    """The records of documents: each as text, `item`, and what is `asked` of it as a struct, `t`.

    A document that holds none is a record itself. `broken` are lines that are no documents.
    """
    # Parts of JSON that is known to be valid, so they are text from here on.
    found = [f"coalesce(CAST(json_extract(l, {text(_json_path(h))}) AS VARCHAR[]), [])" for h in _holders(unfold)]
    items = (f"SELECT {kept}l IS NULL AS broken, unnest(CASE WHEN held THEN {_or_itself(found, 'l')} ELSE [] END) "
             f"AS item FROM ({lines})")
    return f"SELECT *, {transformed('item', asked)} AS t FROM ({items})"


def _opened_at_once(unfold: Sequence[Unfold], asked: Sequence[str], kept: str, lines: str) -> str:
    """The same with an empty `item`, where no record is a flow itself: each line is parsed once."""
    found = [f"coalesce({_picked('d', h.split('/'))}, [])" for h in _holders(unfold)]
    itself = "{" + ", ".join(f"{text(key)}: d.{name(key)}" for key in tree(asked)) + "}"
    document = transformed("l", [*asked, *(f"{h}/{path}" for h in _holders(unfold) for path in asked)])
    return (f"SELECT {kept}broken, CAST(NULL AS VARCHAR) AS item, "
            f"unnest(CASE WHEN held THEN {_or_itself(found, itself)} ELSE [] END) AS t "
            f"FROM (SELECT {kept}held, l IS NULL AS broken, {document} AS d FROM ({lines}))")


def _holders(unfold: Sequence[Unfold]) -> list[str]:
    """Where a document holds records."""
    return list(dict.fromkeys(u.items for u in unfold if u.items))


def _or_itself(found: Sequence[str], itself: str) -> str:
    """The lists that were found as one, or else the record itself."""
    return f"coalesce(nullif({' || '.join(found)}, []), [{itself}])" if found else f"[{itself}]"


def _flows(unfold: Sequence[Unfold], kept: Sequence[str], items: str) -> str:
    """A row for each `flow` of an item, with its `kind`, which is the place in `unfold`, and its `parts`.

    `kept` are columns of the item, made once for all its flows.
    """
    found = ", ".join(f"coalesce({_picked('t', u.flows.split('/'))}, []) AS f{k}" for k, u in enumerate(unfold))
    listed = " || ".join(f"f{k}" for k in range(len(unfold)))
    # The number of a flow in the joined lists tells which of them it is from.
    ends = [" + ".join(f"len(f{j})" for j in range(k + 1)) for k in range(len(unfold))]
    kinds = " ".join(f"WHEN n <= {end} THEN {k}" for k, end in enumerate(ends))
    each = (f"SELECT *, unnest(coalesce(nullif({listed}, []), [item])) AS flow, "
            f"unnest(range(1, greatest({ends[-1]}, 1) + 1)) AS n "
            f"FROM (SELECT {', '.join([*kept, 'item', found])} FROM ({items}))")
    splits = " ".join(f"WHEN {k} THEN {_split_flow(u.columns)}" for k, u in enumerate(unfold) if u.columns)
    parts = f"CASE kind {splits} END" if splits else "CAST(NULL AS VARCHAR[])"
    return f"SELECT *, {parts} AS parts FROM (SELECT *, CASE {kinds} END AS kind FROM ({each}))"


def _split_flow(columns: Columns) -> str:
    """The values of a flow without the blanks around them, which are looked for once."""
    split = f"string_split(flow, {text(columns.separator)})"
    return f"CASE WHEN contains(flow, ' ') THEN list_transform({split}, lambda x: trim(x)) ELSE {split} END"


def _value(path: str, unfold: Sequence[Unfold]) -> str:
    branches = [f"WHEN {k} THEN parts[{u.columns.names.index(path) + 1}]"
                for k, u in enumerate(unfold) if u.columns and path in u.columns.names]
    return f"nullif(CASE kind {' '.join(branches)} END, '')" if branches else "CAST(NULL AS VARCHAR)"

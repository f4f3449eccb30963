"""Source → SQL text for what DuckDB has no reader of: lines of log text, and JSON records that hold many flows.

Each function takes and gives a SELECT. The innermost has a column `l`, a line or a JSON value as text, and may have
`line`, its number. The outermost has a column for each raw path and `#fault`, which is what keeps a line from being
read, `passed` for one that is no flow record, or ''. Nothing here runs SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ewdetect.flows.source import OUTER, Columns, Lines, Pairs, Pattern, Source, Unfold
from ewdetect.flows.sql import name, text, tree

HEADER = "header"           # the fault of a line that names the columns otherwise than the file's header
_QUOTE = '"'


def split_lines(source: Source, lines: Lines, base: str, header: Sequence[str], also: Sequence[str] = ()) -> str:
    """Lines of text as raw columns. `header` are the columns that the file itself names, if it does."""
    columns = lines.columns
    if columns and header:
        columns = Columns(tuple(header), columns.separator, columns.header, len(header))
    matched = _matched(lines, base, columns, header)
    split = f"SELECT *, {_parts(columns)} AS parts FROM ({matched})" if columns else matched
    if lines.pairs:
        given = (*lines.names(), *(lines.head.groups if lines.head else ()))
        split = _elements([p for p in source.raw_paths() if p not in given], lines.pairs, matched)
    def value(node: Mapping[str, Any] | None, path: str) -> str:
        if node is None:
            return _set(_taken(path, lines, columns), source)
        return "{" + ", ".join(f"{text(k)}: {value(child, f'{path}/{k}')}" for k, child in node.items()) + "}"

    taken = [f"{value(node, key)} AS {name(key)}" for key, node in tree(source.raw_paths()).items()]
    kept = ", ".join([*also, *taken])
    essential = [name(p) for f in ("source.ip", "destination.ip") for way in source.fields[f].ways()
                 for p in way.paths]
    empty = " AND ".join(f"{p} IS NULL" for p in essential) if not columns else "false"
    return (f'SELECT * EXCLUDE (l) REPLACE (CASE WHEN "#fault" = \'\' AND {empty} THEN {_stranger(lines)} '
            f'ELSE "#fault" END AS "#fault") '
            f'FROM (SELECT {kept}, l, {_line_fault(lines, columns)} AS "#fault" FROM ({split}))')


def _set(value: str, source: Source) -> str:
    """A raw text, NULL where it is one that means missing."""
    for word in source.unset:
        value = f"nullif({value}, {text(word)})"
    return value


def _matched(lines: Lines, base: str, columns: Columns | None, header: Sequence[str]) -> str:
    """The lines with a struct for each pattern, which of them fits, and the `rest` that pairs or columns read."""
    found, which = f"SELECT *, {_FIRST if lines.patterns else '0'} AS which FROM ({base})", "which"
    for i, p in enumerate(lines.patterns):
        # Nearly all lines fit one of the first patterns; on them the others are not tried.
        call = f"CASE WHEN {which} IS NULL AND contains(l, {text(p.contains)}) THEN {_extract(p)} END"
        found = f"SELECT * REPLACE ({which} AS which), {call} AS p{i} FROM ({found})"
        which = f"coalesce(which, CASE WHEN p{i}._ <> '' THEN {i} END)"
    head = f", {_extract(lines.head)} AS head" if lines.head else ""
    rests = [i for i, p in enumerate(lines.patterns) if "rest" in p.groups]
    behind = " ".join(f"WHEN {i} THEN {_rest(f'p{i}', lines.patterns[i])}" for i in rests)
    rest = f"CASE which {behind} END" if rests else "l"
    if lines.pairs:
        # The first key may stand right behind syslog's priority.
        bare = f"CASE WHEN starts_with({rest}, '<') THEN substr({rest}, strpos({rest}, '>') + 1) ELSE {rest} END"
        rest = f"{text(lines.pairs.separator)} || {bare}"
    inner = f"SELECT *, {rest} AS rest{head} FROM (SELECT * REPLACE ({which} AS which) FROM ({found}))"
    return f"{inner} WHERE NOT {_known_header(columns, header)}" if columns and columns.header else inner


_FIRST = "CAST(NULL AS INTEGER)"
# What a match is followed by needs no search of its own.
_TAIL = "(?P<rest>.*)"


def _rest(column: str, pattern: Pattern) -> str:
    if not pattern.match.endswith(_TAIL):
        return f"{column}.rest"
    return f"substr(l, strpos(l, {column}._) + length({column}._))"


def _extract(pattern: Pattern) -> str:
    """The groups as a struct. The whole match is a group of its own, since one that does not take part is empty."""
    captured = [g for g in pattern.groups if g != "rest" or not pattern.match.endswith(_TAIL)]
    wanted = "[" + ", ".join(map(text, ("_", *captured))) + "]"
    return f"regexp_extract(l, {text(f'(?P<_>{pattern.match.removesuffix(_TAIL)})')}, {wanted})"


def _known_header(columns: Columns, header: Sequence[str]) -> str:
    """Whether a line names the columns as the file's header does, or at all where the file has none."""
    same = f" AND l = {text(columns.separator.join(header))}" if header else ""
    return f"({is_header(columns)}{same})"


def is_header(columns: Columns) -> str:
    """Whether a line names columns, as an SQL condition."""
    mark = columns.separator
    framed = f"{text(mark)} || l || {text(mark)}"
    # The word alone is looked for first, since nearly all lines are without.
    return "(" + " OR ".join(f"(contains(l, {text(word)}) AND contains({framed}, {text(mark + word + mark)}))"
                             for word in columns.header) + ")"


def _parts(columns: Columns) -> str:
    """The values of a line. Quotes are rare, and looked for only where there are some."""
    mark = text(columns.separator)
    if columns.separator == " ":
        return ("CASE WHEN contains(rest, '  ') THEN regexp_split_to_array(trim(rest), ' +') "
                "ELSE string_split(trim(rest), ' ') END")
    quoted = text(f'("(?:[^"]|"")*"|[^{columns.separator}]*){columns.separator}')
    return (f"CASE WHEN contains(rest, '\"') THEN list_transform(regexp_extract_all(rest || {mark}, {quoted}, 1), "
            f"lambda x: trim(x, '\"')) ELSE string_split(rest, {mark}) END")


def _taken(path: str, lines: Lines, columns: Columns | None) -> str:
    """The SQL of one raw path."""
    if path == "rest":
        return "rest"
    if lines.head and path in lines.head.groups:
        return f"nullif(head.{name(path)}, '')"
    branches = [f"WHEN {i} THEN {text(p.sets[path]) if path in p.sets else f'p{i}.{name(path)}'}"
                for i, p in enumerate(lines.patterns) if path in p.groups or path in p.sets]
    if branches:
        return f"nullif(CASE which {' '.join(branches)} END, '')"
    if lines.pairs:
        return _pair(path, lines.pairs)
    if columns and path in columns.names:
        return f"nullif({_trimmed(f'parts[{columns.names.index(path) + 1}]', columns.separator)}, '')"
    return "CAST(NULL AS VARCHAR)"


def _elements(wanted: Sequence[str], pairs: Pairs, base: str) -> str:
    """The first `key=value` of every key, as a column `=key`. Finding all keys at once beats a search for each.

    `blank` says whether a value may have blanks around it, which is looked for once and not in each.
    """
    equals = text(pairs.equals)
    length = len(pairs.equals) - 1
    keys = f"list_transform(parts, lambda x: left(x, strpos(x, {equals}) + {length}))"
    around = [f"contains(rest, {text(near)})" for near in (
        f"{pairs.separator} ", f" {pairs.separator}", f"{pairs.equals} ")] + ["suffix(rest, ' ')"]
    blank = "false" if pairs.separator == " " else " OR ".join(around)
    parts = f"SELECT *, string_split(rest, {text(pairs.separator)}) AS parts, {blank} AS blank FROM ({base})"
    found = ", ".join(f"parts[list_position(keys, {text(p + pairs.equals)})] AS {_element(p)}"
                      for p in wanted)
    return f"SELECT * EXCLUDE (parts, keys), {found} FROM (SELECT *, {keys} AS keys FROM ({parts}))"


def _element(key: str) -> str:
    return name(f"={key}")


def _trimmed(value: str, separator: str) -> str:
    """Without blanks around it. Cutting is slow, so it is done only where there is a blank."""
    return value if separator == " " else (
        f"CASE WHEN prefix({value}, ' ') OR suffix({value}, ' ') THEN trim({value}) ELSE {value} END")


def _pair(key: str, pairs: Pairs) -> str:
    """The value behind the first `key=`: to the closing quote, or to the separator.

    Only where a quoted value holds the separator is the line searched for it.
    """
    element, begin = _element(key), key + pairs.equals
    opened, behind = text(begin + _QUOTE), len(begin) + 2
    value = f"substr({element}, {len(begin) + 1})"
    trimmed = value if pairs.separator == " " else f"CASE WHEN blank THEN trim({value}) ELSE {value} END"
    searched = f"regexp_extract(rest, {text(f'{re.escape(pairs.separator + begin)}{_QUOTE}([^{_QUOTE}]*)')}, 1)"
    inside = (f"CASE WHEN suffix({element}, '{_QUOTE}') AND {element} <> {opened} "
              f"THEN substr({element}, {behind}, length({element}) - {behind}) ELSE {searched} END")
    return f"nullif(CASE WHEN starts_with({element}, {opened}) THEN {inside} ELSE {trimmed} END, '')"


def _line_fault(lines: Lines, columns: Columns | None) -> str:
    faults = [f"WHEN {is_header(columns)} THEN {text(HEADER)}"] if columns and columns.header else []
    faults += [f"WHEN regexp_matches(l, {text(pattern)}) THEN 'passed'" for pattern in lines.ignore]
    if lines.patterns:
        faults.append(f"WHEN which IS NULL THEN {_stranger(lines)}")
    if columns:
        least = columns.least if not columns.header else len(columns.names)
        faults.append(f"WHEN len(parts) < {least} THEN 'ragged'")
        faults += [f"WHEN len(parts) > {len(columns.names)} THEN 'ragged'"] if columns.header else []
    return f"CASE {' '.join(faults)} ELSE '' END" if faults else "''"


def _stranger(lines: Lines) -> str:
    """What a line is from which nothing can be read: damaged, or another program's."""
    if not lines.marks:
        return "'unreadable'"
    marked = " OR ".join(f"contains(l, {text(mark)})" for mark in lines.marks)
    return f"CASE WHEN {marked} THEN 'unreadable' ELSE 'passed' END"


# ---------------------------------------------------------------- JSON

def _is_object(value: str) -> str:
    return f"coalesce(json_valid({value}), false) AND starts_with(ltrim({value}), '{{')"


IS_OBJECT = _is_object("l")


def leaves_as_text(node: Mapping[str, Any]) -> dict[str, Any]:
    """The structure that json_transform wants."""
    return {key: "VARCHAR" if child is None else leaves_as_text(child) for key, child in node.items()}


def transformed(value: str, paths: Sequence[str]) -> str:
    """JSON text as a struct with a field for each raw path."""
    return f"json_transform({value}, {text(json.dumps(leaves_as_text(tree(paths))))})"


def json_fault(source: Source) -> str:
    """A line that is no JSON object, or one of quite another kind, leaves everything empty."""
    columns = dict.fromkeys(p.partition("/")[0] for p in source.raw_paths())
    return f"CASE WHEN {' AND '.join(f'{name(c)} IS NULL' for c in columns)} THEN 'unreadable' ELSE '' END"


def plain_json(source: Source, base: str, also: Sequence[str] = ()) -> str:
    """JSON objects as raw columns, all of them text."""
    values = f"unnest({transformed(f'CASE WHEN {IS_OBJECT} THEN l END', source.raw_paths())})"
    parsed = f"SELECT {', '.join([*also, values])} FROM ({base})"
    return f'SELECT *, {json_fault(source)} AS "#fault" FROM ({parsed})'


def unfolded(source: Source, base: str, holds: str, also: Sequence[str] = ()) -> str:
    """Records that hold many flows, as one row for each flow. `holds` is what lines must be to be records.

    A record that holds none is a flow itself where flows are JSON, and else of another kind.
    """
    kept = "".join(f"{a}, " for a in also)
    # Lines that hold none become no items: a filter would put the few of many buffers together, and all would be parsed
    # at once. What is no object becomes NULL first, for DuckDB may look into a line before it has tested it.
    items = (f"SELECT {kept}unnest(CASE WHEN held THEN {_items(source.unfold)} ELSE [] END) AS item "
             f"FROM (SELECT {kept}coalesce({holds}, false) AS held, "
             f"CASE WHEN {IS_OBJECT} THEN l END AS l FROM ({base}))")
    outer = [p.removeprefix(OUTER) for p in source.raw_paths() if p.startswith(OUTER)]
    inner = [p for p in source.raw_paths() if not p.startswith(OUTER)]
    around = [f"{_struct('t', tree(outer))} AS {name('..')}"] if outer else []
    wanted = [tuple(p.split("/")) for p in (*outer, *(u.flows for u in source.unfold))]
    opened = f"SELECT *, json_transform(item, {text(json.dumps(_structure(wanted)))}) AS t FROM ({items})"
    flows = _flows(source.unfold, [*also, *around], opened)
    is_json = any(u.columns is None for u in source.unfold)
    whole = f"CASE WHEN {_is_object('flow')} THEN flow END"
    values = [f"unnest({transformed(whole, inner)})"] if is_json else [
        f"{_set(_value(p, source.unfold), source)} AS {name(p)}" for p in inner]
    fault = "CASE WHEN item IS NULL THEN 'unreadable' WHEN flow IS NULL THEN 'passed' "
    fault += f"WHEN NOT ({_is_object('flow')}) THEN 'unreadable' " if is_json else ""
    fault += " ".join(
        f"WHEN kind = {k} AND len(parts) < {u.columns.least} THEN 'ragged'"
        for k, u in enumerate(source.unfold) if u.columns) + " ELSE '' END"
    columns = [*also, *values, *(name("..") for _ in around)]
    return f"SELECT {', '.join(columns)}, {fault} AS \"#fault\" FROM ({flows})"


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


def _items(unfold: Sequence[Unfold]) -> str:
    """The records of a document; a document that holds none is a record itself."""
    # Parts of JSON that is known to be valid, so they are text from here on.
    found = [f"CAST(json_extract(l, {text(_json_path(u.items))}) AS VARCHAR[])" for u in unfold if u.items]
    paths = list(dict.fromkeys(found))
    whole = "[l]"
    return whole if not paths else f"coalesce(nullif({' || '.join(f'coalesce({p}, [])' for p in paths)}, []), {whole})"


def _flows(unfold: Sequence[Unfold], kept: Sequence[str], items: str) -> str:
    """A row for each `flow` of an item, with its `kind`, which is the place in `unfold`, and its `parts`.

    `kept` are columns of the item, made once for all its flows.
    """
    found = ", ".join(f"coalesce({_picked('t', u.flows.split('/'))}, []) AS f{k}" for k, u in enumerate(unfold))
    itself = "CAST(item AS VARCHAR)" if any(u.columns is None for u in unfold) else "CAST(NULL AS VARCHAR)"
    listed = " || ".join(f"f{k}" for k in range(len(unfold)))
    # The number of a flow in the joined lists tells which of them it is from.
    ends = [" + ".join(f"len(f{j})" for j in range(k + 1)) for k in range(len(unfold))]
    kinds = " ".join(f"WHEN n <= {end} THEN {k}" for k, end in enumerate(ends))
    each = (f"SELECT *, unnest(coalesce(nullif({listed}, []), [{itself}])) AS flow, "
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

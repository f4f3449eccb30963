"""Source → SQL text for what DuckDB has no reader of: lines of log text.

Each function takes and gives a SELECT. The innermost has a column `l`, a line of text, and may have `line`, its number.
The outermost has a column for each raw path and `#fault`, which is what keeps a line from being read, `passed` for one
that is no flow record, or ''. Nothing here runs SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ewdetect.flows.source import Columns, Lines, Pairs, Pattern, Source
from ewdetect.flows.sql import name, packed, text

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
    taken = packed(source.raw_paths(), lambda path: without_unset(_taken(path, lines, columns), source))
    kept = ", ".join([*also, *taken])
    addresses = [p for f in ("source.ip", "destination.ip") for way in source.fields[f].ways() for p in way.paths]
    # Without any of these a line is no record, nor shown to be one of another kind.
    essential = dict.fromkeys([*addresses, *(term.path for terms in source.record for term in terms)])
    empty = " AND ".join(f"{name(p)} IS NULL" for p in essential) if not columns else "false"
    return (f'SELECT * EXCLUDE (l) REPLACE (CASE WHEN "#fault" = \'\' AND {empty} THEN {_stranger(lines)} '
            f'ELSE "#fault" END AS "#fault") '
            f'FROM (SELECT {kept}, l, {_line_fault(lines, columns)} AS "#fault" FROM ({split}))')


def without_unset(value: str, source: Source) -> str:
    """A raw text, NULL where it is one that means missing."""
    for word in source.unset:
        value = f"nullif({value}, {text(word)})"
    return value


def _matched(lines: Lines, base: str, columns: Columns | None, header: Sequence[str]) -> str:
    """The lines with a struct for each pattern, which of them fits, and the `rest` that pairs or columns read."""
    found, which = f"SELECT *, {_FIRST if lines.patterns else '0'} AS which FROM ({base})", "which"
    for i, p in enumerate(lines.patterns):
        # Nearly all lines fit one of the first patterns; on them the others are not tried.
        ends = f" AND regexp_matches(l, {text(f'{re.escape(p.end)} *$')})" if p.end else ""
        tried = f"contains(l, {text(p.contains)}){ends}"
        call = f"CASE WHEN {which} IS NULL AND {tried} THEN {_extract(p)} END"
        found = f"SELECT * REPLACE ({which} AS which), {call} AS p{i} FROM ({found})"
        which = f"coalesce(which, CASE WHEN p{i}._ <> '' THEN {i} END)"
    head = f", {_extract(lines.head)} AS head" if lines.head else ""
    rests = [i for i, p in enumerate(lines.patterns) if "rest" in p.groups]
    behind = " ".join(f"WHEN {i} THEN {_rest(f'p{i}', lines.patterns[i])}" for i in rests)
    # Where pairs are the whole line, the first key may stand right behind syslog's priority.
    bare = "CASE WHEN starts_with(l, '<') THEN substr(l, strpos(l, '>') + 1) ELSE l END" if lines.pairs else "l"
    rest = f"CASE which {behind} END" if rests else bare
    inner = f"SELECT *, {rest} AS rest{head} FROM (SELECT * REPLACE ({which} AS which) FROM ({found}))"
    return f"{inner} WHERE NOT {_known_header(columns, header)}" if columns and columns.header else inner


_FIRST = "CAST(NULL AS INTEGER)"
# What a match is followed by needs no search of its own.
_TAIL = "(?P<rest>.*)"


def _rest(column: str, pattern: Pattern) -> str:
    found = f"{column}.rest"
    if pattern.match.endswith(_TAIL):
        found = f"substr(l, strpos(l, {column}._) + length({column}._))"
    for old, new in pattern.replace.items():
        found = f"replace({found}, {text(old)}, {text(new)})"
    return found


def _extract(pattern: Pattern) -> str:
    """The groups as a struct. The whole match is a group of its own, since one that does not take part is empty."""
    captured = [g for g in pattern.groups if g != "rest" or not pattern.match.endswith(_TAIL)]
    wanted = "[" + ", ".join(map(text, ("_", *captured))) + "]"
    line, at = (f"substr(l, strpos(l, {text(pattern.begin)}))", "^") if pattern.begin else ("l", "")
    return f"regexp_extract({line}, {text(f'{at}(?P<_>{pattern.match.removesuffix(_TAIL)})')}, {wanted})"


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
    """The values of a line. What is rare and slow, such as quotes, is looked for before it is done."""
    mark = text(columns.separator)
    if columns.separator == " ":
        return (f"CASE WHEN contains(rest, '  ') THEN regexp_split_to_array(trim(rest), ' +') "
                f"ELSE string_split({_trimmed('rest')}, ' ') END")
    # Before the first quote and behind the last, every separator is one.
    escaped = re.escape(columns.separator)
    before = f"regexp_extract(rest, {text(f'^[^{_QUOTE}]*{escaped}')})"
    behind = f"regexp_extract(rest, {text(f'{escaped}[^{_QUOTE}]*$')})"
    between = f"substr(rest, length({before}) + 1, length(rest) - length({before}) - length({behind}))"
    value = text(f"({_QUOTE}(?:[^{_QUOTE}]|{_QUOTE * 2})*{_QUOTE}|[^{escaped}]*){escaped}")
    quoted = f"list_transform(regexp_extract_all({between} || {mark}, {value}, 1), lambda x: trim(x, '{_QUOTE}'))"
    return (f"CASE WHEN contains(rest, '{_QUOTE}') "
            f"THEN string_split({before}, {mark})[:-2] || {quoted} || string_split({behind}, {mark})[2:] "
            f"ELSE string_split(rest, {mark}) END")


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
        value = f"parts[{columns.names.index(path) + 1}]"
        return f"nullif({value if columns.separator == ' ' else _trimmed(value)}, '')"
    return "CAST(NULL AS VARCHAR)"


def _elements(wanted: Sequence[str], pairs: Pairs, base: str) -> str:
    """The first `key=value` of every key, as a column `=key`. Finding all keys at once beats a search for each.

    Lines that are `cut` at their quotes are left out. On a `plain` line no value has quotes or blanks around it, which
    is looked for once and not in each.
    """
    if pairs.quoted:
        cut = f"string_split({_led(pairs)}, '{_QUOTE}')"
        base = f"SELECT *, CASE WHEN {_all_quoted(pairs)} THEN {cut} END AS cut FROM ({base})"
    equals = text(pairs.equals)
    length = len(pairs.equals) - 1
    keys = f"list_transform(parts, lambda x: left(x, strpos(x, {equals}) + {length}))"
    near = [f"{pairs.separator} ", f" {pairs.separator}", f"{pairs.equals} "] if pairs.separator != " " else []
    odd = [f"contains(rest, {text(mark)})" for mark in (_QUOTE, *near)] + (["suffix(rest, ' ')"] if near else [])
    split = f"string_split(rest, {text(pairs.separator)})"
    if pairs.quoted:
        split = f"CASE WHEN cut IS NULL THEN {split} END"
    parts = f"SELECT *, {split} AS parts, NOT ({' OR '.join(odd)}) AS plain FROM ({base})"
    when, end = ("CASE WHEN cut IS NULL THEN ", " END") if pairs.quoted else ("", "")
    found = ", ".join(f"{when}parts[list_position(keys, {text(p + pairs.equals)})]{end} AS {_element(p)}"
                      for p in wanted)
    return f"SELECT * EXCLUDE (parts, keys), {found} FROM (SELECT *, {keys} AS keys FROM ({parts}))"


def _all_quoted(pairs: Pairs) -> str:
    """Whether every value stands in quotes, with no equals sign in it: between quotes are then keys and values in turn.
    """
    mark, equals = re.escape(pairs.separator), re.escape(pairs.equals)
    other = f"[^{_QUOTE}{equals}]*"
    pair = f"{mark}[^{mark}{_QUOTE}{equals}]+{equals}{_QUOTE}{other}{_QUOTE}"
    return f"regexp_full_match({_led(pairs)}, {text(f'(?:{pair})*{other}')})"


def _led(pairs: Pairs) -> str:
    """What pairs are read from, with a separator before the first key as there is before the others."""
    return f"{text(pairs.separator)} || rest"


def _element(key: str) -> str:
    return name(f"={key}")


def _trimmed(value: str) -> str:
    """Without blanks around it. Cutting is slow, so it is done only where there is a blank."""
    return f"CASE WHEN prefix({value}, ' ') OR suffix({value}, ' ') THEN trim({value}) ELSE {value} END"


def _pair(key: str, pairs: Pairs) -> str:
    """The value behind the first `key=`: to the closing quote, or to the separator.

    Only where a quoted value holds the separator is the line searched for it.
    """
    element, begin = _element(key), key + pairs.equals
    opened, behind = text(begin + _QUOTE), len(begin) + 2
    value = f"substr({element}, {len(begin) + 1})"
    trimmed = value if pairs.separator == " " else f"trim({value})"
    quoted = f"{re.escape(pairs.separator + begin)}{_QUOTE}([^{_QUOTE}]*)"
    searched = f"regexp_extract({_led(pairs)}, {text(quoted)}, 1)"
    inside = (f"CASE WHEN suffix({element}, '{_QUOTE}') AND {element} <> {opened} "
              f"THEN substr({element}, {behind}, length({element}) - {behind}) ELSE {searched} END")
    value = f"CASE WHEN plain THEN {value} WHEN starts_with({element}, {opened}) THEN {inside} ELSE {trimmed} END"
    if pairs.quoted:
        behind_key = f"cut[list_position(cut, {text(pairs.separator + begin)}) + 1]"
        value = f"CASE WHEN cut IS NOT NULL THEN {behind_key} ELSE {value} END"
    return f"nullif({value}, '')"


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

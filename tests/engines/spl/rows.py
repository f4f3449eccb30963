"""Commands that look at one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tests.engines.spl import nodes
from tests.engines.spl.context import Context
from tests.engines.spl.errors import SplError
from tests.engines.spl.evaluate import getter
from tests.engines.spl.functions import pattern
from tests.engines.spl.limits import check_memory
from tests.engines.spl.parse import parse_assignments
from tests.engines.spl.searching import predicate_test
from tests.engines.spl.values import Number, Row, Value, many, multivalue, number, text, wildcard


def base_search(node: nodes.SearchCommand, context: Context) -> list[Row]:
    """The first `search`: events of the time range, newest first, in no known order at one instant."""
    events = context.mixed(context.read(node.condition))
    found = filtered(node.condition, events)
    if all("_time" in row for row in found):
        found.sort(key=lambda row: row["_time"], reverse=True)
    return [dict(row) for row in found]


def search(node: nodes.SearchCommand, rows: list[Row], context: Context) -> list[Row]:
    """A later `search`."""
    return filtered(node.condition, context.narrowed(rows, node.condition))


def filtered(condition: nodes.Condition, rows: Sequence[Row], *, loose_cidr: bool = False) -> list[Row]:
    """The rows of which the condition is not false."""
    test = predicate_test(condition.predicate, loose_cidr=loose_cidr)
    return [row for row in rows if test(row) is not False]


def where(node: nodes.Where, rows: list[Row], context: Context) -> list[Row]:
    """`where`: only true passes."""
    test = getter(node.expression, context.environment)
    return [row for row in rows if test(row) is True]


def evaluate(node: nodes.Eval, rows: list[Row], context: Context) -> list[Row]:
    """`eval`: assignments in order; null takes the field away."""
    for name, expression in node.assignments:
        value_of = getter(expression, context.environment)
        for row in rows:
            _set(row, name, value_of(row))
    return rows


def _set(row: Row, name: str, value: Value) -> None:
    if isinstance(value, bool):
        raise AssertionError("the parser lets no Boolean into a field")
    if value is None:
        row.pop(name, None)
    else:
        row[name] = value


def _chosen(names: Sequence[str], present: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        if "*" in name:
            form = wildcard(name, case=True)
            found |= dict.fromkeys(p for p in present if form.fullmatch(p))
        else:
            found[name] = None
    return list(found)


def fields(node: nodes.Fields, rows: list[Row], context: Context) -> list[Row]:
    """`fields`: keeping keeps the fields that begin with `_` too; removing removes what it names."""
    result = []
    for row in rows:
        chosen = set(_chosen(node.names, list(row)))
        result.append({k: v for k, v in row.items()
                       if (k in chosen or k.startswith("_") if node.keep else k not in chosen)})
    return result


def table(node: nodes.Table, rows: list[Row], context: Context) -> list[Row]:
    """`table`: nothing but what it names."""
    context.transformed = True
    return [{name: row[name] for name in _chosen(node.names, list(row)) if name in row} for row in rows]


def rename(node: nodes.Rename, rows: list[Row], context: Context) -> list[Row]:
    """`rename`: a field of the new name is lost, also in rows that lack the old one."""
    for old, new in node.pairs:
        present = dict.fromkeys(k for row in rows for k in row)
        for source, target in _targets(old, new, list(present)):
            for row in rows:
                value = row.pop(source, None)
                _set(row, target, value)
    return rows


def _targets(old: str, new: str, present: list[str]) -> list[tuple[str, str]]:
    if "*" not in old:
        return [(old, new)] if old != new else []
    pairs = []
    capturing = pattern(wildcard(old, case=True).pattern.replace(".*", "(.*?)"))
    for name in present:
        found = capturing.fullmatch(name)
        if found:
            parts = new.split("*")
            made = "".join(a + b for a, b in zip(parts, (*found.groups(), ""), strict=True))
            if made != name:
                pairs.append((name, made))
    return pairs


def fillnull(node: nodes.Fillnull, rows: list[Row], context: Context) -> list[Row]:
    """`fillnull`: the named fields, or all fields that some row has."""
    names = node.names or tuple(dict.fromkeys(k for row in rows for k in row))
    found = number(node.value)
    value = node.value if found is None else found
    for row in rows:
        for name in names:
            row.setdefault(name, value)
    return rows


def bin_values(node: nodes.Bin, rows: list[Row], context: Context) -> list[Row]:
    """`bin`: `_time` becomes the beginning of its span, which begins at the epoch or at aligntime."""
    start = context.instant(_align(node, context)) or 0
    for row in rows:
        value = number(row.get(node.field))
        if value is None:
            continue
        floor = floored(value, node.span, start if node.field == "_time" else 0)
        row[node.name] = floor if node.field == "_time" else f"{text(floor)}-{text(floor + node.span)}"
    return rows


def _align(node: nodes.Bin, context: Context) -> str:
    if node.aligntime in ("earliest", "latest"):
        edge = context.earliest if node.aligntime == "earliest" else context.latest
        return text(edge or 0)
    return node.aligntime if node.aligntime and node.span % 86400 else "0"


def floored(value: Number, span: Number, start: Number) -> Number:
    """The greatest start + k * span that is not above the value."""
    rest = (value - start) % span
    floor = value - (rest if rest >= 0 else rest + span)
    return int(floor) if floor == int(floor) else floor


def mvexpand(node: nodes.Mvexpand, rows: list[Row], context: Context) -> list[Row]:
    """`mvexpand`: one row per value; a row without the field stays."""
    result = []
    for row in rows:
        values = many(row.get(node.field))
        result += [{**row, node.field: v} for v in values[:node.limit or None]] if values else [row]
    check_memory("[mvexpand] max_mem_usage_mb", context.limits.mvexpand_max_mem_usage_mb, result)
    return result


def makemv(node: nodes.Makemv, rows: list[Row], context: Context) -> list[Row]:
    """`makemv delim=`."""
    for row in rows:
        if node.field in row:
            parts = text(row[node.field]).split(node.delim)
            _set(row, node.field, multivalue(p for p in parts if p or node.allowempty))
    return rows


def rex(node: nodes.Rex, rows: list[Row], context: Context) -> list[Row]:
    """`rex`: named groups of the first match, or of up to max_match (0: all)."""
    form = pattern(node.pattern)
    for row in rows:
        if node.field not in row:
            continue
        matches = list(form.finditer(text(row[node.field])))[:node.max_match or None]
        for name in form.groupindex:
            values = [m[name] for m in matches if m[name] is not None]
            if values:
                row[name] = multivalue(values)
    return rows


def regex(node: nodes.Regex, rows: list[Row], context: Context) -> list[Row]:
    """`regex field=` keeps matches; `!=` keeps the rest."""
    form = pattern(node.pattern)
    return [row for row in rows if (node.field in row and any(form.search(text(v)) for v in many(row[node.field])))
            is not node.negated]


def addinfo(node: nodes.Addinfo, rows: list[Row], context: Context) -> list[Row]:
    """`addinfo`: the boundaries of the time range. Over all time the latest is +infinity (the addinfo page)."""
    if context.now is None:
        raise SplError("the search uses addinfo: give `now`")
    info: Row = {"info_min_time": 0 if context.earliest is None else context.earliest,
                 "info_max_time": "+Infinity" if context.latest is None else context.latest,
                 "info_search_time": context.now, "info_sid": f"scheduler_{text(context.now)}"}
    return [row | info for row in rows]


def foreach(node: nodes.Foreach, rows: list[Row], context: Context) -> list[Row]:
    """`foreach` over fields, with `<<FIELD>>` in one `eval`."""
    for name in _chosen(node.patterns, list(dict.fromkeys(k for row in rows for k in row))):
        rows = evaluate(parse_assignments(node.template.replace("<<FIELD>>", name)), rows, context)
    return rows

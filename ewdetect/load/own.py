"""What a rule of a type that Sigma does not have says: its base, its fields, and spans that fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ewdetect.model import Field, Kind, Pack, Rule
from ewdetect.plan import seconds
from ewdetect.problems import Problem, suggest
from ewdetect.yamlfile import Path_

_NUMERIC = ("port", "integer", "number")


def own_problems(rule: Rule, pack: Pack, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """Everything that the schema cannot see in a `first_seen`, `deviation` or `beacon`."""
    base = pack.find(rule.meta["rule"])
    if base is not None and base.kind is not Kind.EVENT:
        yield _problem(rule, "base-not-event", f"`{base.name}` is no event rule, and a {rule.kind} looks at flows",
                       ("rule",), "name an event rule; correlate the alerts of this one instead")
    for path, name in _named(rule.meta):
        if name not in fields:
            yield _problem(rule, "unknown-field", f"`{name}` is not a field of a flow", path,
                           suggest(name, list(fields)))
    yield from _numbers(rule, fields)
    match rule.kind:
        case Kind.FIRST_SEEN:
            yield from _first_seen(rule)
        case Kind.DEVIATION:
            yield from _deviation(rule)
        case _:
            yield from _beacon(rule)


def _problem(rule: Rule, code: str, message: str, path: Path_, fix: str) -> Problem:
    return Problem(f"rule/{code}", message, rule.document.at("ewdetect", *path), fix)


def _spans(rule: Rule, message: str, path: Path_, fix: str) -> Problem:
    return _problem(rule, "spans-disagree", message, path, fix)


def _named(says: Mapping[str, Any]) -> Iterator[tuple[Path_, str]]:
    """Every field that the block names, and where."""
    for key in ("fields", "group-by"):
        yield from (((key, n), name) for n, name in enumerate(says.get(key, ())))
    yield from ((("aged", "fields", n), name) for n, name in enumerate((says.get("aged") or {}).get("fields", ())))
    yield from (((key,), says[key]) for key in ("field", "size") if key in says)


def _numbers(rule: Rule, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """What is added or scored must be a number."""
    says = rule.meta
    for key in ("field", "size"):
        field = fields.get(says.get(key, ""))
        if field is not None and field.type not in _NUMERIC and says.get("metric") != "distinct":
            yield _problem(rule, "bad-value-type", f"`{field.name}` holds {field.type} values, and numbers are needed",
                           (key,), "name a numeric field" + ("" if key == "size" else ", or use the metric distinct"))


def _first_seen(rule: Rule) -> Iterator[Problem]:
    says, history = rule.meta, seconds(rule.meta["history"])
    for key in ("warm-up", "fresh"):
        if key in says and seconds(says[key]) > history:
            yield _spans(rule, f"`{key}` is longer than the history of {says['history']}", (key,),
                         f"write at most {says['history']}")
    if aged := says.get("aged"):
        if seconds(aged["for"]) >= history:
            yield _spans(rule, f"nothing is remembered for more than the history of {says['history']}",
                         ("aged", "for"), f"write less than {says['history']}")
        for n, name in enumerate(aged["fields"]):
            if name not in says["fields"]:
                yield _problem(rule, "aged-not-in-fields", f"`{name}` is not part of the combination",
                               ("aged", "fields", n), suggest(name, says["fields"]))


def _deviation(rule: Rule) -> Iterator[Problem]:
    says = rule.meta
    bucket, history = seconds(says["bucket"]), seconds(says["history"])
    season = seconds(says.get("season", says["bucket"]))
    if season % bucket:
        yield _spans(rule, f"a season of {says['season']} is no whole number of buckets of {says['bucket']}",
                     ("season",), "let the bucket divide the season")
    if history % season:
        of = f"seasons of {says['season']}" if "season" in says else f"buckets of {says['bucket']}"
        yield _spans(rule, f"a history of {says['history']} is no whole number of {of}", ("history",),
                     "let the season, or else the bucket, divide the history")
    elif says["minimum"] > history // season:
        yield _spans(rule, f"a history of {says['history']} has {history // season} buckets to compare with, fewer "
                     f"than the minimum of {says['minimum']}", ("minimum",), f"write at most {history // season}")


def _beacon(rule: Rule) -> Iterator[Problem]:
    says = rule.meta
    if seconds(says["lasting"]) >= seconds(says["timespan"]):
        yield _spans(rule, f"no two connections in a window of {says['timespan']} are {says['lasting']} apart",
                     ("lasting",), f"write less than {says['timespan']}")
    if says.get("maximum", says["minimum"]) < says["minimum"]:
        yield _spans(rule, f"the maximum is less than the minimum of {says['minimum']}", ("maximum",),
                     f"write at least {says['minimum']}")

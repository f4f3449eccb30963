"""One page for each detection: what it sees, its logic, what it needs, and how to work with its alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from ewdetect.attack import techniques
from ewdetect.coverage import lack
from ewdetect.docs.markdown import bullets, code, fenced, page, table
from ewdetect.docs.own import own_block, own_logic
from ewdetect.docs.queries import queries
from ewdetect.flows import Source
from ewdetect.load import Technique, load_attack, load_strategies, only_document, test_of
from ewdetect.model import OWN_KINDS, Field, Kind, Pack, Rule
from ewdetect.resolve import ResolvedRule, resolve_rule

_BOUNDS = {"gte": "at least", "gt": "more than", "lte": "at most", "lt": "fewer than", "eq": "exactly",
           "neq": "other than"}
_COUNTED = {"value_count": "different values of", "value_sum": "as the sum of", "value_avg": "as the mean of",
            "value_median": "as the median of", "value_percentile": "as a percentile of"}
Case = Mapping[str, Any]
_GAP = "known gap - "       # how the names of cases begin that show what a rule does not see


def rule_pages(pack: Pack, sources: Sequence[Source], fields: Mapping[str, Field], root: Path) -> Mapping[str, str]:
    """Name → page of every rule that alerts."""
    attack = load_attack()
    return {rule.name: page(*_sections(resolve_rule(rule, pack), sources, fields, attack, root))
            for rule in pack.alerting()}


def attack_link(technique: str) -> str:
    """A link to the technique's page."""
    return f"[{technique}](https://attack.mitre.org/techniques/{technique.replace('.', '/')}/)"


def strategy_link(strategy: str) -> str:
    """A link to the page of a detection strategy."""
    return f"[{strategy}](https://attack.mitre.org/detectionstrategies/{strategy}/)"


def _sections(resolved: ResolvedRule, sources: Sequence[Source], fields: Mapping[str, Field],
              attack: Mapping[str, Technique], root: Path) -> Iterator[str]:
    rule, cases = resolved.rule, _cases(resolved.rule)
    yield f"# {rule.title}"
    yield _facts(rule, attack, root)
    yield str(rule.body.get("description", ""))
    yield from (f"## Example\n\n{_example(case)}" for case in cases[:1])
    yield f"## Logic\n\n{_logic(rule)}"
    yield from (_part(part) for part in reversed(resolved.parts))
    yield f"## Needs\n\n{_needs(resolved, sources, fields)}"
    for title, text in (("Tuning", _tuning(rule)), ("Budget", _budget(rule)),
                        ("False positives", _list(rule, "falsepositives")),
                        ("Known gaps", _gaps(cases)), ("Triage", rule.meta.get("guide", "")),
                        ("Queries", queries(resolved, sources, root)), ("Proof", _proof(rule, cases, root)),
                        ("References", _list(rule, "references"))):
        yield f"## {title}\n\n{text}" if text else ""


def _facts(rule: Rule, attack: Mapping[str, Technique], root: Path) -> str:
    file = Path(rule.document.path).relative_to(root)
    known = load_strategies()
    named = [" ".join([f"{attack_link(t)} {attack[t].name}" if t in attack else t,
                       *([f"({strategy_link(known[t])})"] if t in known else [])]) for t in techniques(rule)]
    return table(("name", "level", "status", "ATT&CK", "file"),
                 [(f"`{rule.name}`", rule.level, rule.status, "<br>".join(named), f"[{file}](../../{file})")])


def _budget(rule: Rule) -> str:
    """What ordinary traffic makes of it, where that is more than one alert in 1,000 host-days."""
    stated = rule.meta.get("budget", "")
    return stated and f"Up to {stated['alerts']:g} alerts in 1,000 host-days of ordinary traffic. {stated['because']}"


def _logic(rule: Rule) -> str:
    """What makes an alert, in words."""
    if rule.kind is Kind.CORRELATION:
        return _correlation(rule.body["correlation"], rule.meta)
    if rule.kind in OWN_KINDS:
        return own_logic(rule)
    if suppress := rule.meta.get("suppress"):
        return (f"Alerts on a flow that matches. For one {code(suppress['by'], ' and ')} there is one alert, until no "
                f"flow has matched for more than {suppress['for']}.")
    return "Alerts on every flow that matches."


def _correlation(body: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    rules, span = body["rules"], body["timespan"]
    group = f" with the same {code(body['group-by'], ' and ')}" if body.get("group-by") else ""
    condition = body.get("condition") or {}
    amount = " and ".join(f"{words} {condition[op]:,}" for op, words in _BOUNDS.items() if op in condition)
    match body["type"]:
        case "event_count":
            what = f"{amount} flows of {code(rules, ' or ')}{group} start within {span}"
        case "temporal":
            what = f"{amount or 'all'} of {code(rules)} occur{group} within {span}"
        case "temporal_ordered":
            what = f"{code(rules, ', then ')} occur in this order{group} within {span}"
        case kind:
            named = condition["field"] if isinstance(condition["field"], list) else [condition["field"]]
            what = f"flows of {code(rules, ' or ')}{group} reach {amount} {_COUNTED[kind]} {code(named)} within {span}"
    differing = f" The two steps differ in {code(meta['distinct'])}." if meta.get("distinct") else ""
    return f"Alerts when {what}.{differing}"


def _part(part: Rule) -> str:
    """What one document says of flows, as its author wrote it, comments included."""
    if part.kind in OWN_KINDS:
        return f"`{part.name}`:\n\n" + fenced(own_block(part), "yaml")
    block = "detection" if part.kind is Kind.EVENT else "correlation"
    place = part.document.at(block)
    lines = Path(place.path).read_text(encoding="utf-8").splitlines()[place.line - 1:]
    return f"`{part.name}`:\n\n" + fenced("\n".join(_first_key(lines)), "yaml")


def _first_key(lines: Sequence[str]) -> Iterator[str]:
    """The lines of the first key alone."""
    yield lines[0]
    yield from takewhile(lambda line: line[:1] in ("", " "), lines[1:])


def _needs(resolved: ResolvedRule, sources: Sequence[Source], fields: Mapping[str, Field]) -> str:
    needs = resolved.rule.meta.get("needs") or {}
    lines = [f"{what}: {code(needs[key])}" for key, what in (("telemetry", "Telemetry"), ("context", "Network context"))
             if needs.get(key)]
    lacking = {source.name: lack(resolved, source, fields) for source in sources}
    able = [name for name, reason in lacking.items() if not reason]
    unable = [f"Does not run on `{name}`: {reason}" for name, reason in lacking.items() if reason]
    return bullets([*lines, f"Runs on: {code(able)}", *unable])


def _tuning(rule: Rule) -> str:
    text = str(rule.meta.get("tuning", "")).rstrip()
    return f"{text} [Tuning](../tuning.md) says where." if text else ""


def _list(rule: Rule, key: str) -> str:
    items: Iterable[str] = rule.body.get(key) or ()
    return bullets(f"<{item}>" if item.startswith("http") else item for item in items)


def _example(case: Mapping[str, Any]) -> str:
    """The first case: the flows as its author wrote them, and what comes of them."""
    name = str(case["name"])
    alerts = bullets(", ".join(f"`{key}` {value}" for key, value in alert.items() if key != "rule")
                     for alert in case["alerts"])
    return (f"{name[0].upper()}{name[1:]} ([how to read this](../tests.md)):\n\n{fenced(case['flows'], 'text')}\n"
            f"{'One alert' if len(case['alerts']) == 1 else 'Alerts'}:\n\n{alerts}")


def _gaps(cases: Sequence[Case]) -> str:
    """What the rule is known not to see, as its cases show it."""
    gaps = [case["name"].removeprefix(_GAP) for case in cases if case["name"].startswith(_GAP)]
    return "The rule does not see this; a case shows it each time:\n\n" + bullets(gaps) if gaps else ""


def _proof(rule: Rule, cases: Sequence[Case], root: Path) -> str:
    file = test_of(Path(rule.document.path)).relative_to(root)
    proved = [case["name"] for case in cases if not case["name"].startswith(_GAP)]
    return f"[{file}](../../{file}) holds it to this:\n\n" + bullets(proved) if proved else ""


def _cases(rule: Rule) -> list[Case]:
    """Its cases as they stand in the file."""
    path = test_of(Path(rule.document.path))
    return list(only_document(path, "test").data["cases"]) if path.is_file() else []

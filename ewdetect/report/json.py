"""Results as JSON: one versioned envelope for every verb, and alerts as JSON lines.

The envelope is `{"ewdetect": {"version": "…", "format": "<name>/<number>"}, …}`. The number grows when a key changes
its meaning or goes; new keys may come without it. Times are ISO 8601 in UTC with six decimals, or null.

- `problems/1`: `problems`: [{code, severity, message, path, line, column, fix}]; line and column 0: the whole file
- `test/1`: `files`: [{path, rule, passed, cases: [{name, line, passed, seconds,
  missing: [{rule, group, flows, line, reasons}], unexpected: [alert]}]}]
- `mutation/1`: `files`: [{path, rule, passed, failing: [case],
  mutants: [{rule, path, line, what, killed_by, refused, survived}]}]
- `backtest/1`: `read`: {files, records, kept, joined, passed, dropped, repaired, places: [{file, line, damage}], first,
  last}; `rules`: [name]; `skipped` and `degraded`: [{rule, reason}]; `alerts`: [alert]; with --truth also
  `truth`: {passed, false: [index into `alerts`], steps: [{id, attack, start, end, technique, tool, note, verdict,
  caught: {rule: number of alerts}, missed: [rule]}]}
- `convert/1`: `queries`: [{rule, target, dialect, source, context, text, caveats, schedule: {period, window, delay} in
  seconds, or null}]; `problems` as above
- `list/1`: the key is what was asked for (`rules`, `sources`, `fields`, `networks`,
  `coverage`), its value a list of flat objects

An alert: `rule`: {name, id, title, level, tags, attack: [technique]}; `group`; `start`, `crossing`, `end`; `value`;
`evidence`: {count, ids}; `samples`: [canonical flow]; `context`: {address: attributes}, for both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ewdetect.attack import techniques
from ewdetect.backends.base import Query
from ewdetect.backtest import Backtest
from ewdetect.model import Alert, Rule
from ewdetect.mutate import MutationResults
from ewdetect.mutate import Verdict as Mutated
from ewdetect.problems import Problem
from ewdetect.report.envelope import envelope, problem_record
from ewdetect.report.words import iso
from ewdetect.test import CaseResult, Missing, Results, Unexpected
from ewdetect.truth import Judgement, Verdict


def alert_record(alert: Alert) -> dict[str, Any]:
    """One alert as plain data."""
    return {
        "rule": rule_record(alert.rule), "group": dict(alert.group), "start": iso(alert.start),
        "crossing": iso(alert.crossing), "end": iso(alert.end), "value": alert.value,
        "evidence": {"count": len(alert.evidence), "ids": list(alert.evidence)},
        "samples": [{**flow, "event.start": iso(flow["event.start"])} for flow in alert.samples],
        "context": {address: dict(attributes) for address, attributes in alert.context.items()}}


def alert_lines(alerts: Iterable[Alert]) -> Iterable[str]:
    """One line of JSON for each alert."""
    return (json.dumps(alert_record(alert), ensure_ascii=False, default=str) + "\n" for alert in alerts)


def rule_record(rule: Rule) -> dict[str, Any]:
    """What an alert says of its rule."""
    tags = [str(tag) for tag in rule.body.get("tags", ())]
    return {"name": rule.name, "id": rule.id, "title": rule.title, "level": rule.level, "tags": tags,
            "attack": techniques(rule)}


def backtest_json(result: Backtest, judgement: Judgement | None = None) -> str:
    """`backtest/1`, with `truth` where there is a judgement."""
    report = result.report
    content: dict[str, Any] = {
        "read": {"files": list(report.files), "records": report.read, "kept": report.kept, "joined": report.joined,
                 "passed": report.passed,
                 "dropped": dict(report.dropped), "repaired": dict(report.repaired),
                 "places": [{"file": p.file, "line": p.line, "damage": p.damage} for p in report.places],
                 "first": _time(report.first), "last": _time(report.last)},
        "rules": list(result.rules),
        "skipped": [{"rule": skipped.rule, "reason": skipped.reason} for skipped in result.skipped],
        "degraded": [{"rule": degraded.rule, "reason": degraded.reason} for degraded in result.degraded],
        "alerts": [alert_record(alert) for alert in result.alerts]}
    if judgement is not None:
        false = {id(alert) for alert in judgement.false}
        content["truth"] = {"passed": judgement.passed, "steps": [_verdict(v) for v in judgement.verdicts],
                            "false": [n for n, alert in enumerate(result.alerts) if id(alert) in false]}
    return envelope("backtest/1", content)


def _time(time: int | None) -> str | None:
    return None if time is None else iso(time)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    step = verdict.step
    return {"id": step.id, "attack": step.attack, "start": iso(step.start), "end": iso(step.end),
            "technique": step.technique, "tool": step.tool, "note": step.note, "verdict": verdict.word,
            "caught": {rule: len(alerts) for rule, alerts in verdict.alerts.items()}, "missed": list(verdict.missed)}


def results_json(results: Results) -> str:
    """`test/1`."""
    files = [{"path": file.case_file.path, "rule": file.case_file.rule, "passed": file.passed,
              "cases": [_case(result) for result in file.results]} for file in results.files]
    return envelope("test/1", {"files": files})


def _case(result: CaseResult) -> dict[str, Any]:
    missing = [_missing(d) for d in result.differences if isinstance(d, Missing)]
    unexpected = [alert_record(d.alert) for d in result.differences if isinstance(d, Unexpected)]
    return {"name": result.case.name, "line": result.case.location.line, "passed": result.passed,
            "seconds": round(result.seconds, 4), "missing": missing, "unexpected": unexpected}


def _missing(difference: Missing) -> dict[str, Any]:
    expected = difference.expected
    return {"rule": expected.rule, "group": dict(expected.group), "flows": list(expected.flows),
            "line": expected.location.line, "reasons": list(difference.reasons)}


def mutation_json(results: Sequence[MutationResults]) -> str:
    """`mutation/1`."""
    files = [{"path": file.case_file.path, "rule": file.case_file.rule, "passed": file.passed,
              "failing": list(file.failing),
              "mutants": [_mutant(verdict) for verdict in file.verdicts]} for file in results]
    return envelope("mutation/1", {"files": files})


def _mutant(verdict: Mutated) -> dict[str, Any]:
    mutant = verdict.mutant
    return {"rule": mutant.rule, "path": mutant.location.path, "line": mutant.location.line, "what": mutant.what,
            "killed_by": verdict.killed_by, "refused": verdict.refused, "survived": verdict.survived}


def queries_json(queries: Sequence[Query], problems: Sequence[Problem]) -> str:
    """`convert/1`: the queries, and why the others are missing."""
    shown = [{"rule": q.rule, "target": q.target, "dialect": q.dialect, "source": q.source, "context": q.context,
              "text": q.text, "caveats": list(q.caveats), "schedule": asdict(q.schedule) if q.schedule else None}
             for q in queries]
    return envelope("convert/1", {"queries": shown, "problems": [problem_record(problem) for problem in problems]})

"""Rules as one ES|QL query that Kibana can run again and again: single flows, windows and ordered steps.

The rows of all event rules are read once and go through the stages in order. A stage turns its own rows into its
crossings and leaves the rest alone; the crossings of an inner correlation are rows of the stage that reads it.

How Kibana runs it decides the end (elastic/kibana, detection_engine/rule_types/esql). A query without STATS is not
aggregating, so its alerts are told apart by `_id`, and overlapping runs alert once. But Kibana also takes documents
that have alerted out of what later runs see, and a window must not lose a flow. So `_id` is a name of the crossing that
no document has: group and time, the same in every run. Columns that MV_EXPAND made stay, for Kibana hashes them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ewdetect.backends import predicate
from ewdetect.backends.base import Query, refuse_base, unsupported
from ewdetect.backends.elastic.columns import Reader
from ewdetect.backends.elastic.rows import SECOND, Commands, Rows, inline, quoted
from ewdetect.backends.elastic.stages import LARGEST, at_least, steps, window
from ewdetect.backends.events import any_of, conditions_of, sums_of, with_sums
from ewdetect.backends.predicate import Condition, Setting, Target
from ewdetect.backends.tree import without
from ewdetect.plan import Selection, Stage, Steps, Window, plan
from ewdetect.problems import Rejected
from ewdetect.resolve import ResolvedRule
from ewdetect.schedule import Schedule, schedule

CANNOT: Mapping[str, str] = {
    "avg": "an average falls as well as rises, and only crossings of a growing measure are found",
    "median": "a median falls as well as rises, and only crossings of a growing measure are found",
    "percentile": "a percentile falls as well as rises, and only crossings of a growing measure are found",
    "less than a threshold": "what does not happen has no flow that could alert; ask for `gte` or `gt`",
    "no threshold above zero": "it holds always",
    "a threshold over 10000": "COUNT_DISTINCT is exact up to 40000 values only",
    "sum of fractions": "a sum of fractions depends on their order",
    "several distinct aliases": "two steps are compared by one value",
    "distinct over more than two steps": "only two steps can be compared",
}
_WINDOWED = ("count", "distinct", "sum", "temporal")
_LATE = ("A run reports the crossings up to {delay} s ago, when every flow of them has arrived, and looks back far "
         "enough to make up for one run that was late or left out. After a longer outage run the rule by hand for it.")
_LONG = ("A flow is written when it ends. One that lasted longer than {lasting} s comes too late to be counted, and "
         "one that comes late may bring a second alert of its episode, at an earlier time.")
_PRECISION = "Elasticsearch keeps times in milliseconds; flows of one millisecond have no order."
_SINGLE = "Documents that hold several values in a field that groups or counts are passed over."
_ROWS = ("Flows of a group that reaches the sum are compared pair by pair within two timespans; groups of many "
         "thousand flows make the query slow, and past the memory limit Elasticsearch ends it with an error.")


@dataclass(frozen=True, slots=True)
class _Event:
    """An event rule: its name, its condition, and what of it can be asked before sums are made."""

    name: str
    text: str
    early: str
    found: Condition


@dataclass(frozen=True, slots=True)
class _Use:
    """One input of a stage: its word in `ew_in`, and what fills the columns; keys by position."""

    stage: str
    tag: str
    source: str                         # the stage that it reads
    keys: tuple[str, ...]               # fields of events, or names of the inner stage's keys
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Query:
    """What the parts of one query share."""

    resolved: ResolvedRule
    stages: tuple[Stage, ...]
    setting: Setting
    reader: Reader
    uses: tuple[_Use, ...]

    @property
    def upper(self) -> list[Window | Steps]:
        return [stage for stage in self.stages if isinstance(stage, Window | Steps)]

    @property
    def tagged(self) -> bool:
        return len(self.uses) > 1

    @property
    def apart(self) -> bool:
        return len(self.upper) > 1

    def below(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def event_uses(self) -> list[_Use]:
        return [use for use in self.uses if isinstance(self.below(use.source), Selection)]


def render(resolved: ResolvedRule, context: str, target: Target) -> Query:
    """The query of a rule. Raises Rejected with every reason at once."""
    rule = resolved.rule
    refuse_base(rule, target.name)
    stages = plan(resolved)
    _check(resolved, stages, target)
    setting = with_sums(predicate.setting_of(resolved, context, target))
    asked = _Query(resolved, stages, setting, Reader(resolved, setting), _uses(stages))
    events = _events(resolved, setting)
    when = schedule(rule, stages, setting.source)
    if not asked.upper:
        return _single(asked, events[0], when)
    text = " | ".join([*_flows(events, asked), *_stages(asked), *_alerts(asked, when)])
    clauses = sum(event.found.clauses for event in events)
    caveats = dict.fromkeys([
        *(caveat for event in events for caveat in event.found.caveats), *setting.vocabulary.caveats,
        *_caveats(stages, when), *predicate.size_caveats(setting, clauses, len(text))])
    return Query(rule.name, target.name, target.dialect, setting.source.name, context, text, tuple(caveats), when)


def _single(asked: _Query, event: _Event, when: Schedule) -> Query:
    """The query of single flows. Each alert is the flow's document, by which Kibana tells alerts apart."""
    setting, keep = asked.setting, asked.setting.vocabulary.keep
    commands = [*_found([event], asked, "_id, _index, _version"), *([f"KEEP {', '.join(keep)}"] if keep else [])]
    text = " | ".join(commands)
    caveats = (*event.found.caveats, *setting.vocabulary.caveats,
               *predicate.size_caveats(setting, event.found.clauses, len(text)))
    return Query(asked.resolved.rule.name, setting.target.name, setting.target.dialect, setting.source.name,
                 setting.context, text, caveats, when)


def _check(resolved: ResolvedRule, stages: Sequence[Stage], target: Target) -> None:
    """Raises Rejected for every construct that has no exact form."""
    documents = {part.name: part for part in resolved.parts}
    found = [(documents.get(stage.name, resolved.rule), construct) for stage in stages
             for construct in _constructs(stage, resolved)]
    if found:
        raise Rejected([unsupported(rule, target.name, construct, CANNOT[construct], rule.document.at("correlation"))
                        for rule, construct in found])


def _constructs(stage: Stage, resolved: ResolvedRule) -> Iterator[str]:
    if isinstance(stage, Steps):
        if len(stage.distinct) > 1:
            yield "several distinct aliases"
        if stage.distinct and len(stage.inputs) != 2:
            yield "distinct over more than two steps"
    if not isinstance(stage, Window):
        return
    if stage.measure.function not in _WINDOWED:
        yield stage.measure.function
    elif [t.operator for t in stage.thresholds] not in (["gt"], ["gte"]):
        yield "less than a threshold"
    elif at_least(stage.thresholds) <= 0:
        yield "no threshold above zero"
    elif stage.measure.function == "distinct" and at_least(stage.thresholds) > LARGEST:
        yield "a threshold over 10000"


# ---------------------------------------------------------------- flows

def _uses(stages: Sequence[Stage]) -> tuple[_Use, ...]:
    """Every input of every stage."""
    uses = []
    for place, stage in enumerate(stages):
        if not isinstance(stage, Window | Steps):
            continue
        for number, source in enumerate(stage.inputs):
            values = (tuple(key.fields[source] for key in stage.distinct) if isinstance(stage, Steps)
                      else stage.measure.fields[source])
            uses.append(_Use(f"s{place}", f"s{place}.{number}", source, tuple(k.fields[source] for k in stage.keys),
                             values))
    return tuple(uses)


def _events(resolved: ResolvedRule, setting: Setting) -> list[_Event]:
    sums = sums_of(setting)
    return [_Event(rule.name, predicate.spelt(found.tree, found.state, rule, setting),
                   predicate.spelt(without(found.tree, sums), found.state, rule, setting), found)
            for rule, found in conditions_of(resolved, setting)]


def _flows(events: Sequence[_Event], asked: _Query) -> Commands:
    """The flows that match any of the rules, once for each use, with all columns of ours."""
    return [*_found(events, asked, "_id, _index"), *(_tagged(events, asked) if asked.tagged else []), *_columns(asked)]


def _found(events: Sequence[_Event], asked: _Query, metadata: str) -> Commands:
    """The flows that match any of the rules; where rules are told apart, perhaps more, but for sums."""
    sums = {name: parts for name, parts in sums_of(asked.setting).items() if any(name in e.text for e in events)}
    state = events[0].found.state
    commands = [f"FROM {state['index']} METADATA {metadata}", f"WHERE {any_of(event.early for event in events)}"]
    if sums:
        commands.append("EVAL " + ", ".join(f"{name} = {' + '.join(parts)}" for name, parts in sums.items()))
        commands += [] if asked.tagged else [f"WHERE {any_of(event.text for event in events)}"]
    return commands


def _tagged(events: Sequence[_Event], asked: _Query) -> Commands:
    """A row for each use of each rule that the flow matches."""
    texts = {event.name: event.text for event in events}
    tags: dict[str, list[str]] = {}
    for use in asked.event_uses():
        tags.setdefault(use.source, []).append(use.tag)
    found = ", ".join(f'CASE({texts[name]}, {quoted("".join(f"{tag}," for tag in own))}, "")'
                      for name, own in tags.items())
    joined = f"CONCAT({found})" if len(tags) > 1 else found
    return [f'EVAL ew_in = SPLIT({joined}, ",")', "MV_EXPAND ew_in", 'WHERE ew_in != ""']


def _columns(asked: _Query) -> Commands:
    """Time, name, keys and values of each row. A row without one of its keys or values is in no group."""
    uses, reader = asked.event_uses(), asked.reader
    tag = ['"|", ew_in, '] if asked.tagged else []
    row = f'CONCAT(TO_STRING(ew_t), {"".join(tag)}"|", _index, "|", _id)'
    columns: dict[str, Mapping[str, str]] = {
        f"ew_k{n}": {use.tag: reader.text(use.keys[n]) if n < len(use.keys) else quoted("") for use in uses}
        for n in range(max(len(use.keys) for use in asked.uses))}
    columns |= _values(uses, asked)
    made = [f"{name} = {_by_tag(values)}" for name, values in columns.items()]
    stage = [f"ew_stage = {_by_tag({use.tag: quoted(use.stage) for use in uses})}"] if asked.apart else []
    present = [f"MV_COUNT({name}) == 1" for name in columns]
    return [f"EVAL ew_t = {reader.time()}", f"EVAL {', '.join([f'ew_row = {row}', *stage, *made])}",
            f"WHERE {' AND '.join(['ew_t IS NOT NULL', *present])}", *_once(asked)]


def _values(uses: Sequence[_Use], asked: _Query) -> Mapping[str, Mapping[str, str]]:
    """`ew_v` for what is told apart and `ew_n` for what adds up, where any stage measures such a thing."""
    texts = {use.tag: _told_apart(use, asked) for use in uses}
    numbers = {use.tag: _added_up(use, asked) for use in uses}
    needed = {_measure(use, asked) for use in asked.uses}
    return {**({"ew_v": texts} if "text" in needed else {}), **({"ew_n": numbers} if "number" in needed else {})}


def _measure(use: _Use, asked: _Query) -> str:
    """What a stage measures of an input: a text, a number or nothing but its rows."""
    stage = asked.stages[int(use.stage.removeprefix("s"))]
    if not isinstance(stage, Window):
        return "text" if isinstance(stage, Steps) and stage.distinct else ""
    return {"count": "", "sum": "number"}.get(stage.measure.function, "text")


def _told_apart(use: _Use, asked: _Query) -> str:
    if _measure(use, asked) != "text":
        return quoted("")
    return _joined([asked.reader.text(value) for value in use.values] or [quoted(use.tag)])


def _joined(parts: Sequence[str]) -> str:
    """One text of several; null where one of them is."""
    return parts[0] if len(parts) == 1 else "CONCAT(" + ', "|", '.join(parts) + ")"


def _added_up(use: _Use, asked: _Query) -> str:
    if _measure(use, asked) != "number":
        return "TO_LONG(0)"
    field = asked.setting.fields.get(use.values[0])
    if field is not None and field.type != "integer":
        rule = asked.resolved.rule
        raise Rejected([unsupported(rule, asked.setting.target.name, "sum of fractions", CANNOT["sum of fractions"],
                                    rule.document.at("correlation", "condition"))])
    return asked.reader.number(use.values[0])


def _by_tag(values: Mapping[str, str]) -> str:
    """One expression where all inputs agree, else one for each."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return f"CASE({', '.join(f'ew_in == {quoted(tag)}, {value}' for tag, value in values.items())})"


def _once(asked: _Query) -> Commands:
    """A flow that matches several rules of a count is one event of each group that it is in."""
    commands = []
    for place, stage in enumerate(asked.stages):
        flows = [use for use in asked.event_uses() if use.stage == f"s{place}"]
        if isinstance(stage, Window) and stage.measure.function == "count" and len(flows) > 1:
            rows = _rows(stage, asked)
            commands += [inline(rows, "ew_one = MIN(ew_in)", by=("_index", "_id")), rows.where("ew_in == ew_one")]
    return commands


# ---------------------------------------------------------------- stages

def _rows(stage: Window | Steps, asked: _Query) -> Rows:
    word = f"s{asked.stages.index(stage)}"
    tags = tuple(use.tag for use in asked.uses if use.stage == word)
    return Rows(word, tags, tuple(f"ew_k{n}" for n in range(len(stage.keys))), asked.apart)


def _stages(asked: _Query) -> Commands:
    commands: Commands = []
    for stage in asked.upper:
        rows = _rows(stage, asked)
        commands += window(stage, rows) if isinstance(stage, Window) else steps(stage, rows)
        readers = [use for use in asked.uses if use.source == stage.name]
        commands += _handed(stage, rows, readers, asked) if readers else []
    return commands


def _handed(stage: Window | Steps, rows: Rows, readers: Sequence[_Use], asked: _Query) -> Commands:
    """The crossings of an inner correlation as rows of the stages that read it."""
    held = [f"ew_h{n} = {key}" for n, key in enumerate(rows.keys)]
    tags = quoted("".join(f"{use.tag}," for use in readers))
    parts = ["TO_STRING(ew_t)", quoted(f"|{rows.stage}"), *(part for key in rows.keys for part in (quoted("|"), key))]
    name = f"CONCAT({', '.join(parts)})"
    commands = [f"EVAL {', '.join([*held, f'ew_row = CASE({rows.others()}, ew_row, {name})'])}",
                f'EVAL ew_in = SPLIT(CASE({rows.others()}, ew_in, {tags}), ",")', "MV_EXPAND ew_in",
                'WHERE ew_in != ""']
    names = [key.name for key in stage.keys]
    assigned = [f"ew_stage = {_for(readers, [quoted(use.stage) for use in readers], 'ew_stage')}"]
    for n in range(max(len(use.keys) for use in asked.uses)):
        values = [f"ew_h{names.index(use.keys[n])}" if n < len(use.keys) else quoted("") for use in readers]
        assigned.append(f"ew_k{n} = {_for(readers, values, f'ew_k{n}')}")
    if any(_measure(use, asked) == "text" for use in asked.uses):
        values = [_joined([f"ew_h{names.index(value)}" for value in use.values] or [quoted(use.tag)])
                  for use in readers]
        assigned.append(f"ew_v = {_for(readers, values, 'ew_v')}")
    return [*commands, f"EVAL {', '.join(assigned)}"]


def _for(readers: Sequence[_Use], values: Sequence[str], otherwise: str) -> str:
    cases = ", ".join(f"ew_in == {quoted(use.tag)}, {value}" for use, value in zip(readers, values, strict=True))
    return f"CASE({cases}, {otherwise})"


# ---------------------------------------------------------------- alerts

def _alerts(asked: _Query, when: Schedule) -> Commands:
    """The crossings of this run's period, as rows of an alert."""
    keys = asked.upper[-1].keys
    span = asked.upper[-1].timespan // 1000
    name = ", ".join(['"ew"', *(f'"|", ew_k{n}' for n in range(len(keys))), '"|", TO_STRING(ew_at)'])
    named = {key.name: f"ew_k{n}" for n, key in enumerate(keys)}
    columns = {_column(key, asked): _typed(key, column, asked) for key, column in named.items()}
    kept = [column for column in asked.setting.vocabulary.keep if column != "_version"]
    extra = ["Esql.value", "Esql.window_start", *(c for c in columns if c not in kept), "ew_target", "ew_at"]
    expanded = ["ew_in"] if asked.tagged else []
    made = ", ".join([f"_id = CONCAT({name})", "@timestamp = TO_DATETIME(ew_at)", "Esql.value = ew_value",
                      f"Esql.window_start = TO_DATETIME(ew_at - {span})",
                      *(f"{column} = {value}" for column, value in columns.items())])
    return [f"WHERE {_guard(when)}", f"EVAL {made}", "SORT @timestamp", f"KEEP {', '.join([*kept, *extra, *expanded])}"]


def _guard(when: Schedule) -> str:
    """The crossings that a run may report: of its period and the one before, complete in what the run can see.

    Rows from before the usual look-back are only seen by a run for a time in the past, by hand or in a preview; such a
    run reports everything.
    """
    now, late = "TO_LONG(NOW())", when.delay * SECOND
    twice = (2 * when.period + when.delay + when.lasting) * SECOND
    past = (when.window + 3 * when.period + when.delay + when.lasting) * SECOND
    until = f"{now} - {late}" if late else now
    return f"(ew_at > {now} - {twice} AND ew_at <= {until}) OR ew_at < {now} - {past}"


def _column(key: str, asked: _Query) -> str:
    """The alert's column of a key: the SIEM's field where the key is one."""
    return asked.setting.names.get(key, f"Esql.{key}")


def _typed(key: str, column: str, asked: _Query) -> str:
    field = asked.setting.fields.get(key)
    if field is None or key not in asked.setting.names:
        return column
    return {"ip": f"TO_IP({column})", "port": f"TO_LONG({column})", "integer": f"TO_LONG({column})"}.get(
        field.type, column)


def _caveats(stages: Sequence[Stage], when: Schedule) -> Iterator[str]:
    windows = [stage for stage in stages if isinstance(stage, Window)]
    yield _LATE.format(delay=when.delay)
    yield _PRECISION
    if when.lasting:
        yield _LONG.format(lasting=when.lasting)
    if any(not isinstance(stage, Selection) and stage.keys for stage in stages):
        yield _SINGLE
    if any(stage.measure.function == "sum" for stage in windows):
        yield _ROWS

"""The two texts of a rule that people read: the investigation guide (`note`) and what must be set up (`setup`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ewdetect.backends.base import Query
from ewdetect.backends.elastic.content.fields import Reading, grouped
from ewdetect.backends.elastic.content.forms import Form
from ewdetect.load import only_document, test_of
from ewdetect.model import Kind, Rule
from ewdetect.plan import Steps, fields_used, plan

# A brace after `!` or beside another one begins a button or a placeholder in Kibana's Markdown.
_BRACES = re.compile(r"(?<=!)\{|\{(?=\{)|(?<=\{)\{")
_GAP = re.compile(r"known gap\W+(.+)", re.IGNORECASE)
# Buttons look back an hour at least: what the host did before is the first question of most guides.
_HOUR = 3600
_BY_START = "It reads by `@timestamp` and not by arrival: a window by arrival would hold other flows."


def note(read: Reading, form: Form) -> str:
    """The investigation guide in Markdown: what it saw, steps, buttons, tuning, known gaps."""
    rule = read.resolved.rule
    sections = (
        ("What it saw", f"{rule.body.get('description', '')}\n\n{_an_alert(read, form)}"),
        ("Triage", str(rule.meta.get("guide", ""))),
        ("Tuning", str(rule.meta.get("tuning", ""))),
        ("Known gaps", _bullets(known_gaps(rule))))
    texts = {title: escaped(text.strip()) for title, text in sections}
    texts["Triage"] = "\n\n".join(filter(None, [texts["Triage"], *buttons(read, form)]))
    return _sections(texts)


def setup(read: Reading, form: Form, query: Query, caveats: Iterable[str]) -> str:
    """What the rule takes for granted, in Markdown."""
    return _sections({
        "Telemetry": escaped(_bullets(_telemetry(read))),
        "Network context": escaped(_bullets(_context(read))),
        "Schedule": escaped(_bullets(_schedule(form))),
        "Licence": escaped(_bullets(_licence(read.resolved.rule, form))),
        "Limits of the query": escaped(_bullets(caveats)),
    })


def escaped(text: str) -> str:
    """Markdown in which no brace begins a button or a placeholder of Kibana."""
    return _BRACES.sub(r"\\{", text)


def _sections(texts: Mapping[str, str]) -> str:
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in texts.items() if text) + "\n"


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _an_alert(read: Reading, form: Form) -> str:
    keys = ", ".join(f"`{name}`" for name in grouped(read))
    if form.type == "threshold":
        return f"An alert is one group of {keys}, with the counts and without a flow."
    if form.type == "new_terms":
        combination = ", ".join(f"`{name}`" for name in form.parts["new_terms_fields"])
        return f"An alert is the first flow of a combination of {combination} that the history did not hold."
    if "alert_suppression" in form.parts:
        return f"An alert is the first flow of one group of {keys}; later flows of the group are counted in it."
    if not form.windowed:
        return "An alert is one flow."
    flow = "the flow at which it reached the threshold"
    if read.resolved.rule.kind is Kind.EVENT:
        flow = "its first flow"
    elif isinstance(plan(read.resolved)[-1], Steps):
        flow = "the flow that completed the chain"
    return f"An alert is one group{f' of {keys}' if keys else ''}, shown by {flow}."


def known_gaps(rule: Rule) -> list[str]:
    """What the rule is known not to see, from the cases of its test file that say so."""
    path = test_of(Path(rule.document.path))
    if not path.is_file():
        return []
    names = (str(case["name"]) for case in only_document(path, "test").data["cases"])
    return [match[1] for match in map(_GAP.fullmatch, names) if match]


# ---------------------------------------------------------------- buttons

def buttons(read: Reading, form: Form) -> list[str]:
    """Queries for Timeline about the addresses of an alert.

    Each is a paragraph of its own, since Kibana's parser takes the rest of a paragraph for the button.
    https://www.elastic.co/docs/solutions/security/detect-and-alert/write-investigation-guides
    """
    source, destination = read.names["source.ip"], read.names["destination.ip"]
    community = read.names.get("network.community_id", "")
    asked = [
        ("Flows from the source", [[(source, source)]]),
        ("Flows to the source", [[(destination, source)]]),
        ("Flows to the destination", [[(destination, destination)]]),
        ("Flows between the two", [[(source, source), (destination, destination)],
                                   [(source, destination), (destination, source)]]),
    ]
    if community and not form.windowed:
        asked.append(("This connection in every sensor", [[(community, community)]]))
    return [_button(label, alternatives, max(form.since, _HOUR)) for label, alternatives in asked
            if form.carried is None or {value for all_of in alternatives for _, value in all_of} <= set(form.carried)]


def _button(label: str, alternatives: Sequence[Sequence[tuple[str, str]]], look_back: int) -> str:
    """`alternatives` are joined by OR, the pairs of field and alert field in each by AND."""
    providers = [[_provider(field, value) for field, value in all_of] for all_of in alternatives]
    settings = {"label": label, "providers": providers, "relativeFrom": f"now-{look_back}s", "relativeTo": "now"}
    return f"!{{investigate{json.dumps(settings)}}}"


def _provider(field: str, value: str) -> Mapping[str, Any]:
    return {"field": field, "excluded": False, "queryType": "phrase", "value": f"{{{{{value}}}}}",
            "valueType": "string"}


# ---------------------------------------------------------------- setup

def _telemetry(read: Reading) -> Iterator[str]:
    named = ", ".join(f"`{part['package']}`" for part in read.vocabulary.content.get("integrations") or ())
    yield f"{read.source.title}" + (f", collected by the Elastic integration {named}." if named else ".")
    telemetry = (read.resolved.rule.meta.get("needs") or {}).get("telemetry")
    if telemetry:
        yield f"The rule needs of a flow: {_code(telemetry)}. `required_fields` names the fields that hold it."


def _context(read: Reading) -> Iterator[str]:
    needs = (read.resolved.rule.meta.get("needs") or {}).get("context")
    if needs:
        yield f"The rule needs of the network file: {_code(needs)}."
    network = read.resolved.network
    used = fields_used(read.resolved)
    filled = [read.names[f.name] for f in read.fields.values() if f.name in used and f.name in read.names
              and (f.origin == "context" or f.name in read.vocabulary.enriched)]
    if filled:
        yield (f"An ingest pipeline must fill {_code(filled)} from the network file. Where they are not mapped, the "
               "rule stays silent or fails.")
    elif needs and network is not None:
        yield (f"The addresses of the network `{network.name}` are written into the query. Convert and import the rule "
               "again when the network file changes.")


def _schedule(form: Form) -> Iterator[str]:
    when = form.schedule
    if form.type == "threshold":
        yield (f"It runs every {when.period} s and counts one window of {when.window} s, which ends {when.delay} s "
               "ago: by then every flow of it has arrived.")
        yield _BY_START
        return
    lasting = when.lasting if form.windowed else 0
    window = form.since - 2 * when.period - when.delay - lasting
    reasons = [*([f"a window of {window} s"] if window else []), f"two periods of {when.period} s, so that one missed "
               "or late run loses nothing", *([f"{when.delay} s that a flow may arrive late"] if when.delay else []),
               *([f"{lasting} s that a flow may last before it is written"] if lasting else [])]
    yield f"It runs every {when.period} s and reads the last {form.since} s: {', and '.join(reasons)}."
    if form.windowed:
        yield _BY_START
    elif when.delay:
        yield ("It reads by the time of arrival. A flow is written when it ends, and a long one may be older than any "
               "look-back by then.")
    yield "Kibana raises no second alert for a flow that two runs have read."


def _licence(rule: Rule, form: Form) -> Iterator[str]:
    yield "The buttons of the investigation guide need a Platinum licence."
    if "alert_suppression" in form.parts:
        span = rule.meta["suppress"]["for"]
        yield ("Alert suppression needs a Platinum licence. Without it every flow that matches alerts by itself.")
        yield (f"Kibana ends a suppression {span} after its alert and then alerts again. The rule stays quiet until no "
               f"flow has matched for {span}.")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)

"""Rules of the types that Sigma does not have, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ewdetect.docs.markdown import code
from ewdetect.model import Kind, Rule
from ewdetect.yamlfile import dump

_PROSE = ("guide", "tuning", "needs", "budget")       # these have sections of their own


def own_logic(rule: Rule) -> str:
    """What makes an alert of a first_seen, deviation or beacon."""
    says = rule.meta
    match rule.kind:
        case Kind.FIRST_SEEN:
            return _first_seen(says)
        case Kind.BEACON:
            most = f" and at most {says['maximum']:,}" if "maximum" in says else ""
            return (f"Alerts when at least {says['minimum']:,}{most} flows of {code([says['rule']])} with the same "
                    f"{code(says['group-by'], ' and ')} start within {says['timespan']}, the last {says['lasting']} or "
                    f"more after the first, and the regularity of their intervals and of {code([says['size']])} scores "
                    f"at least {says['score']}.")
    return _deviation(says)


def own_block(rule: Rule) -> str:
    """The part of the document that decides, as YAML."""
    return dump({"ewdetect": {key: value for key, value in rule.meta.items() if key not in _PROSE}}).rstrip()


def _first_seen(says: Mapping[str, Any]) -> str:
    text = (f"Alerts on a flow of {code([says['rule']])} whose {code(says['fields'], ' and ')} did not occur together "
            f"for {says['history']}. Silent until the data covers {says.get('warm-up', says['history'])}.")
    if aged := says.get("aged"):
        text += f" {code(aged['fields'], ' and ')} must have been seen {aged['for']} before or earlier."
    if "fresh" in says:
        text += f" Correlations see the flows of a new combination for {says['fresh']}."
    return text


def _deviation(says: Mapping[str, Any]) -> str:
    metric = f"{says['metric']} of {code([says['field']])}" if "field" in says else "number of flows"
    season = f" of the same time in a season of {says['season']}" if "season" in says else ""
    past = (f"the median of the buckets of {says['bucket']}{season} in the {says['history']} before, of which there "
            f"must be {says['minimum']}")
    group = f"of {code([says['rule']])} for one {code(says['group-by'], ' and ')}"
    if above := says.get("above"):
        return (f"Alerts when the {metric} {group} is at least {above['floor']:,} and more than {above['factor']} "
                f"median absolute deviations above {past}.")
    below = says["below"]
    others = (f" and the other groups together reach {below['others']} of their medians" if "others" in below else "")
    return (f"Alerts when the {metric} {group} is at most {below['factor']} of {past}; the median is at least "
            f"{below['floor']:,}{others}.")

"""The network context from a lookup: which attributes a search needs, and the commands that fetch and compare them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ewdetect.backends.context import SIDES
from ewdetect.backends.predicate import Setting
from ewdetect.backends.splunk.rows import Commands

_DERIVED = {"network.scope": (), "network.cross_zone": ("zone",), "network.cross_env": ("env",)}


def late(setting: Setting) -> frozenset[str]:
    """The fields that events have only after the lookup, by Splunk's names."""
    if setting.context != "enriched":
        return frozenset()
    return frozenset(target for name, target in setting.names.items()
                     if name in _DERIVED or (setting.fields.get(name) and setting.fields[name].origin == "context"))


def commands(used: Collection[str], setting: Setting) -> Commands:
    """A lookup for each side that any of the fields needs, then what is told from both sides."""
    names = {name: target for name, target in setting.names.items() if target in used and target in late(setting)}
    found = [command for side in SIDES for command in _lookup(side, names, setting)]
    derived = [f"{target}={_derived(name, setting)}" for name, target in names.items() if name in _DERIVED]
    return [*found, *(["eval " + ", ".join(derived)] if derived else [])]


def _lookup(side: str, names: Collection[str], setting: Setting) -> Iterator[str]:
    table = setting.vocabulary.lookup
    columns = {name.partition(".")[2] for name in names if name.startswith(f"{side}.")}
    columns |= {column for name in names for column in _DERIVED.get(name, ())}
    columns |= {table["inside"]} if "network.scope" in names else set()
    if columns:
        outputs = ", ".join(f"{column} AS {_column(side, column, setting)}" for column in sorted(columns))
        yield f"lookup {table['name']} {table['key']} AS {setting.names[side + '.ip']} OUTPUT {outputs}"


def _column(side: str, attribute: str, setting: Setting) -> str:
    return setting.vocabulary.sides[side].format(attribute=attribute)


def _derived(name: str, setting: Setting) -> str:
    if name == "network.scope":
        inside = [f'({_column(side, setting.vocabulary.lookup["inside"], setting)}="true")' for side in SIDES]
        return (f'case({inside[0]} AND {inside[1]},"internal",{inside[0]},"outbound",{inside[1]},"inbound",'
                'true(),"external")')
    attribute = _DERIVED[name][0]
    one, other = (_column(side, attribute, setting) for side in SIDES)
    known = " AND ".join(f'({column}!="") AND ({column}!="unknown")' for column in (one, other))
    return f'if({known} AND ({one}!={other}),"true","false")'

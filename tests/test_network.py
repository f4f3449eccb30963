"""The network context against its definition: for each attribute, the longest prefix that covers the address."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ewdetect.model import Field
from ewdetect.network import (
    Entry,
    IPNetwork,
    Network,
    address_int,
    cidrs_where,
    explain,
    lint,
    network_from,
    segments,
    values_of,
)
from ewdetect.problems import Location, Problem, Rejected, Severity
from ewdetect.yamlfile import parse_documents, read_documents

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "ewdetect/schemas/network.schema.json").read_text(encoding="utf-8"))
CONTEXT = {
    name: Field(name, spec["type"], spec["meaning"], values=tuple(spec.get("values", ())), default=spec.get("default"))
    for name, spec in read_documents(ROOT / "mappings/flow.yml")[0].data["context"].items()}
DEFAULTS = {name: field.default for name, field in CONTEXT.items()}
V4 = 0xFFFF << 32


def read(text: str) -> Network:
    return network_from(parse_documents(text, "net.yml")[0], CONTEXT)


def entries(text: str, internal: str = "[]") -> Network:
    """A network of these items of `networks:`, one a line."""
    items = "\n".join(f"  - {line.strip()}" for line in text.strip().splitlines())
    return read(f"name: t\ninternal: {internal}\nnetworks:\n{items}\n")


def at(network: Network, address: str) -> Mapping[str, Any]:
    """The attributes of an address, by way of the segments."""
    number = address_int(address)
    return next((s.attributes for s in segments(network) if s.first <= number <= s.last), network.defaults)


def texts(cidrs: tuple[IPNetwork, ...]) -> list[str]:
    return [str(cidr) for cidr in cidrs]


# The definition, word by word and slow.

def as_address(number: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number - V4) if 0 <= number - V4 < 2**32 else IPv6Address(number)


def by_definition(network: Network, number: int) -> dict[str, Any]:
    """Every attribute from the longest covering prefix that says it; an entry beats `internal:` of equal length."""
    address = as_address(number)
    says = [(cidr.prefixlen, 0, {"is_internal": True}) for cidr in network.internal if address in cidr]
    says += [(entry.cidr.prefixlen, 1, {**entry.attributes, "known": True})
             for entry in network.entries if address in entry.cidr]
    result = dict(network.defaults)
    for _, _, attributes in sorted(says, key=lambda item: item[:2]):
        result |= attributes
    return result


def probes(network: Network) -> list[int]:
    """The edges of every prefix and their neighbours, where any mistake shows, and the edges of both families."""
    numbers = {0, V4 - 1, V4, V4 + 2**32 - 1, V4 + 2**32, 2**128 - 1}
    for cidr in [*network.internal, *(entry.cidr for entry in network.entries)]:
        shift = V4 if cidr.version == 4 else 0
        first, last = int(cidr.network_address) + shift, int(cidr.broadcast_address) + shift
        numbers |= {first - 1, first, (first + last) // 2, last, last + 1}
    return sorted(number for number in numbers if 0 <= number < 2**128)


def v4_cidr(bits: int, length: int) -> IPv4Network:
    """A network in one /20, so that many nest; length 0 to 12 stands for /20 to /32, 13 for the whole family."""
    if length == 13:
        return IPv4Network("0.0.0.0/0")
    return IPv4Network(((10 << 24) + (bits >> (12 - length) << (12 - length)), 20 + length))


def v6_cidr(bits: int, length: int) -> IPv6Network:
    """Prefixes round about the block of IPv4, some of which span it, and some far away."""
    base, prefix = ((V4 - 64 + bits, 128 - length), (V4 + bits, 96 - length * 7), (0xFD << 120, length * 9))[bits % 3]
    network = IPv6Network((base, prefix), strict=False)
    inside = int(network.network_address) >= V4 and int(network.broadcast_address) < V4 + 2**32
    return IPv6Network("::/0") if inside else network


CIDRS = (st.builds(v4_cidr, st.integers(0, 4095), st.integers(0, 13))
         | st.builds(v6_cidr, st.integers(0, 127), st.integers(0, 13)))
ATTRIBUTES = st.fixed_dictionaries({}, optional={
    "zone": st.sampled_from(["a", "b", "unknown"]), "role": st.sampled_from(["x", "y"]),
    "is_internal": st.booleans(), "tier": st.integers(0, 1)})


@st.composite
def networks(draw: st.DrawFn) -> Network:
    items = draw(st.dictionaries(CIDRS, ATTRIBUTES, max_size=12))
    internal = draw(st.lists(CIDRS, max_size=4, unique=True))
    found = tuple(Entry(cidr, attributes, Location("net.yml", line))
                  for line, (cidr, attributes) in enumerate(items.items(), start=1))
    return Network("drawn", "net.yml", found, tuple(internal), DEFAULTS)


@given(networks())
def test_segments_agree_with_the_definition(network: Network) -> None:
    found = segments(network)
    for number in probes(network):
        expected = by_definition(network, number)
        attributes = [s.attributes for s in found if s.first <= number <= s.last]
        covered = expected["known"] or any(as_address(number) in cidr for cidr in network.internal)
        assert attributes == ([expected] if covered else [])


@given(networks())
def test_segments_are_in_order_apart_and_merged(network: Network) -> None:
    found = segments(network)
    assert all(s.first <= s.last and (s.first < V4) == (s.last < V4) for s in found)
    assert all((s.first < V4 + 2**32) == (s.last < V4 + 2**32) for s in found)
    for left, right in pairwise(found):
        assert left.last < right.first
        touching = left.last + 1 == right.first and right.first not in (V4, V4 + 2**32)
        assert not touching or left.attributes != right.attributes


@given(networks())
def test_explanations_agree_with_the_definition(network: Network) -> None:
    for number in probes(network):
        winners = [c for c in explain(network, str(as_address(number))) if c.wins]
        assert [c.attribute for c in winners] == list(DEFAULTS)
        assert {c.attribute: c.value for c in winners} == by_definition(network, number)


@given(networks(), st.sampled_from([
    ("zone", ["a"]), ("zone", ["A", "unknown"]), ("role", ["unknown"]), ("tier", [1]), ("tier", [None, 0]),
    ("is_internal", [True]), ("is_internal", [False]), ("known", [False]), ("zone", [])]))
def test_cidrs_are_exact_and_as_few_as_can_be(network: Network, asked: tuple[str, list[Any]]) -> None:
    attribute, values = asked
    found = cidrs_where(network, attribute, values)
    wanted = {value.lower() if isinstance(value, str) else value for value in values}
    for number in probes(network):
        covered = sum(as_address(number) in cidr for cidr in found)
        assert covered == (by_definition(network, number)[attribute] in wanted)
    v4 = [cidr for cidr in found if isinstance(cidr, IPv4Network)]
    v6 = [cidr for cidr in found if isinstance(cidr, IPv6Network)]
    assert list(found) == [*collapse_addresses(v4), *collapse_addresses(v6)]
    assert not any(cidr.overlaps(IPv6Network("::ffff:0:0/96")) for cidr in v6)


@given(networks())
def test_lint_finds_exactly_the_entries_that_change_nothing(network: Network) -> None:
    """Removing a warned entry changes no address; removing one that is not warned of changes some."""
    warned = {problem.location for problem in lint(network)}
    for entry in network.entries:
        others = tuple(other for other in network.entries if other is not entry)
        without = Network(network.name, network.path, others, network.internal, network.defaults)
        same = segments(without) == segments(network)
        assert not (entry.location in warned and not same)
        assert same or entry.location not in warned


OFFICE = network_from(read_documents(ROOT / "fixtures/networks/office.yml")[0], CONTEXT)


@pytest.mark.parametrize(("address", "expected"), [
    ("10.10.4.17", {"zone": "workstations", "role": "workstation", "env": "prod", "known": True, "is_internal": True}),
    ("fd00:10::17", {"zone": "workstations", "role": "workstation", "env": "prod"}),
    ("10.20.0.30", {"zone": "admin", "role": "scanner", "name": "scan01", "is_scanner": True, "is_jump": False}),
    ("fd00:20::5", {"zone": "admin", "role": "jump", "is_jump": True}),
    ("10.30.8.4", {"zone": "servers", "role": "app", "env": "prod", "tier": 1}),
    ("::ffff:10.30.8.4", {"zone": "servers", "role": "app", "env": "prod", "tier": 1}),
    ("fd00:30:8::4", {"zone": "servers", "role": "app", "env": "prod"}),
    ("10.30.0.250", {"zone": "servers", "role": "decoy", "is_decoy": True, "env": "prod"}),
    ("10.50.1.250", {"zone": "data", "role": "decoy", "is_decoy": True, "criticality": "high"}),
    ("10.60.0.10", {"zone": "infra", "role": "dc", "is_dc": True, "is_dns": True, "tier": 0}),
    ("10.60.0.99", {"zone": "infra", "role": "unknown", "name": None}),
    ("10.70.1.9", {"zone": "dev", "role": "database", "env": "dev"}),
    ("10.99.3.3", {"zone": "unallocated", "is_unallocated": True}),
    ("203.0.113.9", {"zone": "dmz-public", "role": "web", "env": "prod", "is_internal": True}),
    ("192.168.7.7", {"zone": "unknown", "role": "unknown", "known": False, "is_internal": True}),
    ("8.8.8.8", {"zone": "unknown", "role": "unknown", "known": False, "is_internal": False}),
])
def test_office(address: str, expected: Mapping[str, Any]) -> None:
    attributes = at(OFFICE, address)
    assert {name: attributes[name] for name in expected} == expected


def test_office_is_sound() -> None:
    assert lint(OFFICE) == []
    assert len(values_of(OFFICE, "zone")) >= 9
    assert values_of(OFFICE, "is_decoy") == (False, True)
    assert {0, 1, 2} <= set(values_of(OFFICE, "tier"))


def test_a_decoy_is_cut_out_of_its_subnet() -> None:
    database = cidrs_where(OFFICE, "role", ["database"])
    assert not any(ip_address("10.50.1.250") in cidr for cidr in database)
    assert sum(cidr.num_addresses for cidr in database if cidr.version == 4) == 2 * 256 - 1


def test_neighbours_with_different_values_become_one_cidr() -> None:
    found = cidrs_where(OFFICE, "role", ["app", "web"])
    assert texts(found) == ["10.30.8.0/23", "10.40.0.0/24", "10.70.2.0/24", "203.0.113.0/24", "fd00:30:8::/48"]


def test_an_attribute_that_the_context_lacks_is_a_bug_of_the_caller() -> None:
    for ask in (lambda: cidrs_where(OFFICE, "zoen", ["a"]), lambda: values_of(OFFICE, "zoen")):
        with pytest.raises(KeyError):
            ask()


def test_explain_lists_what_was_overridden_and_why() -> None:
    role = [c for c in explain(OFFICE, "10.30.8.4") if c.attribute == "role"]
    assert [(c.value, c.wins, c.reason) for c in role] == [
        ("server", False, "10.30.0.0/16 is overridden by 10.30.8.0/24"),
        ("app", True, "10.30.8.0/24 is the most specific that says it")]
    by_name = {c.attribute: c for c in explain(OFFICE, "192.168.1.1")}
    assert by_name["is_internal"].reason == "192.168.0.0/16 of `internal:` is the most specific that says it"
    assert by_name["zone"].reason == "no entry says it: the default"
    assert by_name["name"].reason == "no entry says it"
    assert by_name["zone"].entry is None


@pytest.mark.parametrize(("text", "internal", "expected"), [
    ("{cidr: 10.5.0.0/16, is_internal: false}", "[10.0.0.0/8]", False),      # an entry says otherwise
    ("{cidr: 10.0.0.0/8, is_internal: false}", "[10.0.0.0/8]", False),       # of equal prefixes the entry wins
    ("{cidr: 10.0.0.0/8, is_internal: false}", "[10.5.0.0/16]", True),       # the most specific wins
    ("{cidr: 10.5.0.0/16, zone: a}", "[]", False),                           # an empty list is not the default
])
def test_internal(text: str, internal: str, expected: bool) -> None:
    assert at(entries(text, internal), "10.5.1.1")["is_internal"] is expected


def test_strings_are_lowered_and_an_ipv6_prefix_covers_no_ipv4() -> None:
    network = entries('{cidr: "::/0", zone: Six, criticality: HIGH}')
    assert at(network, "2001:db8::1")["zone"] == "six"
    assert at(network, "2001:db8::1")["criticality"] == "high"
    assert at(network, "10.1.1.1")["known"] is False
    assert texts(cidrs_where(network, "known", [False])) == ["0.0.0.0/0"]


@pytest.mark.parametrize(("mapped", "plain"), [
    ("::ffff:10.1.0.0/112", "10.1.0.0/16"), ("::ffff:a01:203", "10.1.2.3/32"), ("::ffff:0:0/96", "0.0.0.0/0")])
def test_mapped_prefixes_are_ipv4(mapped: str, plain: str) -> None:
    network = entries(f'{{cidr: "{mapped}", zone: a}}')
    assert network.entries[0].cidr == ip_network(plain)
    assert texts(cidrs_where(network, "zone", ["a"])) == [plain]


@pytest.mark.parametrize(("text", "number"), [
    ("10.0.0.1", V4 + 0x0A000001), ("::ffff:10.0.0.1", V4 + 0x0A000001), ("::ffff:a00:1", V4 + 0x0A000001),
    ("::1", 1), ("FD00::", 0xFD << 120)])
def test_address_int(text: str, number: int) -> None:
    assert address_int(text) == number


@pytest.mark.parametrize("text", [
    "", " ", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/8", "fe80::1%eth0", "host", "10.0.0.1 ", "1", "1::2::3"])
def test_address_int_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"IPv4 or IPv6|zone id"):
        address_int(text)


HEAD = "name: t\nnetworks:\n"


@pytest.mark.parametrize(("text", "code", "line", "column", "says"), [
    (HEAD + "  - cidr: 10.1.0.0/33", "network/bad-cidr", 3, 5, "neither"),
    (HEAD + "  - cidr: 10.1.0.0/255.255.0.0", "network/bad-cidr", 3, 5, "neither"),
    (HEAD + '  - cidr: "fe80::1%eth0"', "network/bad-cidr", 3, 5, "neither"),
    (HEAD + "  - cidr: 10.1", "network/bad-cidr", 3, 5, "neither"),
    (HEAD + "  - cidr: [10.1.0.0/16]", "network/bad-cidr", 3, 5, "neither"),
    (HEAD + "  - zone: a", "network/bad-cidr", 3, 5, "no `cidr`"),
    (HEAD + "  - cidr: 10.1.2.3/16", "network/host-bits-set", 3, 5, "write 10.1.0.0/16"),
    (HEAD + '  - cidr: "::ffff:10.1.2.3/112"', "network/host-bits-set", 3, 5, "write 10.1.0.0/16"),
    (HEAD + '  - cidr: "fd00::1/64"', "network/host-bits-set", 3, 5, "write fd00::/64"),
    (HEAD + "  - {cidr: 10.1.0.0/16, zoen: a}", "network/unknown-attribute", 3, 25, "did you mean `zone`?"),
    (HEAD + "  - {cidr: 10.1.0.0/16, known: true}", "network/unknown-attribute", 3, 25, "leave it out"),
    (HEAD + "  - {cidr: 10.1.0.0/16, tier: one}", "network/bad-value", 3, 25, "write a whole number"),
    (HEAD + "  - {cidr: 10.1.0.0/16, tier: true}", "network/bad-value", 3, 25, "`True`"),
    (HEAD + "  - {cidr: 10.1.0.0/16, zone: 7}", "network/bad-value", 3, 25, "`7`"),
    (HEAD + "  - {cidr: 10.1.0.0/16, zone: }", "network/bad-value", 3, 25, "an empty value"),
    (HEAD + "  - {cidr: 10.1.0.0/16, zone: ''}", "network/bad-value", 3, 25, "string"),
    (HEAD + "  - {cidr: 10.1.0.0/16, zone: [a]}", "network/bad-value", 3, 25, "a list"),
    (HEAD + '  - {cidr: 10.1.0.0/16, is_dc: "yes"}', "network/bad-value", 3, 25, "write true or false"),
    (HEAD + "  - {cidr: 10.1.0.0/16, criticality: hihg}", "network/bad-value", 3, 25, "did you mean `high`?"),
    (HEAD + "  - {cidr: 10.1.0.0/16}\n  - {cidr: 10.1.0.0/16}", "network/duplicate-entry", 4, 6, "net.yml:3:6"),
    (HEAD + '  - {cidr: "fd00::/16"}\n  - {cidr: "FD00:0::/16"}', "network/duplicate-entry", 4, 6, "net.yml:3:6"),
    (HEAD + '  - {cidr: 10.0.0.0/8}\n  - {cidr: "::ffff:a00:0/104"}', "network/duplicate-entry", 4, 6, "net.yml:3:6"),
    (HEAD + "  - {cidr: 10.0.0.1}\n  - {cidr: 10.0.0.1/32}", "network/duplicate-entry", 4, 6, "net.yml:3:6"),
    (HEAD + "  - 10.1.0.0/16", "network/bad-value", 3, 5, "write `cidr: 10.1.0.0/16`"),
    (HEAD + "  - [10.1.0.0/16]", "network/bad-value", 3, 5, "must have a `cidr`"),
    ("name: t\nnetworks: 10.1.0.0/16", "network/bad-value", 2, 1, "must be a list"),
    ("name: t", "network/bad-value", 1, 1, "`networks` must be a list"),
    ("name: 7\nnetworks: []", "network/bad-value", 1, 1, "name"),
    ("networks: []", "network/bad-value", 1, 1, "name"),
    ("name: t\nnetworks: []\ninternal: 10.0.0.0/8", "network/bad-value", 3, 1, "`internal` must be a list"),
    ("name: t\nnetworks: []\ninternal: [10.0.0.1/8]", "network/host-bits-set", 3, 12, "write 10.0.0.0/8"),
    ("name: t\nnetworks: []\ninternal: [10.0.0.0/8, 10.0.0.0/8]", "network/duplicate-entry", 3, 24, "net.yml:3:12"),
])
def test_problems(text: str, code: str, line: int, column: int, says: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(text)
    problem, = caught.value.problems
    assert (problem.code, problem.location) == (code, Location("net.yml", line, column))
    assert says in f"{problem.message} {problem.fix}"


@pytest.mark.parametrize("text", ["- a", "word", "7"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(text)
    assert caught.value.problems[0] == Problem(
        "network/bad-value", "a network file holds keys and values", Location("net.yml", 1, 1), "begin with `name:`")


def test_all_problems_at_once() -> None:
    with pytest.raises(Rejected) as caught:
        entries("""{cidr: 10.1.2.3/16, zoen: a, tier: x}
                   {cidr: nonsense, criticality: big}
                   {cidr: 10.2.0.0/16}
                   {cidr: 10.2.0.0/16}""", "[10.0.0.0/33]")
    assert sorted(problem.code.partition("/")[2] for problem in caught.value.problems) == [
        "bad-cidr", "bad-cidr", "bad-value", "bad-value", "duplicate-entry", "host-bits-set", "unknown-attribute"]


@pytest.mark.parametrize(("text", "code", "line"), [
    ("""{cidr: 10.0.0.0/24, zone: a}
        {cidr: 10.0.0.0/25, zone: b}
        {cidr: 10.0.0.128/25, zone: c}""", "network/unreachable-entry", 4),
    ("""{cidr: 10.0.0.0/31}
        {cidr: 10.0.0.0, zone: b}
        {cidr: 10.0.0.1, zone: c}""", "network/unreachable-entry", 4),
    ("""{cidr: 10.0.0.0/8, zone: a, role: x}
        {cidr: 10.0.0.0/24, zone: a}""", "network/overlapping-duplicate", 5),
    ("""{cidr: 10.0.0.0/8, zone: a}
        {cidr: 10.0.0.0/24}""", "network/overlapping-duplicate", 5),
    ("""{cidr: 10.0.0.0/8, zone: a}
        {cidr: 10.0.0.0/24, is_dc: false}""", "network/overlapping-duplicate", 5),
    ("""{cidr: 10.0.0.0/31, zone: a}
        {cidr: 10.0.0.1, zone: a}""", "network/overlapping-duplicate", 5),
])
def test_lint(text: str, code: str, line: int) -> None:
    problem, = lint(entries(text))
    assert problem.location is not None
    assert (problem.code, problem.location.line, problem.severity) == (code, line, Severity.WARNING)


@pytest.mark.parametrize("text", [
    "{cidr: 10.0.0.0/24}",                                                    # makes it known
    "{cidr: 10.0.0.0/24, zone: unknown}",
    "{cidr: 10.0.0.0/24, zone: a, role: x}\n{cidr: 10.0.0.0/25, zone: b}\n{cidr: 10.0.0.128/25, zone: c}",
    "{cidr: 10.0.0.0/8, zone: a}\n{cidr: 10.1.0.0/16, zone: b}\n{cidr: 10.1.1.0/24, zone: a}",
])
def test_lint_is_quiet(text: str) -> None:
    assert lint(entries(text)) == []


def test_the_schema_has_the_attributes_of_flow_yml() -> None:
    properties = SCHEMA["$defs"]["entry"]["properties"]
    assert set(properties) - {"cidr"} == set(CONTEXT) - {"known"}
    assert all(properties[name]["type"] == field.type for name, field in CONTEXT.items() if name != "known")
    assert all({"title", "description"} <= set(spec) for spec in properties.values())


def test_the_schema_takes_the_office_and_no_strangers() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    assert validator.is_valid(read_documents(ROOT / "fixtures/networks/office.yml")[0].data)
    assert not validator.is_valid({"name": "t", "networks": [], "x": 1})
    assert not validator.is_valid({"name": "t", "networks": [{"cidr": "::1", "known": True}]})


def test_fifty_thousand_entries() -> None:
    random_ = random.Random(1)
    cidrs: dict[IPNetwork, None] = {}
    while len(cidrs) < 50_000:
        length = random_.choice([10, 14, 18, 22, 24, 26, 28, 32, 32, 32])
        cidrs[IPv4Network((10 << 24 | random_.getrandbits(24), length), strict=False)] = None
    items = tuple(Entry(cidr, {"zone": f"z{random_.randrange(20)}", "name": f"h{i}"}, Location("net.yml", i))
                  for i, cidr in enumerate(cidrs))
    network = Network("big", "net.yml", items, (), DEFAULTS)
    began = time.process_time()
    sorted(cidrs)
    ordered = time.process_time()
    found = segments(network)
    cidrs_where(network, "zone", ["z1", "unknown"])
    lint(network)
    # A loop over all pairs would take thousands of times as long as sorting them.
    assert time.process_time() - ordered < 30 * (ordered - began)
    assert len(found) > 50_000

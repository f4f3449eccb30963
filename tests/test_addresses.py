"""The engine's address parser against Python's, on addresses in every spelling and on text that only looks like one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ewdetect.engine.addresses import MACROS, spell
from ewdetect.network import address_int

LOOK_ALIKES = """
    :: ::1 1:: 1:2:3:4:5:6:7:8 1::2::3 ::: 1:2 ::ffff:10.0.0.1 ::ffff:999.0.0.1 fe80::1%eth0 FD00::AB 1:2:3:4:5:6:7::
    ::2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:9 1:2:3:4::5:6:7:8 g::1 12345::  10.0.0 10.0.0.1.2 1.2.3.4:80 :1 1: 1:2:3:4:5:6:7:
    :1:2:3:4:5:6:7 ::1:2:3:4:5:6:7:8 64:ff9b::1.2.3.4 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 ::1.2.3 1.2.3.4::
    256.1.1.1 010.1.1.1 1.1.1.01 0.0.0.0 255.255.255.255 host
"""

V4 = st.ip_addresses(v=4).map(str)
V6 = st.builds(lambda a, mask: ipaddress.IPv6Address(int(a) & mask), st.ip_addresses(v=6),
               st.integers(0, 2**128 - 1) | st.just(2**128 - 1))
SPELT = V4 | V6.flatmap(lambda a: st.sampled_from([str(a), a.exploded, str(a).upper()]))
DAMAGED = st.builds(lambda t, at, by: t[: at % len(t)] + by + t[at % len(t) + 1 :], SPELT, st.integers(0, 40),
                    st.sampled_from([*":0f.g", ""]))


@pytest.fixture(scope="module")
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for macro in MACROS:
            connection.execute(macro)
        yield connection


def engine_reads(db: duckdb.DuckDBPyConnection, text: str) -> int | None:
    row = db.execute("SELECT ewd_ip(?)", [text]).fetchone()
    return int(row[0]) if row and row[0] is not None else None


def python_reads(text: str) -> int | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return int(address) + (0xFFFF << 32 if address.version == 4 else 0)


@pytest.mark.parametrize("text", LOOK_ALIKES.split())
def test_look_alikes(db: duckdb.DuckDBPyConnection, text: str) -> None:
    assert engine_reads(db, text) == python_reads(text)


@settings(max_examples=400, deadline=None)
@given(text=SPELT | DAMAGED)
def test_the_engine_reads_what_python_reads(db: duckdb.DuckDBPyConnection, text: str) -> None:
    assert engine_reads(db, text) == python_reads(text)


@given(text=SPELT)
def test_the_context_and_the_engine_agree_on_the_number_and_its_spelling(text: str) -> None:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if address.version == 6 else None
    assert spell(address_int(text)) == str(mapped or address)

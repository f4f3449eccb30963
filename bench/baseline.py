"""What DuckDB alone makes of the same files: the same columns, typed by its own reader, and nothing checked.

No damage is looked for, no direction judged, no outcome, no context. An EVE file's other events are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import duckdb

_EVE = """
    SELECT flow_id AS "event.id", epoch_us(flow.start) AS "event.start",
           (epoch_us(flow."end") - epoch_us(flow.start)) / 1e6 AS "event.duration",
           src_ip AS "source.ip", src_port AS "source.port", flow.bytes_toserver AS "source.bytes",
           flow.pkts_toserver AS "source.packets", dest_ip AS "destination.ip", dest_port AS "destination.port",
           flow.bytes_toclient AS "destination.bytes", flow.pkts_toclient AS "destination.packets",
           lower(proto) AS "network.transport", app_proto AS "network.protocol", flow.state AS "network.state",
           community_id AS "network.community_id", icmp_type AS "icmp.type", icmp_code AS "icmp.code",
           tcp.tcp_flags_ts AS flags_out, tcp.tcp_flags_tc AS flags_in, coalesce(host, in_iface) AS "observer.name"
    FROM read_json('{path}', format = 'newline_delimited', columns = {{
        flow_id: 'VARCHAR', event_type: 'VARCHAR', src_ip: 'VARCHAR', src_port: 'INTEGER', dest_ip: 'VARCHAR',
        dest_port: 'INTEGER', proto: 'VARCHAR', app_proto: 'VARCHAR', community_id: 'VARCHAR', icmp_type: 'INTEGER',
        icmp_code: 'INTEGER', host: 'VARCHAR', in_iface: 'VARCHAR',
        flow: 'STRUCT(pkts_toserver BIGINT, pkts_toclient BIGINT, bytes_toserver BIGINT, bytes_toclient BIGINT,
                      start TIMESTAMPTZ, "end" TIMESTAMPTZ, state VARCHAR)',
        tcp: 'STRUCT(tcp_flags_ts VARCHAR, tcp_flags_tc VARCHAR)'}})
    WHERE event_type = 'flow'"""
_ZEEK = """
    SELECT uid AS "event.id", CAST(ts * 1000000 AS BIGINT) AS "event.start", duration AS "event.duration",
           "id.orig_h" AS "source.ip", "id.orig_p" AS "source.port", orig_ip_bytes AS "source.bytes",
           orig_pkts AS "source.packets", "id.resp_h" AS "destination.ip", "id.resp_p" AS "destination.port",
           resp_ip_bytes AS "destination.bytes", resp_pkts AS "destination.packets", proto AS "network.transport",
           service AS "network.protocol", conn_state AS "network.state", history AS "network.history",
           community_id AS "network.community_id", _system_name AS "observer.name"
    FROM read_json('{path}', format = 'newline_delimited', columns = {{
        ts: 'DOUBLE', uid: 'VARCHAR', duration: 'DOUBLE', "id.orig_h": 'VARCHAR', "id.orig_p": 'INTEGER',
        "id.resp_h": 'VARCHAR', "id.resp_p": 'INTEGER', orig_ip_bytes: 'BIGINT', orig_pkts: 'BIGINT',
        resp_ip_bytes: 'BIGINT', resp_pkts: 'BIGINT', proto: 'VARCHAR', service: 'VARCHAR', conn_state: 'VARCHAR',
        history: 'VARCHAR', community_id: 'VARCHAR', _system_name: 'VARCHAR'}})"""
READS: Mapping[str, str] = MappingProxyType({"eve": _EVE, "zeek": _ZEEK})


def read_alone(layout: str, path: str, memory: str) -> None:
    """Read a file into a table. The settings are those that ewdetect's engine uses."""
    with duckdb.connect(config={"memory_limit": memory, "temp_directory": f"{path}.tmp",
                                "preserve_insertion_order": False}) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute("CREATE TABLE flow AS " + READS[layout].format(path=path))

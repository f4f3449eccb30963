"""How a flow of bench/generate.py looks in each format: (what to select, options of COPY).

The shapes were taken from real files: Suricata 7.0.10 (`flow` events with TCP flags in hex) and Zeek 7 (JSON).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# One raw line per row: a CSV of one column without quoting.
_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\t'"
_ICMP6 = "CASE WHEN v6 AND icmp = 8 THEN 128 ELSE icmp END"


def _swapped(straight: str, turned: str) -> str:
    """A sensor that missed the beginning takes the first packet that it sees for the initiator's."""
    return f"CASE WHEN inverted THEN {turned} ELSE {straight} END"


def _iso(micros: str) -> str:
    return f"strftime(make_timestamp({micros}), '%Y-%m-%dT%H:%M:%S.%f+0000')"


_END = "CAST(t + seconds * 1000000 AS BIGINT)"
_SRC, _DST = _swapped("src", "dst"), _swapped("dst", "src")
_SPORT, _DPORT = _swapped("sport", "port"), _swapped("port", "sport")
_PORTS = f"""CASE WHEN transport <> 'icmp' THEN concat(',"src_port":', {_SPORT}) END, ',"dest_ip":"', {_DST}, '"',
    CASE WHEN transport <> 'icmp' THEN concat(',"dest_port":', {_DPORT}) END"""
_COMMUNITY = "'1:' || base64(unhex(sha1(CAST(i AS VARCHAR))))"
_FLAGS_OUT = "CASE WHEN failed THEN '02' WHEN inverted THEN '18' ELSE '1b' END"
_FLAGS_IN = "CASE WHEN refused THEN '14' WHEN failed THEN '00' WHEN inverted THEN '18' ELSE '1b' END"
_HEAD = f"""'{{"timestamp":"', {_iso(_END)}, '","flow_id":', 463023229705163 + i, ',"in_iface":"br0","event_type":"'"""
_FLOW_EVENT = f"""concat({_HEAD}, 'flow","src_ip":"', {_SRC}, '"', {_PORTS}, ',"proto":"',
    CASE WHEN transport = 'icmp' AND v6 THEN 'IPv6-ICMP' ELSE upper(transport) END, '"',
    CASE WHEN icmp IS NOT NULL THEN concat(',"icmp_type":', {_ICMP6}, ',"icmp_code":0') END,
    CASE WHEN app IS NOT NULL AND NOT failed THEN concat(',"app_proto":"', app, '"') END,
    ',"flow":{{"pkts_toserver":', {_swapped("packets_out", "packets_in")},
    ',"pkts_toclient":', {_swapped("packets_in", "packets_out")},
    ',"bytes_toserver":', {_swapped("bytes_out", "bytes_in")},
    ',"bytes_toclient":', {_swapped("bytes_in", "bytes_out")},
    ',"start":"', {_iso("t")}, '","end":"', {_iso(_END)}, '","age":', CAST(floor(seconds) AS INTEGER),
    ',"state":"', CASE WHEN failed THEN 'new' ELSE 'closed' END, '","reason":"',
    CASE WHEN failed THEN 'timeout' ELSE 'shutdown' END, '","alerted":false}}',
    ',"community_id":"', {_COMMUNITY}, '"',
    CASE WHEN transport = 'tcp' THEN concat(',"tcp":{{"tcp_flags":"1b","tcp_flags_ts":"', {_FLAGS_OUT},
        '","tcp_flags_tc":"', {_FLAGS_IN}, '","syn":', NOT inverted, ',"fin":', answered, ',"psh":true,"ack":true,',
        '"state":"closed","ts_max_regions":1,"tc_max_regions":1}}') END, '}}')"""
# One event in twenty is of another type, as in every EVE file.
_DNS_EVENT = f"""concat({_HEAD}, 'dns","src_ip":"', {_SRC}, '"', {_PORTS}, ',"proto":"UDP","dns":{{"type":"query",',
    '"id":', i % 65536, ',"rrname":"host', i % 5000, '.corp.example","rrtype":"A","tx_id":0,"opcode":0}}}}')
    """
_EVE = f"unnest(CASE WHEN draw(i, 30) < 0.05 THEN [{_DNS_EVENT}, {_FLOW_EVENT}] ELSE [{_FLOW_EVENT}] END)"

_STATE = """CASE WHEN refused THEN 'REJ' WHEN failed THEN 'S0' WHEN inverted THEN 'OTH' ELSE 'SF' END"""
_HISTORY = """CASE WHEN transport <> 'tcp' THEN CASE WHEN failed THEN 'D' ELSE 'Dd' END WHEN refused THEN 'Sr'
    WHEN failed THEN 'S' WHEN inverted THEN 'dDaA' ELSE 'ShADadFf' END"""
_ZEEK = f"""concat('{{"ts":', printf('%d.%06d', t // 1000000, t % 1000000), ',"uid":"C',
    to_base(CAST(hash(i, 1) >> 1 AS BIGINT), 36),
    '","id.orig_h":"', {_SRC}, '","id.orig_p":', coalesce({_SPORT}, {_ICMP6}), ',"id.resp_h":"', {_DST},
    '","id.resp_p":', coalesce({_DPORT}, {_ICMP6} % 2), ',"proto":"', transport, '"',
    CASE WHEN app IS NOT NULL AND NOT failed THEN concat(',"service":"', app, '"') END,
    CASE WHEN answered THEN concat(',"duration":', round(seconds, 6), ',"orig_bytes":', {_swapped("out", '"in"')},
        ',"resp_bytes":', {_swapped('"in"', "out")}) END,
    ',"conn_state":"', {_STATE}, '","local_orig":true,"local_resp":true,"missed_bytes":0,"history":"', {_HISTORY},
    '","orig_pkts":', {_swapped("packets_out", "packets_in")},
    ',"orig_ip_bytes":', {_swapped("bytes_out", "bytes_in")},
    ',"resp_pkts":', {_swapped("packets_in", "packets_out")},
    ',"resp_ip_bytes":', {_swapped("bytes_in", "bytes_out")}, ',"ip_proto":',
    CASE transport WHEN 'tcp' THEN 6 WHEN 'udp' THEN 17 ELSE 1 END, '}}')"""

_PARQUET = f"""'f' || i AS "event.id", make_timestamp(t) AS "event.start", seconds AS "event.duration",
    src AS "source.ip", sport AS "source.port", bytes_out AS "source.bytes", packets_out AS "source.packets",
    dst AS "destination.ip", port AS "destination.port", bytes_in AS "destination.bytes",
    packets_in AS "destination.packets",
    CASE WHEN transport = 'icmp' AND v6 THEN 'ipv6-icmp' ELSE transport END AS "network.transport",
    app AS "network.protocol", {_ICMP6} AS "icmp.type",
    CASE WHEN failed THEN 'failed' ELSE 'established' END AS "flow.outcome\""""

LAYOUTS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "eve": (_EVE, _LINES),
    "zeek": (_ZEEK, _LINES),
    "parquet": (_PARQUET, "FORMAT parquet, COMPRESSION zstd"),
})

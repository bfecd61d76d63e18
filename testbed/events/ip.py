"""IP: counters of a namespace (/proc/net/snmp, /proc/net/netstat)."""

from __future__ import annotations

import msgspec


class IpSample(msgspec.Struct, frozen=True, kw_only=True):
    """Ip and IpExt counters of one node; cumulative. None: this kernel has no such counter."""

    t_ns: int
    node: str
    in_receives: int
    in_delivers: int
    out_requests: int
    forwarded: int
    in_discards: int
    in_header_errors: int
    in_address_errors: int
    out_discards: int
    out_no_routes: int
    reassembly_fails: int
    in_checksum_errors: int | None
    in_ce_packets: int | None
    in_octets: int | None
    out_octets: int | None

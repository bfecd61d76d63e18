"""TCP: a namespace's counters (/proc/net/snmp, netstat) and each socket's TCP_INFO (inet_diag)."""

from __future__ import annotations

import msgspec


class TcpCounter(msgspec.Struct, frozen=True, kw_only=True):
    """One counter of one namespace; cumulative, a row when it changed and at both ends."""

    t_ns: int
    node: str
    counter: str
    """The kernel's name with its group: ``TcpExt.TCPFastRetrans``, ``Tcp.RetransSegs``."""
    value: int


class TcpSample(msgspec.Struct, frozen=True, kw_only=True):
    """TCP_INFO of one socket (include/uapi/linux/tcp.h). None: this kernel's struct is shorter."""

    t_ns: int
    node: str
    cookie: int
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    congestion_state: str
    """Open, Disorder, CWR, Recovery or Loss."""
    rto_ns: int
    rtt_ns: int
    rtt_variation_ns: int
    minimum_rtt_ns: int | None
    mss_bytes: int
    congestion_window_packets: int
    slow_start_threshold_packets: int
    in_flight_packets: int
    """unacked: sent and not acknowledged."""
    sacked_packets: int
    lost_packets: int
    retransmitting_packets: int
    total_retransmissions: int
    reordering_packets: int
    reordering_seen: int | None
    dsack_duplicates: int | None
    out_of_order_received: int | None
    send_window_bytes: int | None
    receive_window_bytes: int | None
    not_sent_bytes: int | None
    bytes_acked: int | None
    bytes_received: int | None
    bytes_sent: int | None
    bytes_retransmitted: int | None
    busy_ns: int | None
    receive_window_limited_ns: int | None
    send_buffer_limited_ns: int | None
    total_rto: int | None

"""inet_diag dumps -> TcpSample and SocketSample rows.

Layouts: include/uapi/linux/inet_diag.h (struct inet_diag_msg, 72 bytes), include/uapi/linux/tcp.h
(struct tcp_info, which grows at its end: what a kernel's is too short for is None),
include/uapi/linux/sock_diag.h (SK_MEMINFO_*).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.netlink import HEADER_BYTES, Group, groups
from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.schema import code_column, empty, from_columns
from testbed.events.socket import SocketSample
from testbed.events.tcp import TcpSample
from testbed.units import NS_PER_US

_SOCK_DIAG_BY_FAMILY: Final = 20
_DIAG_BYTES: Final = 72
_INFO, _CONGESTION, _SKMEMINFO = (2,), (4,), (7,)
_AF_INET: Final = 2
LISTEN: Final = "LISTEN"
STATES: Final = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", LISTEN, "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
"""include/net/tcp_states.h"""
CONGESTION_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
"""enum tcp_ca_state"""
_NO_RTT: Final = 0xFFFFFFFF

_TCP_INFO: Final[Mapping[str, tuple[int, int, int]]] = {
    # field: offset in struct tcp_info, bytes, factor to the unit in its name
    "rto_ns": (8, 4, NS_PER_US),
    "mss_bytes": (16, 4, 1),
    "in_flight_packets": (24, 4, 1),
    "sacked_packets": (28, 4, 1),
    "lost_packets": (32, 4, 1),
    "retransmitting_packets": (36, 4, 1),
    "rtt_ns": (68, 4, NS_PER_US),
    "rtt_variation_ns": (72, 4, NS_PER_US),
    "slow_start_threshold_packets": (76, 4, 1),
    "congestion_window_packets": (80, 4, 1),
    "reordering_packets": (88, 4, 1),
    "total_retransmissions": (100, 4, 1),
    "bytes_acked": (120, 8, 1),
    "bytes_received": (128, 8, 1),
    "not_sent_bytes": (144, 4, 1),
    "minimum_rtt_ns": (148, 4, NS_PER_US),
    "busy_ns": (168, 8, NS_PER_US),
    "receive_window_limited_ns": (176, 8, NS_PER_US),
    "send_buffer_limited_ns": (184, 8, NS_PER_US),
    "bytes_sent": (200, 8, 1),
    "bytes_retransmitted": (208, 8, 1),
    "dsack_duplicates": (216, 4, 1),
    "reordering_seen": (220, 4, 1),
    "out_of_order_received": (224, 4, 1),
    "send_window_bytes": (228, 4, 1),
    "receive_window_bytes": (232, 4, 1),
    "total_rto": (240, 2, 1),
}
_TCP_INFO_LEAST: Final = 104
"""Up to tcpi_total_retrans: what every kernel since 2.6 has."""
_MEMORY: Final[Mapping[str, int]] = {
    "receive_allocated_bytes": 0,
    "receive_buffer_bytes": 1,
    "send_allocated_bytes": 5,
    "send_buffer_bytes": 3,
    "backlog_bytes": 7,
    "dropped_packets": 8,
}
"""Place in the array of SK_MEMINFO_VARS (RMEM_ALLOC, RCVBUF, WMEM_QUEUED, SNDBUF, BACKLOG,
DROPS)."""


def decode_sockets(samples: Samples) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of TcpSample (connections with TCP_INFO) and SocketSample (all sockets).

    By time, node and cookie.
    """
    t_ns = samples.t_ns
    nodes = pl.Series(samples.node, dtype=pl.String)
    tcp, socket = [], []
    for group in groups(samples.payload, _SOCK_DIAG_BY_FAMILY, _DIAG_BYTES):
        common = _common(group)
        common["t_ns"] = t_ns[group.reply]
        common["node"] = nodes.gather(group.reply)
        socket.append(_socket_rows(group, common))
        if group.attributes.get(_INFO, (0, 0))[1] >= _TCP_INFO_LEAST:
            tcp.append(_tcp_rows(group, common))
    return _joined(tcp, empty(TcpSample)), _joined(socket, empty(SocketSample))


def _joined(parts: list[pl.DataFrame], none: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([none, *parts]).sort("t_ns", "node", "cookie", maintain_order=True)


def _common(group: Group) -> dict[str, Any]:
    family = group.number(HEADER_BYTES, 1)
    at = HEADER_BYTES + 4  # struct inet_diag_sockid
    return {
        "state": code_column(group.number(HEADER_BYTES + 1, 1), STATES),
        "local_port": group.number(at, 2, big_endian=True),
        "remote_port": group.number(at + 2, 2, big_endian=True),
        "local_address": _addresses(group.messages[:, at + 4 : at + 20], family),
        "remote_address": _addresses(group.messages[:, at + 20 : at + 36], family),
        "cookie": group.number(at + 40, 8),
        "receive_queue": group.number(at + 52, 4),
        "send_queue": group.number(at + 56, 4),
    }


def _addresses(octets: npt.NDArray[np.uint8], family: npt.NDArray[np.int64]) -> pl.Series:
    """Addresses as text; few distinct ones, so each is written once."""
    keys = np.concatenate([family[:, None].astype(np.uint8), octets], axis=1)
    distinct, index = np.unique(np.ascontiguousarray(keys).view("V17")[:, 0], return_inverse=True)
    texts = []
    for key in distinct:
        raw = key.tobytes()
        texts.append(str(ipaddress.ip_address(raw[1:5] if raw[0] == _AF_INET else raw[1:17])))
    return pl.Series(texts, dtype=pl.String).gather(index)


def _socket_rows(group: Group, common: dict[str, Any]) -> pl.DataFrame:
    columns = dict(common)
    for name, place in _MEMORY.items():
        values = group.attribute(_SKMEMINFO, place * 4, 4)
        columns[name] = _nulls(len(group.reply)) if values is None else values
    return from_columns(SocketSample, columns)


def _tcp_rows(group: Group, common: dict[str, Any]) -> pl.DataFrame:
    columns = dict(common)
    state = group.number(group.attributes[_INFO][0] + 1, 1)
    columns["congestion_state"] = code_column(state, CONGESTION_STATES).fill_null("?")
    for name, (offset, size, factor) in _TCP_INFO.items():
        values = group.attribute(_INFO, offset, size)
        columns[name] = _nulls(len(group.reply)) if values is None else values * factor
    least = group.attribute(_INFO, *_TCP_INFO["minimum_rtt_ns"][:2])
    if least is not None:  # all ones: nothing measured yet
        found = pl.Series(least)
        columns["minimum_rtt_ns"] = pl.select(
            pl.when(found != _NO_RTT).then(found * NS_PER_US)
        ).to_series()
    return from_columns(TcpSample, columns).filter(pl.col("state") != LISTEN)


def _nulls(count: int) -> pl.Series:
    return pl.Series([None] * count, dtype=pl.Int64)

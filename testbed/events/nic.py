"""NIC: a device's own counters (/proc/net/dev)."""

from __future__ import annotations

import msgspec


class NicSample(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one interface; cumulative since it was made."""

    t_ns: int
    node: str
    interface: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int

"""Qdisc: queueing disciplines (RTM_GETQDISC, struct gnet_stats_basic and gnet_stats_queue)."""

from __future__ import annotations

from typing import Final

import msgspec

WIRES: Final = "(wires)"
"""Node name of the sandbox's own namespace, where the netem of kernel wires is."""


class QdiscSample(msgspec.Struct, frozen=True, kw_only=True):
    """State of one qdisc; counters are cumulative since it was made."""

    t_ns: int
    node: str
    interface: str
    kind: str
    handle: str
    """``1:``, as tc prints it."""
    parent: str
    """``root`` or the parent class, ``1:1``."""
    sent_bytes: int
    sent_packets: int
    dropped_packets: int
    overlimits: int
    """Times that a packet had to wait; nothing was dropped by it."""
    requeues: int
    backlog_bytes: int
    backlog_packets: int

"""TCP streams of one host, packet by packet."""

from __future__ import annotations

from typing import Final

import numpy as np

from testbed.analysis.captures import Packets
from testbed.analysis.hosts import HostStreams
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import streams
from testbed.analysis.metrics.tcp import ARRIVED, LOST
from tests.builders import frames as f

A: Final = 1
B: Final = 1000
"""Ports."""


def packet(sequence: int, payload: int, *, flags: int = f.ACK) -> bytes:
    """A frame of TCP from port `A` to port `B`."""
    content = f.tcp(A, B, sequence, payload=bytes(payload), flags=flags)
    ip = f.ipv4("10.0.0.1", "10.0.0.2", 6, content)
    return f.ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, ip)


def host(packets: Packets, came_ns: list[int], t_ns: list[int]) -> HostStreams:
    """What a host sent: all of these packets.

    Args:
        packets: get these times.
        came_ns: of each, NONE where it did not come.
        t_ns: when each was sent.
    """
    packets.t_ns[:] = t_ns
    sent = streams(packets)
    came = np.array(came_ns, np.int64)[sent.row]
    arrived = np.where(came == NONE, LOST, ARRIVED)
    return HostStreams(
        "a", packets, sent, sent.take(np.empty(0, np.int64)), arrived, came, came == 0
    )

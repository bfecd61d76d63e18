"""Counts the data segments of TCP flows. Pure.

A flow is one direction of one connection: its two addresses and two ports. A segment counts when it
carries data, whether it was sent before or not.
"""

from __future__ import annotations

from typing import Final

from testbed.scenario.impairments import Segments

_IPV4: Final = b"\x08\x00"
_IPV6: Final = b"\x86\xdd"
_TCP: Final = 6
_ETHERNET_BYTES: Final = 14
_IPV6_BYTES: Final = 40
_TCP_BYTES: Final = 20
_SHORTEST_BYTES: Final = _ETHERNET_BYTES + 20 + _TCP_BYTES
"""The headers of Ethernet, IPv4 and TCP."""


class SegmentCounter:
    """Which frames carry the n-th data segments of their flows."""

    def __init__(self, rule: Segments) -> None:
        self._ordinals = frozenset(rule.ordinals)
        self._counts: dict[bytes, int] = {}

    def is_lost(self, frame: bytes) -> bool:
        """Counts `frame`; whether it is one of those that are lost."""
        flow = data_flow(frame)
        if flow is None:
            return False
        count = self._counts.get(flow, 0) + 1
        self._counts[flow] = count
        return count in self._ordinals


def data_flow(frame: bytes) -> bytes | None:
    """The flow of a frame that carries TCP data: addresses and ports; None of any other."""
    kind = frame[12:14]
    if len(frame) < _SHORTEST_BYTES:
        return None
    if kind == _IPV4:
        start = _ETHERNET_BYTES + (frame[14] & 15) * 4
        end = _ETHERNET_BYTES + int.from_bytes(frame[16:18], "big")
        is_first = frame[20] & 0x1F == 0 and frame[21] == 0
        is_tcp = frame[23] == _TCP and is_first
        addresses = frame[26:34]
    elif kind == _IPV6:
        start = _ETHERNET_BYTES + _IPV6_BYTES
        end = start + int.from_bytes(frame[18:20], "big")
        is_tcp = frame[20] == _TCP
        addresses = frame[22:54]
    else:
        return None
    if not is_tcp or len(frame) < start + _TCP_BYTES:
        return None
    data = start + (frame[start + 12] >> 4) * 4
    return addresses + frame[start : start + 4] if data < end else None

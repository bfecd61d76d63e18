"""Netlink replies, as the kernel writes them (include/uapi/linux/netlink.h)."""

from __future__ import annotations

import struct

DONE = struct.pack("<IHHII", 20, 3, 2, 1, 0) + b"\0" * 4


def attribute(kind: int, payload: bytes) -> bytes:
    head = struct.pack("<HH", 4 + len(payload), kind)
    return head + payload + b"\0" * (-len(payload) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, 2, 1, 0) + body + b"\0" * (-len(body) % 4)


def qdisc(
    index: int,
    *,
    kind: str = "pfifo",
    handle: int = 0x10000,
    parent: int = 0xFFFFFFFF,
    sent_packets: int = 0,
    drops: int = 0,
    qlen: int = 0,
    overlimits: int = 0,
) -> bytes:
    """RTM_NEWQDISC of one qdisc."""
    head = struct.pack("<BxxxiIII", 0, index, handle, parent, 1)
    statistics = attribute(1, struct.pack("<QIxxxx", sent_packets * 100, sent_packets))
    statistics += attribute(3, struct.pack("<IIIII", qlen, qlen * 100, drops, 0, overlimits))
    body = head + attribute(1, kind.encode() + b"\0") + attribute(7, statistics)
    return message(36, body)

"""The tc commands that shape one direction of a link at its sending interface. Pure.

    root 1: htb -- class 1:10 (capacity) -- 10: pfifo or bfifo (the queue)        with a capacity
    root 1: pfifo                                                                without one

Why HTB and not tbf: tbf drops by itself what does not fit its own buffer, HTB leaves the queue to
the qdisc below.
"""

from __future__ import annotations

import re
from typing import Any, Final

from testbed.errors import ReadBackError
from testbed.recording.manifest import Direction
from testbed.units import NS_PER_S

FRAME_BYTES: Final = 1514
"""Ethernet frame of MTU 1500, as qdiscs count it: header, without preamble and frame check
sequence.
"""
UNSHAPED_QUEUE_PACKETS: Final = 1000
"""Queue of an interface without a capacity; it fills only when the wire itself cannot keep up."""
_BURST_NS: Final = 250_000
"""How long HTB may send above its rate after a pause: covers the lateness of its timer (tens of
us).
"""


def burst_bytes(capacity_bit_s: int) -> int:
    """HTB's burst: what the capacity carries in 250 us, at least one frame.

    tc's own default would be 1600 bytes; below 50 Mbit/s they agree in effect.
    """
    return max(FRAME_BYTES, capacity_bit_s * _BURST_NS // (8 * NS_PER_S))


def tc_commands(way: Direction) -> list[str]:
    """Lines for `tc -batch` that shape `way` at its sending interface."""
    device = way.sender_interface
    if way.capacity_bit_s is None:
        return [f"qdisc add dev {device} root handle 1: pfifo limit {UNSHAPED_QUEUE_PACKETS}"]
    burst = burst_bytes(way.capacity_bit_s)
    limit = (
        f"pfifo limit {way.queue_packets}"
        if way.queue_packets is not None
        else f"bfifo limit {way.queue_bytes}"
    )
    rate = f"{way.capacity_bit_s}bit"
    return [
        f"qdisc add dev {device} root handle 1: htb default 10",
        f"class add dev {device} parent 1: classid 1:10 htb rate {rate} ceil {rate} "
        f"burst {burst} cburst {burst} quantum {FRAME_BYTES}",
        f"qdisc add dev {device} parent 1:10 handle 10: {limit}",
    ]


def check_read_back(way: Direction, qdiscs: list[dict[str, Any]], classes: str) -> None:
    """Compares what tc reads back with what was set.

    Args:
        way: the direction as planned.
        qdiscs: ``tc -j qdisc show dev DEVICE``.
        classes: ``tc class show dev DEVICE``, text: iproute2 6.1 has no JSON for classes.

    Raises:
        ReadBackError: naming the interface, the setting, what was wanted and what was got.
    """
    found = {(item["kind"], item["handle"]): item for item in qdiscs}
    if way.capacity_bit_s is None:
        _compare(way, "pfifo limit", UNSHAPED_QUEUE_PACKETS, _limit(found.get(("pfifo", "1:"))))
        return
    if ("htb", "1:") not in found:
        raise ReadBackError(
            f"{way.sender_interface}: expected an htb qdisc 1: (got {sorted(found)})",
            where=way.sender_interface,
        )
    rate_bit_s = _class_rate_bit_s(classes)
    # tc prints whole thousands only, and counts in bytes per second: it cannot be compared closer
    # than that.
    if rate_bit_s is None or abs(rate_bit_s - way.capacity_bit_s) > max(
        8, way.capacity_bit_s // 1000
    ):
        _compare(way, "capacity in bit/s", way.capacity_bit_s, rate_bit_s)
    kind, wanted = (
        ("pfifo", way.queue_packets)
        if way.queue_packets is not None
        else ("bfifo", way.queue_bytes)
    )
    _compare(way, f"{kind} limit", wanted, _limit(found.get((kind, "10:"))))


def _limit(qdisc: dict[str, Any] | None) -> int | None:
    limit = (qdisc or {}).get("options", {}).get("limit")
    return None if limit is None else int(str(limit).rstrip("pb"))


def _class_rate_bit_s(classes: str) -> int | None:
    match = re.search(r"class htb 1:10 .*\brate (\d+)([KMGT]?)bit", classes)
    if match is None:
        return None
    return int(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[match[2]]


def _compare(way: Direction, what: str, wanted: object, got: object) -> None:
    if wanted != got:
        raise ReadBackError(
            f"{way.sender_interface}: {what} was set to {wanted} and reads back as {got}",
            where=way.sender_interface,
            wanted=str(wanted),
            got=got,
        )

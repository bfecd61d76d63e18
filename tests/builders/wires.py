"""A wire of the relay without the relay, and ways to let packets pass through it."""

from __future__ import annotations

from typing import Any, Final

from testbed.network.relay.config import WireConfig
from testbed.network.relay.held import NEVER_NS, Held
from testbed.network.relay.wire import Wire
from tests.builders.frames import ethernet, ipv4, tcp

MS: Final = 1_000_000
FRAME: Final = bytes(100)


def make_wire(seed: int = 7, **rules: Any) -> Wire:
    config = WireConfig(**{"delay_ns": 10 * MS, **rules})
    return Wire(seed=seed, link="r1-server", direction="forward", config=config)


def everything(wire: Wire, now_ns: int = NEVER_NS) -> list[Held]:
    """Takes all that is due."""
    taken = []
    while (packet := wire.take_due(now_ns)) is not None:
        wire.delivered += 1
        taken.append(packet)
    return taken


def in_their_time(wire: Wire) -> list[Held]:
    """The same, each at the time that it is due."""
    taken = []
    while (due_ns := wire.next_due_ns()) < NEVER_NS:
        taken += everything(wire, due_ns)
    return taken


def pass_through(wire: Wire, packets: int, gap_ns: int = MS) -> list[Held]:
    """Packets, one each `gap_ns`, each taken when it is due; those that left, in that order."""
    left = []
    for number in range(packets):
        now_ns = number * gap_ns
        left += everything(wire, now_ns)
        wire.arrive(FRAME, now_ns, 0)
    return left + everything(wire)


def numbers(packets: list[Held]) -> list[int]:
    return [packet[2] for packet in packets]


def due(packets: list[Held]) -> list[int]:
    return [packet[0] for packet in packets]


def flags(packets: list[Held]) -> list[int]:
    return [packet[5] for packet in packets]


def segment(port: int, payload: bytes = b"") -> bytes:
    packet = ipv4("10.0.0.1", "10.0.1.1", 6, tcp(port, 8000, 1, payload=payload))
    return ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, packet)

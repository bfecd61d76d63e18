"""A small pcapng writer (draft-ietf-opsawg-pcapng), and damaged ones of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    name: str
    snaplen: int = 160
    resolution: int | None = 9
    """if_tsresol; None: leave the option out (microseconds)."""
    link_type: int = 1
    offset_s: int | None = None
    received: int | None = None
    dropped: int | None = 0
    """None: no statistics block, as when dumpcap was killed."""


@dataclass(frozen=True)
class Packet:
    ticks: int
    """In the interface's resolution."""
    frame: bytes
    interface: int = 0
    size: int | None = None
    """On the wire, when more than the frame's bytes."""


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(f"{order}II", kind, length) + body + struct.pack(f"{order}I", length)


def section(order: str = "<") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface_block(interface: Interface, order: str = "<") -> bytes:
    options = option(order, 2, interface.name.encode())
    if interface.resolution is not None:
        options += option(order, 9, bytes([interface.resolution]))
    if interface.offset_s is not None:
        options += option(order, 14, struct.pack(f"{order}q", interface.offset_s))
    head = struct.pack(f"{order}HHI", interface.link_type, 0, interface.snaplen)
    return block(order, 1, head + options + option(order, 0, b""))


def packet_block(packet: Packet, snaplen: int, order: str = "<") -> bytes:
    kept = packet.frame[: snaplen or None]
    size = len(packet.frame) if packet.size is None else packet.size
    head = struct.pack(
        f"{order}IIIII",
        packet.interface,
        packet.ticks >> 32,
        packet.ticks & 0xFFFFFFFF,
        len(kept),
        size,
    )
    return block(order, 6, head + kept)


def statistics_block(number: int, interface: Interface, received: int, order: str = "<") -> bytes:
    assert interface.dropped is not None
    count = received if interface.received is None else interface.received
    options = option(order, 4, struct.pack(f"{order}Q", count))
    options += option(order, 5, struct.pack(f"{order}Q", interface.dropped))
    head = struct.pack(f"{order}III", number, 0, 0)
    return block(order, 5, head + options + option(order, 0, b""))


def pcapng(interfaces: Sequence[Interface], packets: Sequence[Packet], order: str = "<") -> bytes:
    """A whole file."""
    data = section(order)
    data += b"".join(interface_block(interface, order) for interface in interfaces)
    data += b"".join(
        packet_block(packet, interfaces[packet.interface].snaplen, order) for packet in packets
    )
    for number, interface in enumerate(interfaces):
        if interface.dropped is not None:
            received = sum(packet.interface == number for packet in packets)
            data += statistics_block(number, interface, received, order)
    return data

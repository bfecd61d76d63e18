"""Ethernet frames, byte by byte."""

from __future__ import annotations

import ipaddress
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, destination: str, ethertype: int, payload: bytes) -> bytes:
    return mac(destination) + mac(source) + struct.pack(">H", ethertype) + payload


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    fragment: int = 0,
) -> bytes:
    words = 5 + len(options) // 4
    return (
        struct.pack(
            ">BBHHHBBH4s4s",
            0x40 | words,
            0,
            words * 4 + len(payload),
            identification,
            fragment,
            ttl,
            protocol,
            0,
            ipaddress.IPv4Address(source).packed,
            ipaddress.IPv4Address(destination).packed,
        )
        + options
        + payload
    )


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    return (
        struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        + ipaddress.IPv6Address(source).packed
        + ipaddress.IPv6Address(destination).packed
        + payload
    )


def tcp(
    source_port: int,
    destination_port: int,
    sequence: int,
    acknowledgement: int = 0,
    *,
    flags: int = ACK,
    window: int = 502,
    payload: bytes = b"",
    options: bytes = b"",
) -> bytes:
    options += b"\0" * (-len(options) % 4)
    return (
        struct.pack(
            ">HHIIBBHHH",
            source_port,
            destination_port,
            sequence % 2**32,
            acknowledgement % 2**32,
            (5 + len(options) // 4) << 4,
            flags,
            window,
            0,
            0,
        )
        + options
        + payload
    )


def udp(source_port: int, destination_port: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def icmp(kind: int, code: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">BBHHH", kind, code, 0, 1, 1) + payload


def timestamps(value: int, echo: int) -> bytes:
    """As Linux writes them: two NOPs in front."""
    return struct.pack(">BBBBII", 1, 1, 8, 10, value, echo)


def sack(*blocks: tuple[int, int]) -> bytes:
    edges = [edge % 2**32 for block in blocks for edge in block]
    return struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 8 * len(blocks), *edges)

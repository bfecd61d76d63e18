"""Pages of the kernel's ring buffer, written by hand (kernel/trace/ring_buffer.c)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

PAGE_BYTES: Final = 4096
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31


def page(t_ns: int, *records: bytes, committed: int | None = None, flags: int = 0) -> bytes:
    """A page whose unused end is cut off."""
    data = b"".join(records)
    count = len(data) if committed is None else committed
    return struct.pack("<QQ", t_ns, count | flags) + data


def event(delta_ns: int, payload: bytes) -> bytes:
    """An event of at most 112 bytes."""
    padded = payload + bytes(-len(payload) % 4)
    return struct.pack("<I", delta_ns << 5 | len(padded) // 4) + padded


def large_event(delta_ns: int, payload: bytes) -> bytes:
    """An event that has its length, which counts itself, before its payload."""
    padded = payload + bytes(-len(payload) % 4)
    return struct.pack("<II", delta_ns << 5, len(payload) + 4) + padded


def time_extend(delta_ns: int) -> bytes:
    """More time than 27 bits can say."""
    low, high = delta_ns & (1 << 27) - 1, delta_ns >> 27
    return struct.pack("<II", low << 5 | TIME_EXTEND, high)


def time_stamp(t_ns: int) -> bytes:
    """An absolute time."""
    low, high = t_ns & (1 << 27) - 1, t_ns >> 27 & 0xFFFFFFFF
    return struct.pack("<II", low << 5 | TIME_STAMP, high)


def discarded(delta_ns: int, length: int) -> bytes:
    """An event that was taken back after others had been written behind it."""
    return struct.pack("<II", delta_ns << 5 | PADDING, length - 4) + bytes(length - 8)


def rest_empty(length: int) -> bytes:
    """Padding to the end of the page."""
    return struct.pack("<I", PADDING) + bytes(length - 4)


def payloads(walked_data: bytes, offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
    """The payloads that a walk has found."""
    return [walked_data[at : at + size] for at, size in zip(offsets, lengths, strict=True)]

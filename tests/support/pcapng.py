"""A second, plain reader of captures, independent of the one that the analysis uses
(draft-ietf-opsawg-pcapng): little-endian, as dumpcap writes it here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from testbed.events.link import MARKER_ETHERTYPE

_INTERFACE, _STATISTICS, _PACKET = 1, 5, 6
_DIGEST_BYTES = 128
"""The first bytes of a frame tell the packets of a test apart: TCP sequence numbers and IP ids."""


class CapturedFrame(NamedTuple):
    """One frame of a capture."""

    interface: str
    time_ns: int
    """CLOCK_REALTIME."""
    size_bytes: int
    """On the wire, not as cut by the capture."""
    data: bytes

    @property
    def digest(self) -> int:
        """CRC-32 of the first 128 bytes."""
        return zlib.crc32(self.data[:_DIGEST_BYTES])

    @property
    def ethertype(self) -> int:
        """What is in it."""
        return int.from_bytes(self.data[12:14], "big")

    @property
    def source_mac(self) -> str:
        """As in the manifest."""
        return self.data[6:12].hex(":")

    @property
    def addresses(self) -> tuple[str, str]:
        """IPv4 source and destination."""
        numbers = list(map(str, self.data[26:34]))
        return ".".join(numbers[:4]), ".".join(numbers[4:])


class Capture(NamedTuple):
    """A capture: its frames in the order of the file, and what it dropped by interface."""

    frames: list[CapturedFrame]
    """Without the testbed's markers."""
    markers: list[CapturedFrame]
    """Frames of the testbed itself, by which it knows that a capture is up to date."""
    dropped: dict[str, int]


def read_pcapng(path: Path) -> Capture:
    """All frames of a capture, and its own drops.

    Raises:
        AssertionError: a block does not end as it begins, or stamps are no nanoseconds.
    """
    data = path.read_bytes()
    names: list[str] = []
    frames: list[CapturedFrame] = []
    dropped: dict[str, int] = {}
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        body = data[position + 8 : position + length - 4]
        assert struct.unpack_from("<I", data, position + length - 4) == (length,)
        if kind == _INTERFACE:
            options = dict(_options(body[8:]))
            assert options[9] == b"\x09", "if_tsresol is 10**-9"
            names.append(options[2].decode())
        elif kind == _PACKET:
            number, high, low, captured, size = struct.unpack_from("<IIIII", body)
            frames.append(
                CapturedFrame(names[number], high << 32 | low, size, body[20 : 20 + captured])
            )
        elif kind == _STATISTICS:
            (number,) = struct.unpack_from("<I", body)
            options = dict(_options(body[12:]))
            dropped[names[number]] = int.from_bytes(options[5], "little")  # isb_ifdrop
        position += length
    return Capture(
        [frame for frame in frames if frame.ethertype != MARKER_ETHERTYPE],
        [frame for frame in frames if frame.ethertype == MARKER_ETHERTYPE],
        dropped,
    )


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, position)
        if code == 0:
            return
        yield code, data[position + 4 : position + 4 + length]
        position += 4 + (length + 3) // 4 * 4

"""A capture as columns: one row per packet."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures.blocks import CaptureInterface, RawCapture, read_blocks
from testbed.analysis.captures.digests import digests
from testbed.analysis.captures.headers import decode_headers
from testbed.analysis.threads import in_threads
from testbed.events.link import DIGEST_BYTES

ROW_BYTES: Final = DIGEST_BYTES
"""What is looked at of each packet: the digest's bytes; the longest header (Ethernet, IPv6, TCP:
114) fits in it."""
_CHUNK_PACKETS: Final = 1 << 15
"""Packets decoded at once: 4 MiB of headers, which stay in the cache while the columns are taken
from them."""

Int64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Packets:
    """Columns of equal length, in the order of the file; 0 where a packet has no such field.

    Addresses are keys (`testbed.analysis.captures.addresses`): an IPv4 address is its own number.
    """

    t_ns: Int64
    """CLOCK_REALTIME until `to_monotonic` has moved it."""
    interface: npt.NDArray[np.uint8]
    size: npt.NDArray[np.uint32]
    """Bytes on the wire, Ethernet header included."""
    captured: npt.NDArray[np.uint32]
    digest: npt.NDArray[np.uint32]
    """zlib.crc32 over the first DIGEST_BYTES, as in the relay's log."""
    ethertype: npt.NDArray[np.uint16]
    ip_id: npt.NDArray[np.uint16]
    """IPv4 identification; 0 for IPv6."""
    ip_tos: npt.NDArray[np.uint8]
    """Type of service or traffic class: DSCP and ECN."""
    ttl: npt.NDArray[np.uint8]
    protocol: npt.NDArray[np.uint8]
    """1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6; 0: no IP or a later fragment."""
    source: npt.NDArray[np.uint64]
    destination: npt.NDArray[np.uint64]
    source_port: npt.NDArray[np.uint16]
    """TCP and UDP; of ICMP its type."""
    destination_port: npt.NDArray[np.uint16]
    """TCP and UDP; of ICMP its code."""
    sequence: npt.NDArray[np.uint32]
    acknowledgement: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    """TCP flags FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128."""
    window: npt.NDArray[np.uint16]
    """As on the wire, unscaled."""
    overlong: npt.NDArray[np.bool_]
    """The TCP header claims more bytes than the segment has: some bit of it was flipped."""
    payload: npt.NDArray[np.uint32]
    """Bytes of TCP or UDP payload on the wire."""
    timestamp: npt.NDArray[np.uint32]
    """TSval (RFC 7323)."""
    timestamp_echo: npt.NDArray[np.uint32]
    sack_blocks: npt.NDArray[np.uint8]
    dsack: npt.NDArray[np.bool_]
    """The first SACK block reports a duplicate (RFC 2883)."""

    @property
    def count(self) -> int:
        """Number of packets."""
        return int(self.t_ns.size)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Packets:
        """The packets of these rows."""
        return Packets(*(getattr(self, f.name)[rows] for f in fields(self)))

    def drop(self, rows: npt.NDArray[np.intp]) -> None:
        """Leaves out a few packets, a column at a time: there is never a second copy of all."""
        if not rows.size:
            return
        spans = [slice(*span) for span in zip([0, *rows + 1], [*rows, self.count], strict=True)]
        for f in fields(self):
            column = getattr(self, f.name)
            setattr(self, f.name, np.concatenate([column[span] for span in spans]))


@dataclass(frozen=True, slots=True)
class Capture:
    """One node's capture."""

    interfaces: list[CaptureInterface]
    packets: Packets
    source_mac: npt.NDArray[np.uint64]
    """Per packet: not among its columns, which are kept for the whole analysis."""
    damage: list[str] = field(default_factory=list)
    """What could not be read, in words; empty for a whole file."""


def read_capture(path: Path) -> Capture:
    """Reads and decodes a pcapng file.

    Raises:
        RecordingError: it cannot be read, is no pcapng, or holds no Ethernet frames.
    """
    raw = read_blocks(path)
    packets, source_mac = _decode(raw)
    return Capture(raw.interfaces, packets, source_mac, raw.damage)


def _decode(raw: RawCapture) -> tuple[Packets, npt.NDArray[np.uint64]]:
    count = raw.stamp_ns.size
    packets, source_mac = _empty(count), np.zeros(count, np.uint64)
    packets.t_ns[:] = raw.stamp_ns
    packets.interface[:] = raw.interface
    packets.size[:] = raw.size
    packets.captured[:] = raw.captured

    def decode(first: int) -> None:
        chunk = slice(first, min(first + _CHUNK_PACKETS, count))
        rows = _rows(raw, chunk)
        packets.digest[chunk] = digests(rows, raw.captured[chunk])
        part = Packets(*(getattr(packets, f.name)[chunk] for f in fields(packets)))
        decode_headers(rows, part, source_mac[chunk])

    in_threads(decode, range(0, count, _CHUNK_PACKETS))
    return packets, source_mac


def _empty(count: int) -> Packets:
    types = {"t_ns": np.int64, "dsack": np.bool_, "overlong": np.bool_}
    types |= dict.fromkeys(("source", "destination"), np.uint64)
    types |= dict.fromkeys(("interface", "ip_tos", "ttl", "protocol", "flags"), np.uint8)
    types |= {"sack_blocks": np.uint8}
    narrow = ("ethertype", "ip_id", "source_port", "destination_port", "window")
    types |= dict.fromkeys(narrow, np.uint16)
    return Packets(*(np.zeros(count, types.get(f.name, np.uint32)) for f in fields(Packets)))


def _rows(raw: RawCapture, chunk: slice) -> npt.NDArray[np.uint8]:
    """The first ROW_BYTES of each packet, shape (packets, ROW_BYTES).

    Zero beyond what was captured.
    """
    starts = raw.start[chunk]
    width = ROW_BYTES // 4
    inside = starts + width <= raw.words.size
    if inside.all():
        windows = np.lib.stride_tricks.sliding_window_view(raw.words, width)
        rows = windows[starts]
    else:
        rows = np.zeros((starts.size, width), np.uint32)
        for row, start in enumerate(starts):
            tail = raw.words[start : start + width]
            rows[row, : tail.size] = tail
    data = rows.view(np.uint8)
    short = np.flatnonzero(raw.captured[chunk] < ROW_BYTES)
    if short.size:
        kept = np.arange(ROW_BYTES) < raw.captured[chunk][short, None]
        data[short] *= kept
    return data

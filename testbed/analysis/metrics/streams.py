"""TCP streams out of a capture's columns.

Every segment's place in its stream, without a loop over packets.

A stream is one direction of one connection. A 4-tuple that is used again begins a new stream with
its SYN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP: Final = 6
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
STREAM_BITS: Final = 42
"""Room for the offsets of one stream where streams are laid end to end; none carries 2 TiB either
side of its start."""


@dataclass(frozen=True, slots=True)
class Streams:
    """TCP packets (resets left out) by stream, within a stream in the order of the capture.

    All arrays have the shape (packets,). Offsets count from the first packet of the stream that was
    captured.
    """

    row: Int64
    """Row in the capture."""
    stream: Int64
    """Number of the stream, from 0."""
    start: Int64
    """Stream offset of the first byte; SYN and FIN take one each."""
    end: Int64
    """Stream offset after the last byte; equal to `start` for a pure acknowledgement."""

    @property
    def carries(self) -> Flags:
        """Whether a packet takes sequence numbers: data, SYN or FIN."""
        return self.end > self.start

    def take(self, rows: Flags | npt.NDArray[np.intp]) -> Streams:
        """Those packets."""
        return Streams(self.row[rows], self.stream[rows], self.start[rows], self.end[rows])

    def laid_out(self) -> tuple[Int64, Int64]:
        """Starts and ends on one axis, the streams end to end."""
        base = (self.stream << STREAM_BITS) + (1 << (STREAM_BITS - 1))
        return base + self.start, base + self.end


def connection_keys(
    packets: Packets, rows: npt.NDArray[np.integer] | slice = slice(None)
) -> npt.NDArray[np.uint64]:
    """A key per direction of a connection: of addresses and ports, in order; of `rows` or all."""
    ports = packets.source_port[rows].astype(np.uint64) << np.uint64(16)
    ports |= packets.destination_port[rows]
    key = (packets.source[rows] * _MIX ^ packets.destination[rows]) * _MIX
    mixed: npt.NDArray[np.uint64] = (key ^ (key >> np.uint64(31)) ^ ports) * _MIX
    return mixed


def connection_key(source: int, source_port: int, destination: int, destination_port: int) -> int:
    """The same for one direction: keys of addresses (captures.addresses) and ports."""
    with np.errstate(over="ignore"):
        ports = np.uint64(source_port) << np.uint64(16) | np.uint64(destination_port)
        key = (np.uint64(source) * _MIX ^ np.uint64(destination)) * _MIX
        return int((key ^ (key >> np.uint64(31)) ^ ports) * _MIX)


def streams(packets: Packets, rows: Flags | None = None) -> Streams:
    """The TCP streams of a capture, of the packets that `rows` marks or of all."""
    wanted = (packets.protocol == TCP) & ((packets.flags & RST) == 0)
    if rows is not None:
        wanted &= rows
    row = np.flatnonzero(wanted)
    key = connection_keys(packets, row)
    order = np.argsort(key, kind="stable")
    row, key = row[order], key[order]
    sequence, flags = packets.sequence[row], packets.flags[row]
    begins = np.ones(row.size, np.bool_)
    begins[1:] = key[1:] != key[:-1]
    begins |= _new_handshake(key, sequence, flags)
    stream = np.cumsum(begins) - 1
    steps = np.zeros(row.size, np.int64)
    steps[1:] = (sequence[1:] - sequence[:-1]).astype(np.int32)
    total = np.cumsum(np.where(begins, 0, steps))
    start = total - total[begins][stream] if row.size else total
    taken = packets.payload[row].astype(np.int64) + (flags & SYN > 0) + (flags & FIN > 0)
    return Streams(row.astype(np.int64), stream, start, start + taken)


def _new_handshake(
    key: npt.NDArray[np.uint64], sequence: npt.NDArray[np.uint32], flags: npt.NDArray[np.uint8]
) -> Flags:
    """SYNs that differ from the SYN before them on the same 4-tuple.

    Not one that was sent again.
    """
    new = np.zeros(key.size, np.bool_)
    syn = np.flatnonzero(flags & SYN)
    if syn.size:
        again = (key[syn][1:] == key[syn][:-1]) & (sequence[syn][1:] == sequence[syn][:-1])
        new[syn] = np.concatenate(([True], ~again))
    return new

"""What TCP did, as captures show it.

Sent again, came out of order, acknowledged twice, closed its window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets
from testbed.analysis.metrics.streams import ACK, FIN, RST, STREAM_BITS, SYN, Streams

Flags = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]


LOST, ARRIVED, CORRUPTED, NOT_OBSERVED = 0, 1, 2, -1
"""What became of a segment; a corrupted one fails its checksum, so that TCP never sees it."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Why segments were sent again: loss, corruption, spurious and unexplained add up."""

    retransmissions: int
    explained_by_loss: int
    """No earlier transmission of some of its bytes had arrived, and none of them was corrupted."""
    spurious: int
    """All its bytes had arrived: the acknowledgement was lost or late, or they were overtaken (if
    this one arrives too, the receiver reports it with a DSACK, RFC 2883)."""
    unexplained: int
    """Whether an earlier transmission arrived was not observed."""
    explained_by_corruption: int = 0
    """As by loss, but one of the earlier transmissions was corrupted."""
    spurious_by_reordering: int = 0
    """Of the spurious ones those with bytes that later segments had overtaken."""


def retransmitted(segments: Streams) -> Flags:
    """Segments with sequence numbers that were sent before (RFC 9293, 3.8.1), SYN and FIN included.

    Args:
        segments: what a host sent, only packets that carry sequence numbers, as its own capture has
            them.
    """
    if not segments.row.size:
        return np.zeros(0, np.bool_)
    start, end = segments.laid_out()
    highest = np.maximum.accumulate(end)
    again = np.zeros(start.size, np.bool_)
    again[1:] = (start[1:] < highest[:-1]) & (segments.stream[1:] == segments.stream[:-1])
    return again


def explain(segments: Streams, arrived: Int64, late: Flags | None = None) -> Explained:
    """Holds each retransmission against the fate of what was sent before it.

    Args:
        segments: as in `retransmitted`.
        arrived: per segment ARRIVED, LOST, CORRUPTED or NOT_OBSERVED.
        late: per segment whether it was overtaken (`overtaken`); None: none was.
    """
    again = retransmitted(segments)
    if not again.any():
        return Explained(0, 0, 0, 0)
    stretches = Stretches(segments)
    by = stretches.by

    def before(which: Flags) -> Flags:
        """Per stretch of each segment whether an earlier one among `which` covers it."""
        earlier: Flags = stretches.earliest(which)[stretches.covered] < by
        return earlier

    old = before(np.ones(arrived.size, np.bool_))
    # Of the bytes sent before, some had not come by any earlier transmission: surely, or as far as
    # was observed.
    gone = old & ~before((arrived == ARRIVED) | (arrived == NOT_OBSERVED))
    missing = stretches.any_of(gone) & again
    unsure = stretches.any_of(old & ~before(arrived == ARRIVED)) & again & ~missing
    corrupted = stretches.any_of(gone & before(arrived == CORRUPTED)) & again
    spurious = again & ~missing & ~unsure
    overtook = np.zeros(arrived.size, np.bool_)
    if late is not None and late.any():
        overtook = stretches.any_of(before(late)) & spurious
    return Explained(
        retransmissions=int(again.sum()),
        explained_by_loss=int((missing & ~corrupted).sum()),
        explained_by_corruption=int(corrupted.sum()),
        spurious_by_reordering=int(overtook.sum()),
        spurious=int(spurious.sum()),
        unexplained=int(unsure.sum()),
    )


def overtaken(segments: Streams, came_ns: Int64, came: Flags) -> Flags:
    """Segments that came after a later one of their stream (RFC 4737, 3.3).

    Args:
        segments: what a host sent, stream by stream.
        came_ns: when each came to its destination.
        came: whether it did.
    """
    late = np.zeros(came.size, np.bool_)
    rows = np.flatnonzero(came)
    if rows.size:
        rank = np.argsort(np.argsort(came_ns[rows], kind="stable"), kind="stable")
        # Later streams get higher numbers, so that none is the least of an earlier one.
        value = segments.stream[rows] * (rows.size + 1) + rank
        least = np.minimum.accumulate(value[::-1])[::-1]
        late[rows[:-1]] = least[1:] < value[:-1]
    return late


class Stretches:
    """The stream cut at every segment's start and end.

    Stretches of bytes that segments cover whole or not at all.

    Attributes:
        points: where the stretches begin, on one axis for all streams.
        first: per segment its first stretch.
        covered: the stretches of each segment, one segment after the other.
        by: the segment of each entry of `covered`.
    """

    def __init__(self, segments: Streams) -> None:
        start, end = segments.laid_out()
        self.count = int(segments.row.size)
        self.points = _distinct(np.concatenate((start, end)))
        self.first = np.searchsorted(self.points, start)
        spans = np.searchsorted(self.points, end) - self.first
        self._begins = np.concatenate(([0], np.cumsum(spans)[:-1]))
        self.by = np.repeat(np.arange(self.count), spans)
        self.covered = np.repeat(self.first - self._begins, spans) + np.arange(self.by.size)

    @property
    def stream(self) -> Int64:
        """Per stretch the stream that it belongs to."""
        return self.points >> STREAM_BITS

    def place(self, stream: Int64, offset: Int64) -> Int64:
        """The stretch that the byte at an offset of a stream lies in; -1: none was ever sent."""
        if not self.points.size:
            return np.full(stream.size, -1, np.int64)
        base = (stream << STREAM_BITS) + (1 << (STREAM_BITS - 1))
        place = np.searchsorted(self.points, base + offset, side="right") - 1
        known = (place >= 0) & (self.stream[np.maximum(place, 0)] == stream)
        # The last point of a stream begins nothing.
        last = np.append(self.stream[1:] != self.stream[:-1], True)
        return np.where(known & ~last[np.maximum(place, 0)], place, -1)

    def earliest(self, which: Flags) -> Int64:
        """Per stretch the first segment among `which` that covers it, or the number of segments."""
        first = np.full(self.points.size, self.count, np.int64)
        mine = which[self.by]
        # Backwards, so that the earliest is written last and stays.
        first[self.covered[mine][::-1]] = self.by[mine][::-1]
        return first

    def any_of(self, flags: Flags) -> Flags:
        """Per segment whether `flags`, one per entry of `covered`, holds anywhere in it."""
        return np.asarray(np.logical_or.reduceat(flags, self._begins), np.bool_)


def _distinct(values: Int64) -> Int64:
    """Sorted, each once. What TCP sends is nearly in order already, which timsort makes use of."""
    values = np.sort(values, kind="stable")
    fresh = np.ones(values.size, np.bool_)
    fresh[1:] = values[1:] != values[:-1]
    return values[fresh]


def arrivals(segments: Streams) -> tuple[Flags, Flags]:
    """Out-of-order and duplicate segments at a receiver.

    Args:
        segments: what a host received, only packets that carry sequence numbers, as its own capture
            has them.

    Returns:
        Per segment whether it lies beyond a byte that had not come yet, so that TCP must queue it
        (what TcpExt.TCPOFOQueue counts), and whether all its bytes had come before.
    """
    count = segments.row.size
    if not count:
        none = np.zeros(0, np.bool_)
        return none, none
    stretches = Stretches(segments)
    earliest = stretches.earliest(np.ones(count, np.bool_))
    stream = stretches.stream
    # The stretch that leads to the next stream belongs to none.
    last = np.append(stream[1:] != stream[:-1], True)
    base = stream * (count + 1)
    latest = np.maximum.accumulate(np.where(last, 0, earliest) + base) - base
    before = np.maximum(stretches.first - 1, 0)
    has_before = (stretches.first > 0) & (stream[before] == stream[stretches.first])
    place = np.arange(count)
    beyond = has_before & (latest[before] > place)
    fresh = stretches.any_of(earliest[stretches.covered] == stretches.by)
    return beyond, ~fresh


def duplicate_acks(packets: Packets, of: Streams) -> Flags:
    """Duplicate acknowledgements (RFC 5681, 2), per packet of `of`.

    No data, no SYN or FIN, same number and window as
    the packet of its stream before.

    As there is no telling from here whether data is outstanding, an acknowledgement that repeats an
    idle connection's number (a keep-alive's answer) counts too.
    """
    duplicate = np.zeros(of.row.size, np.bool_)
    if of.row.size < 2:
        return duplicate
    row, before = of.row[1:], of.row[:-1]
    duplicate[1:] = (
        (of.stream[1:] == of.stream[:-1])
        & (of.end[1:] == of.start[1:])
        & (of.start[1:] == of.end[:-1])
        & (packets.acknowledgement[row] == packets.acknowledgement[before])
        & (packets.window[row] == packets.window[before])
        & ((packets.flags[row] & (ACK | SYN | FIN | RST)) == ACK)
    )
    return duplicate


def zero_windows(packets: Packets, of: Streams) -> Flags:
    """Packets of `of` that advertise no room (RFC 9293, 3.8.6), handshake and end left out."""
    flags = packets.flags[of.row]
    closed: Flags = packets.window[of.row] == 0
    plain: Flags = (flags & (SYN | FIN | RST)) == 0
    return closed & plain

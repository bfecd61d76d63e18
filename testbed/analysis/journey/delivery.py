"""Which transmission brought a byte of a stream, and which one should have.

Rules:

- TCP hands bytes on in order: a byte is delivered when it and all bytes before it have come.
- The transmission that brought the last one of them to come is what a reader waited for: the
  critical one. Where it is not the first that carried those bytes, the time between the two is
  recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.hosts import HostStreams
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import RST, SYN, TCP, connection_keys
from testbed.analysis.metrics.tcp import Stretches, retransmitted
from testbed.units import NS_PER_MS

Int64 = npt.NDArray[np.int64]
_NEVER: Final = np.iinfo(np.int64).max
_CLOCKS_NS: Final = NS_PER_MS
"""Stamps of captures are CLOCK_REALTIME, moved to the clock of all others: this far at most."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Of many places in streams; shape (places,). NONE: not seen, or never delivered."""

    stream: Int64
    row: Int64
    """Row in the sender's capture of the critical transmission."""
    first_row: Int64
    """Row of the first transmission of the same bytes."""
    sent_ns: Int64
    first_sent_ns: Int64
    came_ns: Int64


class Deliveries:
    """The deliveries of all that one host sent.

    Attributes:
        host: it.
    """

    def __init__(self, host: HostStreams) -> None:
        self.host = host
        carries = host.sent.carries
        self._sent = sent = host.sent.take(carries)
        came_ns = host.came_ns[carries]
        self._stamps = host.packets.t_ns[sent.row]
        self._stretches = stretches = Stretches(sent)
        count = stretches.points.size
        self._first = stretches.earliest(np.ones(sent.row.size, np.bool_))
        # The smallest time is written last and stays.
        by = stretches.by[came_ns[stretches.by] != NONE]
        covered = stretches.covered[came_ns[stretches.by] != NONE]
        order = np.argsort(-came_ns[by], kind="stable")
        self._bringer = np.full(count, NONE, np.int64)
        self._bringer[covered[order]] = by[order]
        self._came_ns = np.append(came_ns, NONE)
        self._critical = self._in_order(count)
        self._again = self._retransmissions()
        self._handshakes = self._syns()
        self._streams = self._starts()
        self._resets: tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64]] | None = None

    def _in_order(self, count: int) -> Int64:
        """Per stretch the one, itself or before it in its stream, that came last."""
        came = np.where(self._bringer == NONE, _NEVER, self._came_ns[self._bringer])
        covered = self._first < self._sent.row.size
        came = np.where(covered, came, -1)  # the stretch between two streams
        rank = np.empty(count, np.int64)
        order = np.lexsort((np.arange(count), came))
        rank[order] = np.arange(count)
        stream = self._stretches.stream
        highest = np.maximum.accumulate(stream * (count + 1) + rank)
        critical: Int64 = order[highest - stream * (count + 1)]
        return critical

    def _retransmissions(self) -> dict[int, tuple[Int64, Int64]]:
        """By stream the rows of segments that were sent again, and of the first with these bytes.

        Without those whose first came before them all the same.
        """
        sent = self._sent
        again = np.flatnonzero(retransmitted(sent))
        first = self._first[self._stretches.place(sent.stream[again], sent.start[again])]
        came, first_came = self._came_ns[again], self._came_ns[first]
        needed = (first_came == NONE) | ((came != NONE) & (came < first_came))
        again, first = again[needed], first[needed]
        stream = sent.stream[again]
        return {
            int(one): (sent.row[again[stream == one]], sent.row[first[stream == one]])
            for one in np.unique(stream)
        }

    def _syns(self) -> dict[int, Int64]:
        """When the SYNs of each stream came, of streams in which more than one did."""
        syn = (self.host.packets.flags[self._sent.row] & SYN) != 0
        syn &= self._came_ns[:-1] != NONE
        stream, came_ns = self._sent.stream[syn], self._came_ns[:-1][syn]
        several, count = np.unique(stream, return_counts=True)
        return {int(one): np.sort(came_ns[stream == one]) for one in several[count > 1]}

    def syn_before(self, stream: Int64, t_ns: Int64) -> Int64:
        """When the last SYN by a time came, of streams in which several did; else NONE.

        Args:
            stream: numbers of streams, or NONE.
            t_ns: when each was answered, or NONE.
        """
        found = np.full(stream.size, NONE, np.int64)
        for place in np.flatnonzero(np.isin(stream, list(self._handshakes)) & (t_ns != NONE)):
            came_ns = self._handshakes[int(stream[place])]
            before = came_ns[came_ns <= t_ns[place]]
            if before.size:
                found[place] = before[-1]
        return found

    def _starts(self) -> dict[int, list[tuple[int, int, bool]]]:
        """Key of a connection's direction -> its streams: first time, number, began with a SYN."""
        sent = self.host.sent
        first = np.flatnonzero(np.diff(sent.stream, prepend=-1))
        rows = sent.row[first]
        packets = self.host.packets.take(rows)
        began = (packets.flags & SYN) != 0
        found: dict[int, list[tuple[int, int, bool]]] = {}
        for key, t_ns, stream, syn in zip(
            connection_keys(packets).tolist(),
            packets.t_ns.tolist(),
            sent.stream[first].tolist(),
            began.tolist(),
            strict=True,
        ):
            found.setdefault(key, []).append((t_ns, stream, syn))
        return found

    def stream_since(self, key: int, opened_ns: int) -> int:
        """The first stream of a 4-tuple's direction that began after a time; NONE: not captured.

        Args:
            key: as `connection_keys` makes them.
            opened_ns: when the client made its socket.
        """
        for t_ns, stream, syn in self._streams.get(key, ()):
            if t_ns >= opened_ns - _CLOCKS_NS and syn:
                return stream
        return NONE

    def reset_since(self, key: int, opened_ns: int, before_ns: int) -> int:
        """The row of the first reset of a connection's direction within a time; NONE: none.

        Args:
            key: as `connection_keys` makes them.
            opened_ns: when the client made its socket.
            before_ns: the end.
        """
        packets = self.host.packets
        if self._resets is None:
            rows = np.flatnonzero((packets.protocol == TCP) & ((packets.flags & RST) != 0))
            self._resets = rows, connection_keys(packets, rows)
        rows, keys = self._resets
        rows = rows[keys == np.uint64(key)]
        t_ns = packets.t_ns[rows]
        rows = rows[(t_ns >= opened_ns - _CLOCKS_NS) & (t_ns <= before_ns + _CLOCKS_NS)]
        return int(rows[0]) if rows.size else NONE

    def first_after_syn_ns(self, stream: int) -> int:
        """When the first segment without SYN of a stream left; NONE: none did."""
        rows = self.host.sent.row[self._place_of(stream)]
        rows = rows[(self.host.packets.flags[rows] & SYN) == 0]
        return int(self.host.packets.t_ns[rows].min()) if rows.size else NONE

    def repeated_until_ns(self, stream: int, before_ns: int) -> int:
        """When the last segment by a time came, of a stream whose first byte had come twice.

        NONE: it had not, by then.
        """
        here = self._place_of(stream)
        came_ns, start = self.host.came_ns[here], self.host.sent.start[here]
        carries = self.host.sent.carries[here]
        came = (came_ns != NONE) & (came_ns <= before_ns)
        if np.count_nonzero(came & carries & (start == 1)) < 2:
            return NONE
        return int(came_ns[came].max())

    def _place_of(self, stream: int) -> slice:
        """Where the packets of a stream lie among all that were sent."""
        first, end = np.searchsorted(self.host.sent.stream, (stream, stream + 1))
        return slice(int(first), int(end))

    def lookup(self, stream: Int64, end: Int64) -> Delivery:
        """What brought all bytes before `end`, SYN counted as one, of each stream.

        Args:
            stream: numbers of streams, or NONE.
            end: at least 1, or NONE.
        """
        known = (stream != NONE) & (end != NONE)
        place = self._stretches.place(np.where(known, stream, 0), np.where(known, end, 1) - 1)
        known &= place != NONE
        critical = self._critical[np.where(known, place, 0)] if self._critical.size else place
        brought = np.append(self._bringer, NONE)[critical]
        known &= brought != NONE
        bringer, first = np.where(known, brought, 0), np.append(self._first, 0)[critical]
        first = np.where(known, first, 0)

        def seen(values: Int64, index: Int64) -> Int64:
            return np.where(known, np.append(values, NONE)[index], NONE)

        row, stamps = self._sent.row, self._stamps
        return Delivery(
            stream=np.where(known, stream, NONE),
            row=seen(row, bringer),
            first_row=seen(row, first),
            sent_ns=seen(stamps, bringer),
            first_sent_ns=seen(stamps, first),
            came_ns=seen(self._came_ns[:-1], bringer),
        )

    def first(self, stream: Int64, end: Int64) -> tuple[Int64, Int64]:
        """The first transmission of the byte before `end` of each stream, whether it came or not.

        Returns:
            Its row in the host's capture, and when it left; NONE: not seen.
        """
        known = (stream != NONE) & (end != NONE)
        place = self._stretches.place(np.where(known, stream, 0), np.where(known, end, 1) - 1)
        known &= place != NONE
        first = np.append(self._first, self._sent.row.size)[np.where(known, place, -1)]
        return np.append(self._sent.row, NONE)[first], np.append(self._stamps, NONE)[first]

    def brought_back(self, stream: Int64, after_ns: Int64, before_ns: Int64) -> tuple[Int64, Int64]:
        """What of each stream was being brought back, if anything was for most of a time.

        Returns:
            Rows in the host's capture of its first transmission and of the one that brought it
            back, or would have, of the segment that took longest; NONE: nothing was.
        """
        rows, firsts = (np.full(stream.size, NONE, np.int64) for _ in range(2))
        for place in np.flatnonzero(np.isin(stream, list(self._again))):
            row, first_row = self._again[int(stream[place])]
            ends = np.minimum(self.host.packets.t_ns[row], before_ns[place])
            starts = np.maximum(self.host.packets.t_ns[first_row], after_ns[place])
            half_ns = (before_ns[place] - after_ns[place]) / 2
            # Together they are as long as their sum at most, which is found sooner.
            if np.maximum(ends - starts, 0).sum() > half_ns and _union_ns(starts, ends) > half_ns:
                longest = int(np.argmax(ends - starts))
                rows[place], firsts[place] = row[longest], first_row[longest]
        return firsts, rows


def _union_ns(starts: Int64, ends: Int64) -> int:
    """How long at least one of several times went on; those that end before they start are none."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    reached = np.maximum.accumulate(np.append(starts[:1], ends[:-1]))
    return int(np.maximum(ends - np.maximum(starts, reached), 0).sum())

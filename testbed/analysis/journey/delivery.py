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
from testbed.analysis.metrics.streams import SYN, connection_keys
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
        self.again_stream, self.again_ns = self._retransmissions()
        self._streams = self._starts()

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

    def _retransmissions(self) -> tuple[Int64, Int64]:
        again = np.flatnonzero(retransmitted(self._sent))
        return self._sent.stream[again], self._stamps[again]

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

    def sent_again(self, stream: Int64, after_ns: Int64, before_ns: Int64) -> npt.NDArray[np.bool_]:
        """Whether anything of each stream was sent again in a time."""
        base = np.int64(1) << 61
        found = np.zeros(stream.size, np.bool_)
        if not self.again_ns.size:
            return found
        origin = int(self.again_ns.min())
        span = int(self.again_ns.max()) - origin + 2
        key = self.again_stream * span + (self.again_ns - origin)
        key.sort()
        low = np.clip(after_ns - origin, 0, span - 1) + np.clip(stream, 0, base // span) * span
        high = np.clip(before_ns - origin, 0, span - 1) + np.clip(stream, 0, base // span) * span
        some = np.searchsorted(key, high, side="left") > np.searchsorted(key, low, side="left")
        return np.asarray(some & (stream != NONE), np.bool_)

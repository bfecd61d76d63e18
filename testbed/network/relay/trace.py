"""A capacity that follows a trace of opportunities, with a drop-tail queue before it. Pure.

Rules (those of Mahimahi's link_queue.cc, in our words):

- An opportunity carries `MTU_BYTES` of IP packets. A packet may need several; what is left of one
  goes to the next packet that waits already; what nobody waits for is gone.
- The queue is first come, first served and the opportunities are known, so the time at which a
  packet has left is known when it comes.
- After its last opportunity the trace begins again. Its time 0 is the start of the load.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Final

from testbed.network.relay.config import TraceConfig
from testbed.scenario.impairments import MTU_BYTES
from testbed.units import NS_PER_MS

_ETHERNET_BYTES: Final = 14


class TraceQueue:
    """The queue before one direction of a wire.

    Args:
        trace: opportunities and the queue's limit.
        start_ns: time 0 of the trace.
    """

    def __init__(self, trace: TraceConfig, start_ns: int) -> None:
        self._times_ms = trace.opportunities_ms
        self._period_ms = trace.opportunities_ms[-1]
        self._limit_packets = trace.queue_packets
        self._limit_bytes = trace.queue_bytes
        self._waiting: deque[tuple[int, int]] = deque()
        """(when it will have left, size) of each packet that has not left."""
        self._waiting_bytes = 0
        self.restart(start_ns)

    def restart(self, start_ns: int) -> None:
        """Begins the trace anew at `start_ns`; what waits leaves when it was to leave."""
        self._start_ns = start_ns
        self._index = -1
        self._left_bytes = 0

    def enqueue(self, size_bytes: int, now_ns: int) -> int | None:
        """When a frame that comes now will have left, in ns; None: the queue is full."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ns:
            self._waiting_bytes -= waiting.popleft()[1]
        if self._limit_packets is not None and len(waiting) >= self._limit_packets:
            return None
        if self._limit_bytes is not None and self._waiting_bytes + size_bytes > self._limit_bytes:
            return None
        left_ns = self._serve(size_bytes, now_ns)
        if waiting:
            left_ns = max(left_ns, waiting[-1][0])
        waiting.append((left_ns, size_bytes))
        self._waiting_bytes += size_bytes
        return left_ns

    def _serve(self, size_bytes: int, now_ns: int) -> int:
        """Uses up the opportunities that a frame needs; the time of the last one."""
        if self._index < 0 or self._time_ns(self._index) < now_ns:
            self._index = self._first_at_or_after(now_ns)
            self._left_bytes = MTU_BYTES
        needed = max(size_bytes - _ETHERNET_BYTES, 1)
        while needed > self._left_bytes:
            needed -= self._left_bytes
            self._index += 1
            self._left_bytes = MTU_BYTES
        self._left_bytes -= needed
        return self._time_ns(self._index)

    def _time_ns(self, index: int) -> int:
        period, place = divmod(index, len(self._times_ms))
        return self._start_ns + (period * self._period_ms + self._times_ms[place]) * NS_PER_MS

    def _first_at_or_after(self, now_ns: int) -> int:
        passed_ms = max(0, -(-(now_ns - self._start_ns) // NS_PER_MS))
        period, within_ms = divmod(passed_ms, self._period_ms)
        # An opportunity at the very end of a period is at the 0 of the next one, too.
        place = bisect_left(self._times_ms, within_ms)
        index = period * len(self._times_ms) + place
        if within_ms == 0 and period:
            last = bisect_left(self._times_ms, self._period_ms)
            index = (period - 1) * len(self._times_ms) + last
        return index

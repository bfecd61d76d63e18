"""What becomes of each packet on one direction of a wire. Pure: no I/O and no clock.

Rules:

- Packets are numbered from 0 in the order they come; what the rules do to a packet depends on its
  number (`fates`), never on the time. Only an outage and a capacity that follows a trace go by
  time, and the n-th data segment of a flow by what is in the packet.
- ``in + duplicated == delivered + lost + dropped + overflow + held`` at every moment; `Wire.check`
  asserts it.
- Packets depart in the order they came, but for those that a rule lets be overtaken: with a delay
  variation that says so, and those of `reorder`, which wait until the packets after them have gone.
- A change of the rules holds for the packets that come after it. What is on the wire already
  leaves when it was to leave, and where the rules keep the order nothing overtakes it.

Why two containers: packets in order are a queue (append and pop cost nothing); only where some may
overtake others it takes a heap.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, NamedTuple

from testbed.events.link import COPY, CORRUPTED, REASONS
from testbed.network.relay.config import WireConfig, WireCounts
from testbed.network.relay.fates import Fates, Special, flipped, reason_of
from testbed.network.relay.flows import SegmentCounter
from testbed.network.relay.held import NEVER_NS, Held
from testbed.network.relay.late import LatePackets
from testbed.network.relay.trace import TraceQueue
from testbed.scenario.impairments import Segments

_OUTAGE: Final = REASONS.index("outage")
_QUEUE_FULL: Final = REASONS.index("queue_full")


class Gone(NamedTuple):
    """A packet that came and is not on the wire."""

    reason: int
    """Index in REASONS."""
    number: int
    due_ns: int
    """When it would have left."""
    is_dropped: bool
    """By the full queue before a trace; else it is lost."""


class Wire:
    """One direction of a wire.

    Args:
        seed: of the run.
        link: the link's name.
        direction: ``forward`` or ``reverse``.
        config: its rules.
        start_ns: time 0 of a trace, until `start` says otherwise; before that there is no outage.
    """

    def __init__(
        self, *, seed: int, link: str, direction: str, config: WireConfig, start_ns: int = 0
    ) -> None:
        self.line: deque[Held] = deque()
        """Packets that leave in this order; `forwarder` appends and takes from it, too."""
        self.heap: list[Held] = []
        """Packets that may overtake one another, the next one due first."""
        self.late = LatePackets()
        """Packets that wait to be overtaken."""
        self.plain_until = 0
        """Packets with a smaller number are only delayed; see `arrive`."""
        self.arrived = self.lost = self.dropped = self.delivered = self.overflowed = 0
        self.duplicated = self.corrupted = 0
        self._order = 0
        self._start_ns = start_ns
        self._is_started = False
        self._queue = TraceQueue(config.trace, start_ns) if config.trace is not None else None
        self._segments: SegmentCounter | None = None
        self._config = config
        self._fates = Fates(seed=seed, link=link, direction=direction, wire=config)
        self.change(config)

    def change(self, config: WireConfig) -> None:
        """New rules, for the packets that come from now on; a trace stays what it was."""
        if not isinstance(config.loss, Segments):
            self._segments = None
        elif self._segments is None or config.loss != self._config.loss:
            self._segments = SegmentCounter(config.loss)
        self._config = config
        self.delay_ns = config.delay_ns
        self._overtaking = config.variation is not None and config.variation.overtaking
        self._is_plain = not (
            config.outages or self._queue or self._segments or config.variation is not None
        )
        self._fates.change(config, self.arrived)
        # Decided now and not at the first packet: NumPy loads its generators when they are first
        # used, which takes 30 ms.
        self._next_block()
        self.plain_until = self.arrived

    def start(self, start_ns: int) -> None:
        """The load starts: time 0 of outages and traces."""
        self._start_ns = start_ns
        self._is_started = True
        if self._queue is not None:
            self._queue.restart(start_ns)

    def arrive(self, frame: bytes, arrival_ns: int, digest: int) -> Gone | None:
        """Takes the next packet; what is lost or dropped is returned, what is held is not.

        Packets with a number below `plain_until` need not come here: who moves many of them may
        count them in `arrived` and append to `line`, with due time arrival + `delay_ns`, himself.
        """
        number = self.arrived
        self.arrived = number + 1
        if number >= self._block.end:
            self._next_block()
        special = self._block.specials.get(number)
        due_ns = arrival_ns + self.delay_ns
        offsets_ns = self._block.offsets_ns
        if offsets_ns is not None:
            due_ns = max(due_ns + offsets_ns[number - self._block.first], arrival_ns)
        if special is not None or not self._is_plain:
            gone = self._take((due_ns, 0, number, arrival_ns, frame, 0, digest), special)
        else:
            gone = None
            due_ns = self._in_order_ns(due_ns)
            self.line.append((due_ns, 0, number, arrival_ns, frame, 0, digest))
        # A delay that was shortened: the packets of the longer one go first.
        if self._is_plain and self._in_order_ns(due_ns) <= arrival_ns + self.delay_ns:
            self._find_plain()
        return gone

    def _in_order_ns(self, due_ns: int) -> int:
        """When a packet is due that would be due at `due_ns` and overtakes nothing."""
        if self.line:
            due_ns = max(due_ns, self.line[-1][0])
        if self.heap:  # left by rules that let packets overtake one another
            due_ns = max(due_ns, *(packet[0] for packet in self.heap))
        return due_ns

    def _next_block(self) -> None:
        self._block = self._fates.block()
        self._coming = deque(self._block.specials)

    def _find_plain(self) -> None:
        """Sets `plain_until` to the next packet that something befalls, or nothing is known of."""
        coming = self._coming
        while coming and coming[0] < self.arrived:
            coming.popleft()
        self.plain_until = coming[0] if coming else self._block.end

    def _take(self, packet: Held, special: Special | None) -> Gone | None:
        """A packet that something befalls, or may."""
        due_ns, _, number, arrival_ns, frame, flags, digest = packet
        if self._queue is not None:
            left_ns = self._queue.enqueue(len(frame), arrival_ns)
            if left_ns is None:
                self.dropped += 1
                return Gone(_QUEUE_FULL, number, arrival_ns, True)
            due_ns += left_ns - arrival_ns
        reason = self._reason_lost(frame, arrival_ns, special)
        if reason:
            self.lost += 1
            return Gone(reason, number, due_ns, False)
        if special is not None and special.flip >= 0:
            frame, flags = flipped(frame, special.flip), CORRUPTED
            self.corrupted += 1
        if not self._overtaking:
            due_ns = self._in_order_ns(due_ns)
        packets = [(due_ns, self._next_order(), number, arrival_ns, frame, flags, digest)]
        if special is not None and special.copied:
            self.duplicated += 1
            flags |= COPY
            packets.append((due_ns, self._next_order(), number, arrival_ns, frame, flags, digest))
        if special is not None and special.extent and self._config.reorder is not None:
            self.late.hold(packets, special.extent, due_ns + self._config.reorder.within_ns)
        elif self._overtaking:
            for each in packets:
                heapq.heappush(self.heap, each)
        else:
            self.line.extend(packets)
        return None

    def _reason_lost(self, frame: bytes, arrival_ns: int, special: Special | None) -> int:
        """Why a packet is lost, 0: it is not. What goes by its number comes first."""
        if special is not None and special.lost:
            return special.lost
        if self._segments is not None and self._segments.is_lost(frame):
            return reason_of(self._config.loss)
        if not self._is_started:
            return 0
        since_start_ns = arrival_ns - self._start_ns
        for outage in self._config.outages:
            if outage.start_ns <= since_start_ns < outage.end_ns:
                return _OUTAGE
        return 0

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    @property
    def is_in_order(self) -> bool:
        """Whether all packets on the wire are in `line`."""
        return not self.heap and not self.late.is_in_use

    def take_due(self, now_ns: int) -> Held | None:
        """The next packet that is due at `now_ns`, which leaves the wire; None: there is none."""
        line = self.line
        if self.is_in_order:
            return line.popleft() if line and line[0][0] <= now_ns else None
        heap = self.heap
        from_line = bool(line) and (not heap or line[0][0] < heap[0][0])
        first = line[0] if from_line else heap[0] if heap else None
        # In the order of their times, also when many are due at once because somebody was late: a
        # packet does not give up waiting for others that were due before.
        late = self.late.take_ready(now_ns if first is None else min(now_ns, first[0]))
        if late is not None:
            return late
        if first is None or first[0] > now_ns:
            return None
        packet = line.popleft() if from_line else heapq.heappop(heap)
        self.late.pass_by(packet)
        return packet

    def next_due_ns(self) -> int:
        """When the next packet is due; `NEVER_NS`: none is."""
        due_ns = self.line[0][0] if self.line else NEVER_NS
        if self.heap:
            due_ns = min(due_ns, self.heap[0][0])
        if self.late.is_in_use:
            due_ns = min(due_ns, self.late.next_due_ns())
        return due_ns

    def held(self) -> list[Held]:
        """All packets on the wire."""
        return [*self.line, *sorted(self.heap), *self.late.packets()]

    def counts(self) -> WireCounts:
        """What became of all packets so far."""
        return WireCounts(
            arrived=self.arrived,
            delivered=self.delivered,
            lost=self.lost,
            dropped=self.dropped,
            duplicated=self.duplicated,
            corrupted=self.corrupted,
            reordered=self.late.overtaken,
            overflowed=self.overflowed,
            held=len(self.held()),
        )

    def check(self) -> None:
        """Asserts that no packet was made or forgotten.

        Raises:
            AssertionError: with the counts.
        """
        counts = self.counts()
        came = counts.arrived + counts.duplicated
        went = counts.delivered + counts.lost + counts.dropped + counts.overflowed + counts.held
        if came != went:
            raise AssertionError(f"{came} packets came or were made, {went} went: {counts}")

"""Packets that wait until others have overtaken them. Pure.

Rules:

- A packet of extent n is the n-th to leave after the first that came after it and left before
  (RFC 4737, 4.2: the reordering extent), and never leaves before its own time. Of two whose turn
  comes at once the earlier goes first, and the other has one more.
- Copies of duplicated packets count for nothing; a packet's own copy leaves with it.
- One that is not overtaken often enough in time leaves all the same; the log says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.events.link import COPY, GAVE_UP, OVERTAKEN
from testbed.network.relay.held import NEVER_NS, Held


@dataclass(slots=True, eq=False)
class _Late:
    packets: Sequence[Held]
    """The packet, and its copy if it has one."""
    due_ns: int
    """When it leaves at the earliest: its own time, or that of the last that overtook it."""
    give_up_ns: int
    missing: int
    """How many have yet to overtake it."""
    was_overtaken: bool = False

    @property
    def number(self) -> int:
        return self.packets[0][2]

    @property
    def leaves_ns(self) -> int:
        return self.due_ns if self.missing <= 0 else max(self.give_up_ns, self.due_ns)


class LatePackets:
    """Those of one direction."""

    def __init__(self) -> None:
        self._waiting: list[_Late] = []
        self._released: deque[Held] = deque()
        self.overtaken = 0
        """How many left after others that came later."""

    @property
    def is_in_use(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting or self._released)

    def hold(self, packets: Sequence[Held], extent: int, give_up_ns: int) -> None:
        """Takes a packet, with its copy if it has one, until `extent` others have left."""
        self._waiting.append(_Late(packets, packets[0][0], give_up_ns, extent))

    def pass_by(self, packet: Held) -> None:
        """Another packet leaves."""
        due_ns, _, number, _, _, flags, _ = packet
        if flags & COPY:
            return
        for late in self._waiting:
            if late.was_overtaken or number > late.number:
                late.missing -= 1
                late.was_overtaken = True
                if late.missing == 0:
                    late.due_ns = max(late.due_ns, due_ns)

    def take_ready(self, now_ns: int) -> Held | None:
        """The next packet that has waited long enough."""
        if self._released:
            return self._released.popleft()
        if not self._waiting:
            return None
        late = min(self._waiting, key=lambda waiting: (waiting.leaves_ns, waiting.number))
        if late.leaves_ns > now_ns:
            return None
        self._waiting.remove(late)
        self.overtaken += late.was_overtaken
        own = (OVERTAKEN if late.was_overtaken else 0) | (GAVE_UP if late.missing > 0 else 0)
        for _, order, number, arrival_ns, frame, flags, digest in late.packets:
            self._released.append(
                (late.leaves_ns, order, number, arrival_ns, frame, flags | own, digest)
            )
        packet = self._released.popleft()
        self.pass_by(packet)
        return packet

    def next_due_ns(self) -> int:
        """When the next one leaves if no other leaves before."""
        if self._released:
            return self._released[0][0]
        return min((late.leaves_ns for late in self._waiting), default=NEVER_NS)

    def packets(self) -> list[Held]:
        """All that wait."""
        return [*self._released, *(packet for late in self._waiting for packet in late.packets)]

"""What becomes of each packet on one direction of a wire. Pure: no I/O and no clock.

Rules:

- Packets are numbered from 0 in the order they come; a packet's fate depends on its number, never
  on the time.
- ``in == delivered + lost + overflow + held`` at every moment; `Wire.check` asserts it.
- Packets depart in the order they came: no impairment of this version lets one overtake another.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from testbed.network.relay.streams import Stream, threshold


class Held(NamedTuple):
    """A packet on the wire."""

    due_ns: int
    number: int
    arrival_ns: int
    size_bytes: int
    digest: int
    frame: bytes


class Wire:
    """One direction of a wire.

    Args:
        seed: of the run.
        link: the link's name.
        direction: ``forward`` or ``reverse``.
        delay_ns: one-way delay.
        loss_ratio: probability of loss, each packet independently.
    """

    def __init__(
        self, *, seed: int, link: str, direction: str, delay_ns: int, loss_ratio: float
    ) -> None:
        self._loss = Stream(seed, link, direction, "loss")
        self._loss_below = threshold(loss_ratio)
        self._delay_ns = delay_ns
        self.held: deque[Held] = deque()
        """Packets on the wire, the next one due first."""
        self.arrived = 0
        self.lost = 0
        self.delivered = 0
        self.overflowed = 0

    def is_lost(self, number: int) -> bool:
        """Whether the wire loses packet `number`."""
        return self._loss_below > 0 and self._loss.at(number) < self._loss_below

    def arrive(self, frame: bytes, arrival_ns: int, digest: int) -> Held | None:
        """Takes the next packet; what it lost is returned, what it holds is not."""
        number = self.arrived
        self.arrived = number + 1
        packet = Held(arrival_ns + self._delay_ns, number, arrival_ns, len(frame), digest, frame)
        if self.is_lost(number):
            self.lost += 1
            return packet
        self.held.append(packet)
        return None

    def check(self) -> None:
        """Asserts that no packet was made or forgotten.

        Raises:
            AssertionError: with the counts.
        """
        accounted = self.delivered + self.lost + self.overflowed + len(self.held)
        if self.arrived != accounted:
            raise AssertionError(
                f"{self.arrived} packets arrived, but {self.delivered} delivered + "
                f"{self.lost} lost + {self.overflowed} overflowed + {len(self.held)} held "
                f"= {accounted}"
            )

"""Reordering by paths of unequal length: what is to be expected of it (RFC 4737, 3.3).

Derivation. Packet i is sent at s(i) over a path with delay d and capacity c that sends in order,
one packet after the other. It has left at

    e(i) = max(s(i), e(j)) + b(i) / c        j: the packet before it on the same path, b: its bits

and arrives at a(i) = e(i) + d. It is reordered when a later one arrives before it: a(j) < a(i) for
some j > i. On one path alone a grows with i, so packets are overtaken by those of a shorter path
only.

Of two paths that packets take in turn, neither with a queue, a packet of the longer one is
overtaken if the next packet, which goes the shorter way, is sent within the difference D of their
delays: s(i+1) - s(i) < D. Packets of the shorter path never are. So

    ratio = (packets of the longer path that the next one follows within D) / (all packets)

which is at most 1/2, 0 where packets are further apart than D, and (1 - exp(-rate * D)) / 2 where
they are sent independently of one another (Poisson).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.units import NS_PER_S

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Path:
    """One of the ways that packets take."""

    delay_ns: int
    capacity_bit_s: int | None = None
    """None: nothing waits."""


def arrivals_ns(sent_ns: Int64, size_bytes: Int64, path: Int64, paths: Sequence[Path]) -> Int64:
    """When each packet arrives, in ns.

    Args:
        sent_ns: when it was sent, in the order of sending.
        size_bytes: on the wire.
        path: which of `paths` it takes, from 0.
        paths: what they are.
    """
    arrived = np.zeros(sent_ns.size, np.int64)
    for number, way in enumerate(paths):
        mine = np.flatnonzero(path == number)
        left = sent_ns[mine]
        if way.capacity_bit_s is not None:
            took = size_bytes[mine] * 8 * NS_PER_S // way.capacity_bit_s
            # e(i) - T(i) = max(s(i) - T(i-1), e(i-1) - T(i-1)), T: the sum of all times up to i.
            total = np.cumsum(took)
            left = np.maximum.accumulate(left - (total - took)) + total
        arrived[mine] = left + way.delay_ns
    return arrived


def reordered_in_turn(sent_ns: Int64, difference_ns: int, first_longer: int = 1) -> int:
    """How many of packets that take two paths in turn are reordered, where nothing waits.

    Args:
        sent_ns: when each was sent, in order.
        difference_ns: of the delays of the two paths.
        first_longer: number of the first packet that takes the longer one.
    """
    gaps = np.diff(sent_ns)
    return int((gaps[first_longer::2] < difference_ns).sum())


def poisson_ratio(rate_per_s: float, difference_ns: int) -> float:
    """Ratio of packets that are reordered when two paths are taken in turn at random times."""
    return (1 - math.exp(-rate_per_s * difference_ns / NS_PER_S)) / 2

"""Waits: when something waited at a stop, and how much of it (pure).

Rules:

- A wait is an interval with an amount. Waits of a stop may overlap: two requests wait at once.
- What is sampled stands until the next sample of the same thing (a socket, a queue); samples that
  follow one another without a gap are one wait.
- Totals are of the union: a time in which two requests waited counts once, so that no stop waits
  longer than the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Waits:
    """Intervals, all arrays of one shape."""

    started_ns: Int64
    ended_ns: Int64
    amount: Int64
    """What waited, in the unit of the stop."""
    wait: Int64
    """The number of the wait that each interval is a part of."""

    def within(self, start_ns: int, end_ns: int) -> Waits:
        """What of them lies in a time; what has no length is left out."""
        started, ended = np.maximum(self.started_ns, start_ns), np.minimum(self.ended_ns, end_ns)
        keep = ended > started
        return Waits(started[keep], ended[keep], self.amount[keep], self.wait[keep])

    @property
    def total_ns(self) -> int:
        """The time in which anything waited."""
        starts, ends = self.union()
        return int((ends - starts).sum())

    @property
    def count(self) -> int:
        """The number of waits."""
        return int(np.unique(self.wait).size)

    @property
    def longest_ns(self) -> int:
        """The longest single wait."""
        if not self.wait.size:
            return 0
        _, number = np.unique(self.wait, return_inverse=True)
        first = np.full(number.max() + 1, np.iinfo(np.int64).max)
        last = np.zeros(number.max() + 1, np.int64)
        np.minimum.at(first, number, self.started_ns)
        np.maximum.at(last, number, self.ended_ns)
        return int((last - first).max())

    @property
    def peak(self) -> int:
        """The most that waited at once."""
        return int(self.levels()[1].max(initial=0))

    def union(self) -> tuple[Int64, Int64]:
        """Starts and ends of the times in which anything waited, apart and in order."""
        if not self.started_ns.size:
            return self.started_ns, self.ended_ns
        order = np.argsort(self.started_ns, kind="stable")
        started = self.started_ns[order]
        reach = np.maximum.accumulate(self.ended_ns[order])
        fresh = np.ones(started.size, np.bool_)
        fresh[1:] = started[1:] > reach[:-1]
        first = np.flatnonzero(fresh)
        last = np.append(first[1:], started.size) - 1
        return started[first], reach[last]

    def levels(self) -> tuple[Int64, Int64]:
        """Times at which the amount changes, and the amount from then on."""
        times = np.concatenate((self.ended_ns, self.started_ns))
        change = np.concatenate((-self.amount, self.amount))
        # By time, ends before starts: the next sample of a queue takes the place of the last one.
        order = np.lexsort((np.repeat([0, 1], self.amount.size), times))
        times, level = times[order], np.cumsum(change[order])
        final = np.ones(times.size, np.bool_)
        final[:-1] = times[1:] != times[:-1]
        return times[final], level[final].astype(np.int64)

    def per_window(self, edges_ns: Int64) -> tuple[Int64, Int64]:
        """Of each window between two edges: the time waited and the most that waited at once."""
        starts, ends = self.union()
        done = np.concatenate(([0], np.cumsum(ends - starts)))
        place = np.searchsorted(starts, edges_ns, side="right")
        before = np.maximum(place - 1, 0)
        open_ns = np.zeros(edges_ns.size, np.int64)
        if starts.size:
            inside = np.minimum(edges_ns, ends[before]) - starts[before]
            open_ns = np.where(place > 0, inside, 0)
        waited = np.diff(done[before] + open_ns)
        times, level = self.levels()
        # The amount at a window's start was set by the last change up to then.
        first_place = np.searchsorted(times, edges_ns[:-1], side="right").tolist()
        last_place = np.searchsorted(times, edges_ns[1:], side="left").tolist()
        level = np.concatenate(([0], level))
        peaks = [
            int(level[first : last + 1].max())
            for first, last in zip(first_place, last_place, strict=True)
        ]
        return waited, np.array(peaks, np.int64)


def between(started_ns: Int64, ended_ns: Int64, amount: Int64 | None = None) -> Waits:
    """A wait from each start to its end, of one thing where no amount is given."""
    count = started_ns.size
    one = np.ones(count, np.int64) if amount is None else amount
    return Waits(
        started_ns.astype(np.int64),
        ended_ns.astype(np.int64),
        one,
        np.arange(count, dtype=np.int64),
    )


def sampled(t_ns: Int64, key: Int64, holds: Flags, amount: Int64) -> Waits:
    """The waits that samples show.

    Args:
        t_ns: times of the samples, rising within each key.
        key: what each sample is of.
        holds: whether it waited then.
        amount: how much waited.
    """
    order = np.argsort(key, kind="stable")
    t_ns, key, holds, amount = t_ns[order], key[order], holds[order], amount[order]
    follows = key[1:] == key[:-1]
    keep = np.flatnonzero(follows & holds[:-1])
    fresh = np.ones(keep.size, np.bool_)
    fresh[1:] = keep[1:] != keep[:-1] + 1
    return Waits(t_ns[keep], t_ns[keep + 1], amount[keep], np.cumsum(fresh))


def grown(t_ns: Int64, key: Int64, total_ns: Int64, amount: Int64, holds: Flags) -> Waits:
    """The waits that counters of waited time show: each increase lies before its sample.

    Args:
        t_ns: times of the samples, rising within each key.
        key: what each sample is of.
        total_ns: time waited so far.
        amount: how much waited.
        holds: samples whose increase counts.
    """
    order = np.argsort(key, kind="stable")
    t_ns, key, holds, amount = t_ns[order], key[order], holds[order], amount[order]
    more = np.diff(total_ns[order])
    gap = np.diff(t_ns)
    grew = (key[1:] == key[:-1]) & (more > 0) & holds[1:]
    keep = np.flatnonzero(grew)
    fresh = np.ones(keep.size, np.bool_)
    fresh[1:] = keep[1:] != keep[:-1] + 1
    # The kernel counts in ticks (4 ms at HZ=250): an increase may seem longer than its sample.
    length = np.minimum(more[keep], gap[keep])
    ended = t_ns[keep + 1]
    return Waits(ended - length, ended, amount[keep + 1], np.cumsum(fresh))


def outside(waits: Waits, others: Waits) -> Waits:
    """The parts of waits in which none of `others` goes on; each part is a wait of its own."""
    starts, ends = others.union()
    started: list[int] = []
    ended: list[int] = []
    for now, last in zip(waits.started_ns.tolist(), waits.ended_ns.tolist(), strict=True):
        place = int(np.searchsorted(ends, now, side="right"))
        while now < last and place < starts.size and starts[place] < last:
            if starts[place] > now:
                started.append(now)
                ended.append(int(starts[place]))
            now = max(now, int(ends[place]))
            place += 1
        if now < last:
            started.append(now)
            ended.append(last)
    return between(np.array(started, np.int64), np.array(ended, np.int64))


def joined(parts: list[Waits]) -> Waits:
    """All waits of several lists; those of different lists stay different waits."""
    first = 0
    numbers = []
    for part in parts:
        numbers.append(part.wait + first)
        first += int(part.wait.max(initial=-1)) + 1
    none = np.empty(0, np.int64)
    return Waits(
        np.concatenate([none, *(part.started_ns for part in parts)]),
        np.concatenate([none, *(part.ended_ns for part in parts)]),
        np.concatenate([none, *(part.amount for part in parts)]),
        np.concatenate([none, *numbers]),
    )

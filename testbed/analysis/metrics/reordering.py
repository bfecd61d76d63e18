"""Reordering (RFC 4737).

Sequence numbers are in the order of arrival, without duplicates (see `without_duplicates`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sequence = npt.NDArray[np.int64]


def without_duplicates(sequence: Sequence) -> Sequence:
    """The first arrival of each number (RFC 4737, 3: duplicates are removed first)."""
    _, first = np.unique(sequence, return_index=True)
    return sequence[np.sort(first)]


def reordered(sequence: Sequence) -> npt.NDArray[np.bool_]:
    """Type-P-Reordered (RFC 4737, 3.3): smaller than a number that arrived before."""
    if not sequence.size:
        return np.zeros(0, np.bool_)
    highest = np.maximum.accumulate(sequence)
    return np.concatenate(([False], sequence[1:] < highest[:-1]))


def reordered_ratio(sequence: Sequence) -> float | None:
    """Reordered ratio (RFC 4737, 4.1); None without packets."""
    return float(reordered(sequence).mean()) if sequence.size else None


def extents(sequence: Sequence) -> Sequence:
    """Reordering extent of each reordered packet (RFC 4737, 4.2).

    Arrivals since the first with a higher number.
    """
    late = np.flatnonzero(reordered(sequence))
    return late - _first_higher(sequence, late)


def late_times_ns(sequence: Sequence, arrival_ns: Sequence) -> Sequence:
    """Late-time offset of each reordered packet in ns (RFC 4737, 4.3).

    Time since the first arrival with a higher number.
    """
    late = np.flatnonzero(reordered(sequence))
    return arrival_ns[late] - arrival_ns[_first_higher(sequence, late)]


def degrees(sequence: Sequence) -> Sequence:
    """The largest n for which each reordered packet is n-reordered (RFC 4737, 5).

    Higher numbers right before it.

    0 for a reordered packet whose direct predecessor has a smaller number.
    """
    late = np.flatnonzero(reordered(sequence))
    lower = np.maximum(_last_lower(sequence, late)[late], _first_higher(sequence, late) - 1)
    return np.asarray(late - lower - 1, np.int64)


def n_reordered(sequence: Sequence, n: int) -> int:
    """Number of n-reordered packets (RFC 4737, 5); with n = 3 each makes three duplicate ACKs.

    Those with a higher number in each of the n places right before them.
    """
    late = np.flatnonzero(reordered(sequence))
    late = late[late >= n]
    for step in range(1, n + 1):
        late = late[sequence[late - step] > sequence[late]]
    return int(late.size)


def gaps(sequence: Sequence) -> Sequence:
    """Reordering gaps (RFC 4737, 4.5).

    Arrivals between the discontinuities of consecutive reordered packets.
    """
    late = np.flatnonzero(reordered(sequence))
    breaks = _first_higher(sequence, late)
    distance = np.diff(breaks)
    return distance[distance > 0].astype(np.int64)


def free_runs(sequence: Sequence) -> Sequence:
    """Reordering-free runs (RFC 4737, 4.6).

    In-order packets before each reordered one, the run at the end not counted.
    """
    late = np.flatnonzero(reordered(sequence))
    return np.diff(late, prepend=-1) - 1


def _first_higher(sequence: Sequence, late: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """For each row in `late` the first row with a higher number."""
    highest = np.maximum.accumulate(sequence)
    return np.searchsorted(highest, sequence[late], side="right")


def _last_lower(sequence: Sequence, late: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Per row the last row before it with a lower number, or -1; final only for rows in `late`.

    Every row points at the one before it. A row that points at no lower number takes over where
    that one points: all between are higher than that one, so higher than this. Pointers double
    their length each time, so that few rounds are needed whatever the order.
    """
    lower = np.arange(-1, sequence.size - 1)
    while late.size:
        here = lower[late]
        late, here = late[here >= 0], here[here >= 0]
        wrong = sequence[here] >= sequence[late]
        late, here = late[wrong], here[wrong]
        lower[late] = lower[here]
    return lower

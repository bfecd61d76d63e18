"""Intervals and samples over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]


def peak_overlap(started: Times, ended: Times) -> int:
    """The most intervals that were open at once.

    One that ends when another begins does not overlap it.
    """
    if not started.size:
        return 0
    times = np.concatenate((ended, started))
    change = np.concatenate((np.full(ended.size, -1), np.full(started.size, 1)))
    # lexsort's last key counts most: by time, ends before starts.
    order = np.lexsort((change, times))
    return int(np.cumsum(change[order]).max(initial=0))


def covered_ns(started: Times, ended: Times) -> int:
    """How long at least one of these intervals was open."""
    order = np.argsort(started, kind="stable")
    started, ended = started[order], np.maximum.accumulate(ended[order])
    before = np.append(started[:1], ended[:-1])
    return int(np.maximum(ended - np.maximum(started, before), 0).sum())


def held_ns(t_ns: Times, group: npt.NDArray[np.generic], holds: npt.NDArray[np.bool_]) -> int:
    """How long `holds` was true, each sample standing until the next one of its group.

    Args:
        t_ns: times of the samples, rising within each group.
        group: what each sample is of (a socket, a queue).
        holds: per sample.
    """
    if t_ns.size < 2:
        return 0
    _, number = np.unique(group, return_inverse=True)
    order = np.argsort(number, kind="stable")
    t_ns, number, holds = t_ns[order], number[order], holds[order]
    lasts = np.where(number[1:] == number[:-1], np.diff(t_ns), 0)
    return int(lasts[holds[:-1]].sum())

"""What the event loop of a process was doing at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.matching import NONE

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NextPoll:
    """The next time that a loop looked at its descriptors; NONE: not seen; shape (questions,)."""

    started_ns: Int64
    """When it began to wait for I/O; before the time asked for: it was waiting then."""
    ended_ns: Int64


class Loops:
    """The waits for I/O of every observed process."""

    def __init__(self, table: pl.DataFrame | None) -> None:
        self._waits: dict[str, tuple[Int64, Int64]] = {}
        if table is None:
            return
        waits = table.filter(pl.col("kind").cast(pl.String) == "io_wait").sort("started_ns")
        for (process,), mine in waits.group_by("process", maintain_order=True):
            self._waits[str(process)] = (
                mine["started_ns"].to_numpy().astype(np.int64),
                mine["ended_ns"].to_numpy().astype(np.int64),
            )

    def observed(self, process: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Whether each process's loop was."""
        return np.array([name in self._waits for name in process], np.bool_)

    def idle_ns(self, process: Sequence[str | None], from_ns: Int64, to_ns: Int64) -> Int64:
        """How long each process waited for I/O within a time; NONE: it was not observed."""
        idle = np.full(from_ns.size, NONE, np.int64)
        names = np.array([name or "" for name in process])
        for name, (starts, ends) in self._waits.items():
            mine = np.flatnonzero((names == name) & (from_ns != NONE) & (to_ns != NONE))
            to, since = (_waited_until(t_ns[mine], starts, ends) for t_ns in (to_ns, from_ns))
            idle[mine] = to - since
        return idle

    def next_poll(self, process: Sequence[str | None], t_ns: Int64) -> NextPoll:
        """The first wait for I/O of each process that ended at a time or later."""
        started, ended = (np.full(t_ns.size, NONE, np.int64) for _ in range(2))
        names = np.array([name or "" for name in process])
        for name, (starts, ends) in self._waits.items():
            mine = np.flatnonzero((names == name) & (t_ns != NONE))
            place = np.searchsorted(ends, t_ns[mine], side="left")
            started[mine] = np.append(starts, NONE)[place]
            ended[mine] = np.append(ends, NONE)[place]
        return NextPoll(started, ended)


def _waited_until(t_ns: Int64, starts: Int64, ends: Int64) -> Int64:
    """The sum of all waits up to each time."""
    waited = np.concatenate(([0], np.cumsum(ends - starts)))
    place = np.searchsorted(starts, t_ns, side="right")
    # The wait that had begun last may go on beyond.
    over = np.append(ends, 0)[place - 1] - t_ns
    return np.asarray(waited[place] - np.where(place > 0, np.maximum(over, 0), 0), np.int64)

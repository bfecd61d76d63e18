"""Stages of many requests at once, laid end to end.

Rules:

- Each request has a cursor that starts at its intended start and only moves on, so that its stages
  are contiguous and add up to its latency whatever they are.
- A stage ends at a milestone. Where a milestone was not seen, the time up to the next one that was
  is nobody's: it is unexplained, and no other stage swallows it.
- A milestone before the cursor takes no time: what it stands for was done in the shadow of what the
  request waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.journey.stage import UNEXPLAINED, Label, Part
from testbed.analysis.matching import NONE

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Stretches of time within requests, all with the same label; shape (intervals,)."""

    request: Int64
    """Row of its request on the tape."""
    started_ns: Int64
    ended_ns: Int64
    label: Label

    def take(self, rows: Flags, label: Label) -> Intervals:
        """Those that are marked, as something more exact."""
        return Intervals(self.request[rows], self.started_ns[rows], self.ended_ns[rows], label)

    def during(self, others: Intervals) -> Intervals:
        """What of them lies in others of the same request, which do not overlap one another."""
        mine, theirs = (
            pl.DataFrame({"request": one.request, "from": one.started_ns, "to": one.ended_ns})
            for one in (self, others)
        )
        both = mine.join(theirs, on="request").select(
            "request",
            pl.max_horizontal("from", "from_right").alias("from"),
            pl.min_horizontal("to", "to_right").alias("to"),
        )
        both = both.filter(pl.col("from") < pl.col("to"))
        request, start, end = (both[name].to_numpy() for name in ("request", "from", "to"))
        return Intervals(request, start, end, self.label)


@dataclass(frozen=True, slots=True)
class Stages:
    """All stages, by request and time; shape (stages,)."""

    request: Int64
    started_ns: Int64
    ended_ns: Int64
    code: Int64
    """Which of `labels`."""
    labels: list[Label]


class Tape:
    """The stages of requests; every array that is given has the shape (requests,).

    Attributes:
        cursor_ns: per request how far its stages go.
        part: of the journey; what is laid down belongs to it.
    """

    def __init__(self, intended_ns: Int64, ended_ns: Int64) -> None:
        self.cursor_ns = intended_ns.copy()
        self.part: Part = "start"
        self._ended_ns = ended_ns
        self._anchored = np.ones(intended_ns.size, np.bool_)
        self._codes: dict[Label, int] = {UNEXPLAINED: 0}
        self._parts: list[tuple[Int64, Int64, Int64, Int64]] = []

    @property
    def count(self) -> int:
        """Number of requests."""
        return int(self.cursor_ns.size)

    def code(self, label: Label) -> int:
        """The number of a label in this part of the journey."""
        return self._codes.setdefault(label._replace(part=self.part), len(self._codes))

    def codes(self, label: Label, where: Sequence[str]) -> Int64:
        """The numbers of a label at these nodes: few, many times each."""
        known = {node: self.code(label._replace(where=node)) for node in dict.fromkeys(where)}
        return np.array([known[node] for node in where], np.int64)

    def advance(self, to_ns: Int64, label: Label | Int64, applies: Flags | None = None) -> None:
        """One stage for each request, from its cursor to a milestone.

        Args:
            to_ns: the milestones, NONE where it was not seen.
            label: of the stage, or the number of one for each request.
            applies: the requests that have this stage; None: all.
        """
        seen = to_ns != NONE
        wanted = np.ones(self.count, np.bool_) if applies is None else applies
        rows = np.flatnonzero(wanted & seen)
        to = np.clip(to_ns[rows], self.cursor_ns[rows], self._ended_ns[rows])
        code = np.full(rows.size, self.code(label)) if isinstance(label, Label) else label[rows]
        code = np.where(self._anchored[rows], code, 0)
        self._put(rows, self.cursor_ns[rows], to, code)
        self.cursor_ns[rows] = to
        self._anchored[rows] = True
        self._anchored[wanted & ~seen] = False

    def cover(self, to_ns: Int64, between: Label, parts: Sequence[Intervals]) -> None:
        """The time from each cursor to a milestone, divided among intervals.

        Args:
            to_ns: the milestones, NONE where it was not seen.
            between: of the time in none of them.
            parts: where they overlap, the earlier one in this list counts.
        """
        whole = self._anchored & (to_ns != NONE)
        self.advance(to_ns, between, ~whole)
        to = np.clip(to_ns, self.cursor_ns, self._ended_ns)
        rows = np.flatnonzero(whole)
        self._sweep(self._bounds(rows, to, parts), [between, *(part.label for part in parts)])
        self.cursor_ns[rows] = to[rows]

    def _bounds(
        self, rows: npt.NDArray[np.intp], to: Int64, parts: Sequence[Intervals]
    ) -> tuple[Int64, Int64, Int64, Int64]:
        """Request, time, +1 or -1, and which part (0: the whole) of every begin and end."""
        whole = np.zeros(self.count, np.bool_)
        whole[rows] = True
        found = [(rows, self.cursor_ns[rows], to[rows], np.zeros(rows.size, np.int64))]
        for number, part in enumerate(parts, start=1):
            mine = (part.request != NONE) & whole[part.request]
            request = part.request[mine]
            start = np.maximum(part.started_ns[mine], self.cursor_ns[request])
            end = np.minimum(part.ended_ns[mine], to[request])
            some = end > start
            code = np.full(int(some.sum()), number, np.int64)
            found.append((request[some], start[some], end[some], code))
        request, start, end, code = (np.concatenate(column) for column in zip(*found, strict=True))
        step = np.repeat(np.array([1, -1], np.int64), request.size)
        return np.tile(request, 2), np.concatenate((start, end)), step, np.tile(code, 2)

    def _sweep(self, bounds: tuple[Int64, Int64, Int64, Int64], labels: Sequence[Label]) -> None:
        request, t_ns, step, which = bounds
        order = np.lexsort((t_ns, request))
        request, t_ns, step, which = request[order], t_ns[order], step[order], which[order]
        # What begins in a request ends in it, so that one running sum does for all requests.
        open_now = np.stack([np.cumsum(step * (which == k)) > 0 for k in range(len(labels))])
        code = np.array([self.code(label) for label in labels], np.int64)
        chosen = code[0] * np.ones(request.size, np.int64)
        for number in range(len(labels) - 1, 0, -1):
            chosen[open_now[number]] = code[number]
        inside = open_now[0][:-1] & (request[1:] == request[:-1])
        self._put(request[:-1][inside], t_ns[:-1][inside], t_ns[1:][inside], chosen[:-1][inside])

    def _put(self, request: Int64, start: Int64, end: Int64, code: Int64) -> None:
        some = end > start
        self._parts.append((request[some], start[some], end[some], code[some]))

    def stages(self) -> Stages:
        """All of them; what is left of each request is unexplained.

        Neighbours with the same label are one stage.
        """
        rest = np.arange(self.count)
        self._put(rest, self.cursor_ns, self._ended_ns, np.zeros(self.count, np.int64))
        request, start, end, code = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        order = np.lexsort((start, request))
        request, start, end, code = request[order], start[order], end[order], code[order]
        first = np.ones(request.size, np.bool_)
        first[1:] = (request[1:] != request[:-1]) | (code[1:] != code[:-1])
        last = np.append(first[1:], True) if request.size else first
        return Stages(request[first], start[first], end[last], code[first], list(self._codes))

"""The frames of a sampler's segments, by what they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from testbed.recording.segments import Frame


@dataclass(slots=True)
class Samples:
    """All frames of one kind, of all nodes, in the order they were written."""

    node: list[str] = field(default_factory=list)
    started_ns: list[int] = field(default_factory=list)
    ended_ns: list[int] = field(default_factory=list)
    payload: list[bytes] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """Appends a frame."""
        self.node.append(frame.node)
        self.started_ns.append(frame.started_ns)
        self.ended_ns.append(frame.ended_ns)
        self.payload.append(frame.payload)

    @property
    def t_ns(self) -> npt.NDArray[np.int64]:
        """The middle between a request and its answer.

        The moment that the state is of, to half that time.
        """
        started = np.array(self.started_ns, np.int64)
        return started + (np.array(self.ended_ns, np.int64) - started) // 2

    def of_node(self, node: str) -> Samples:
        """The frames of one node."""
        rows = [index for index, name in enumerate(self.node) if name == node]
        return Samples(
            [node] * len(rows),
            [self.started_ns[row] for row in rows],
            [self.ended_ns[row] for row in rows],
            [self.payload[row] for row in rows],
        )


def by_kind(frames: Iterable[Frame]) -> dict[str, Samples]:
    """Samples by kind; a kind that never occurs has none."""
    found: dict[str, Samples] = defaultdict(Samples)
    for frame in frames:
        found[frame.kind].add(frame)
    return found

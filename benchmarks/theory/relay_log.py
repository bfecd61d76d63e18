"""What the relay's own log says of a measurement: what was lost, and how late the relay was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from testbed.events.link import DIRECTIONS, FATES
from testbed.recording.layout import Layout
from testbed.recording.segments import Segment

_DATA_BYTES: Final = 1000
"""A frame of at least this size is a full segment: the others are ACKs and iperf3's control
connection.
"""


@dataclass(frozen=True, slots=True)
class DataLoss:
    """What became of the packets with data, of one direction of a link."""

    packets: int
    lost: int
    events: int
    """Losses, those within one round trip counted once."""

    @property
    def ratio(self) -> float:
        """Lost share of the packets."""
        return self.lost / self.packets


def data_loss(layout: Layout, link: str, direction: str, skip_ns: int, rtt_ns: int) -> DataLoss:
    """The data packets that came more than `skip_ns` after the first one."""
    records = _records(layout, link, direction)
    records = records[records["size_bytes"] >= _DATA_BYTES]
    records = records[records["arrival_ns"] - records["arrival_ns"].min() >= skip_ns]
    losses = np.sort(records["arrival_ns"][records["fate"] == FATES.index("lost")])
    events, ends_ns = 0, 0
    for arrival_ns in losses.tolist():
        if arrival_ns >= ends_ns:
            events, ends_ns = events + 1, arrival_ns + rtt_ns
    return DataLoss(packets=len(records), lost=len(losses), events=events)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much later than due packets left a direction of a link."""

    p50_ns: int
    p99_ns: int
    max_ns: int


def lateness(layout: Layout, link: str, direction: str) -> Lateness:
    """Of all packets that left it."""
    records = _records(layout, link, direction)
    left = records[records["fate"] == FATES.index("delivered")]
    late_ns = left["departure_ns"] - left["due_ns"]
    p50, p99, most = np.percentile(late_ns, [50, 99, 100], method="higher").tolist()
    return Lateness(p50_ns=int(p50), p99_ns=int(p99), max_ns=int(most))


def crossings(layout: Layout) -> list[tuple[str, str]]:
    """Every link that the relay served, with each direction."""
    found = sorted(layout.root.glob("segments/link.*"))
    return [(_link_of(path), direction) for path in found for direction in DIRECTIONS]


def _link_of(path: Path) -> str:
    return path.name.removeprefix("link.").split(".seg")[0]


def _records(layout: Layout, link: str, direction: str) -> Any:
    path = next(layout.root.glob(f"segments/link.{link}.seg*"))
    records = Segment(path).records()
    return records[records["direction"] == DIRECTIONS.index(direction)]

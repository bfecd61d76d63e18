"""Rule: the order over the whole network is that of each direction of each connection by itself,
and of what arrived.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.analysis.hosts import HostStreams
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import Streams
from testbed.analysis.metrics.tcp import ARRIVED, LOST, overtaken
from testbed.analysis.paths import path_order


def host(*streams: list[int]) -> HostStreams:
    """A host whose packets, stream by stream, came at these times; NONE: one did not come."""
    number = np.concatenate([np.full(len(s), i, np.int64) for i, s in enumerate(streams)])
    came = np.array([t for s in streams for t in s], np.int64)
    place = np.arange(came.size, dtype=np.int64)
    sent = Streams(place, number, place, place + 1)
    nothing: Any = None
    arrived = np.where(came != NONE, ARRIVED, LOST)
    return HostStreams("h", nothing, sent, sent, arrived, came, overtaken(sent, came, came != NONE))


def test_nothing_captured_is_no_figure_and_nothing_overtaken_is_zero() -> None:
    assert path_order([]) is None
    assert path_order([host([1, 2, 3])]) == {
        "reordered_packets": 0,
        "reordered_ratio": 0.0,
        "reordering_extent_packets_max": 0,
        "three_reordered_packets": 0,
    }
    assert path_order([host([NONE])]) == {
        "reordered_packets": 0,
        "reordered_ratio": None,
        "reordering_extent_packets_max": 0,
        "three_reordered_packets": 0,
    }


def test_a_packet_is_held_against_its_own_stream_only() -> None:
    # The second stream is slower as a whole, which overtakes nobody.
    assert path_order([host([1, 2, 3], [11, 12, 13])])["reordered_packets"] == 0  # type: ignore[index]
    # The first of four comes last: overtaken by three; of the other stream one by one.
    assert path_order([host([9, 1, 2, 3], [6, 5]), host([1, 2, NONE, 3])]) == {
        "reordered_packets": 2,
        "reordered_ratio": 2 / 9,
        "reordering_extent_packets_max": 3,
        "three_reordered_packets": 1,
    }


def test_what_was_lost_overtakes_nobody_and_is_not_overtaken() -> None:
    assert path_order([host([NONE, 5, NONE, 4])]) == {
        "reordered_packets": 1,
        "reordered_ratio": 0.5,
        "reordering_extent_packets_max": 1,
        "three_reordered_packets": 0,
    }

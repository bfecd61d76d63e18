"""The order in which packets cross the whole network, from host to host (RFC 4737).

Rules:

- A sequence is one direction of one TCP connection, in the order in which its sender's interface
  sent it: data, acknowledgements and retransmissions alike.
- It counts what arrived whole; of a packet that was copied the first arrival.

Why beside the order on each link: paths of unequal length reorder packets although no link does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.hosts import HostStreams
from testbed.analysis.links import N_REORDERED
from testbed.analysis.matching import NONE
from testbed.analysis.metrics import reordering

Int64 = npt.NDArray[np.int64]


def path_order(hosts: list[HostStreams]) -> dict[str, Any] | None:
    """Figures of reordering over all directions of all connections; None: none was captured."""
    if not hosts:
        return None
    arrived = sum(int((host.came_ns != NONE).sum()) for host in hosts)
    orders = [order for host in hosts for order in _orders_of_overtaken(host)]
    late = sum(int(reordering.reordered(order).sum()) for order in orders)
    extents = [reordering.extents(order) for order in orders]
    return {
        "reordered_packets": late,
        "reordered_ratio": late / arrived if arrived else None,
        "reordering_extent_packets_max": max(
            (int(one.max()) for one in extents if one.size), default=0
        ),
        "three_reordered_packets": sum(reordering.n_reordered(o, N_REORDERED) for o in orders),
    }


def _orders_of_overtaken(host: HostStreams) -> Iterator[Int64]:
    """The numbers of the packets of each stream in which one was overtaken, as they arrived."""
    came = host.came_ns != NONE
    for stream in np.unique(host.sent.stream[host.overtaken & came]):
        mine = np.flatnonzero(came & (host.sent.stream == stream))
        yield np.argsort(host.came_ns[mine], kind="stable").astype(np.int64)

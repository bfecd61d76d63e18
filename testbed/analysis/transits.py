"""The packets that routers and switches passed on, from coming in to going out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.evidence import Evidence, NodeCapture
from testbed.analysis.matching import NONE, datagram_keys, frame_keys, match_occurrences

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Transit:
    """The packets that a router or switch had to pass on."""

    node: str
    entered: int
    left: int
    dropped_t_ns: Int64
    """When each packet that never left had come."""
    dropped_row: Int64
    """Its row in the capture."""
    way: npt.NDArray[np.int64]
    """Per packet that left: the place in `Topology.ways` of the direction that it left over, or
    NONE."""
    size: npt.NDArray[np.int64]
    entered_ns: Int64
    left_ns: Int64
    entered_row: Int64
    """Its row in the capture when it came."""
    left_row: Int64
    """Its row in the capture when it left."""


def transits(evidence: Evidence) -> list[Transit]:
    """Every node that forwards and was captured at all its interfaces."""
    found = []
    for node, capture in evidence.captures.items():
        known = evidence.topology.nodes.get(node)
        captured = {interface.name for interface in capture.interfaces}
        if known is None or not evidence.topology.forwards(node):
            continue
        if all(interface.name in captured for interface in known.interfaces):
            found.append(_transit(evidence, capture, routed=known.role == "router"))
    return found


def _transit(evidence: Evidence, capture: NodeCapture, *, routed: bool) -> Transit:
    packets = capture.packets
    # dumpcap writes its interfaces in batches: the order in the file is not that in time.
    in_time = np.argsort(packets.t_ns, kind="stable")
    leaves = capture.outgoing[in_time]
    rows_in, rows_out = in_time[~leaves], in_time[leaves]
    if routed:
        own = np.array(sorted(evidence.topology.own_keys[capture.node]), np.uint64)
        ip_in, ip_out = packets.source[rows_in] != 0, packets.source[rows_out] != 0
        rows_in = rows_in[ip_in & ~np.isin(packets.destination[rows_in], own)]
        rows_out = rows_out[ip_out & ~np.isin(packets.source[rows_out], own)]
        keys_in = datagram_keys(packets, rows_in)
        keys_out = datagram_keys(packets, rows_out)
    else:
        keys_in = frame_keys(packets.digest[rows_in], packets.size[rows_in])
        keys_out = frame_keys(packets.digest[rows_out], packets.size[rows_out])
    partner = match_occurrences(keys_in, keys_out)
    passed = partner != NONE
    left_row, dropped_row = rows_out[partner[passed]], rows_in[~passed]
    names = [interface.name for interface in capture.interfaces]
    ways = list(evidence.topology.ways)
    by_interface = np.array(
        [
            ways.index(way) if (way := evidence.topology.sent_over.get((capture.node, n))) else NONE
            for n in names
        ],
        np.int64,
    )
    return Transit(
        node=capture.node,
        entered=int(rows_in.size),
        left=int(passed.sum()),
        dropped_t_ns=packets.t_ns[dropped_row],
        dropped_row=dropped_row.astype(np.int64),
        way=by_interface[packets.interface[left_row]],
        size=packets.size[left_row].astype(np.int64),
        entered_ns=packets.t_ns[rows_in[passed]],
        left_ns=packets.t_ns[left_row],
        entered_row=rows_in[passed].astype(np.int64),
        left_row=left_row.astype(np.int64),
    )

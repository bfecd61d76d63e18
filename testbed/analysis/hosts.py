"""What end hosts sent over TCP, each packet followed to the host that it was for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets
from testbed.analysis.evidence import Evidence, NodeCapture
from testbed.analysis.following import Followed
from testbed.analysis.matching import NONE, Keys, datagram_keys, match_occurrences
from testbed.analysis.metrics.streams import Streams, streams
from testbed.analysis.metrics.tcp import ARRIVED, CORRUPTED, LOST, NOT_OBSERVED, overtaken
from testbed.analysis.threads import in_threads

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HostStreams:
    """What one end host sent and received over TCP."""

    node: str
    packets: Packets
    sent: Streams
    received: Streams
    """Without what came damaged: TCP never sees it."""
    arrived: Int64
    """Per packet of `sent` ARRIVED, LOST, CORRUPTED, or NOT_OBSERVED where that host was not
    captured."""
    came_ns: Int64
    """Per packet of `sent` when it, or else its first copy, came to that host whole; NONE: it did
    not, or that host was not captured."""
    overtaken: npt.NDArray[np.bool_]
    """Per packet of `sent` whether a later one of its stream arrived before it (RFC 4737)."""


@dataclass(frozen=True, slots=True)
class _Part:
    capture: NodeCapture
    sent: Streams
    received: Streams


def host_streams(evidence: Evidence, followed: Followed) -> list[HostStreams]:
    """The TCP streams of every captured end host, each packet followed to its destination."""
    topology = evidence.topology
    captures = [
        capture
        for node, capture in sorted(evidence.captures.items())
        if node in topology.nodes and not topology.forwards(node)
    ]
    parts = in_threads(lambda capture: _part(capture, followed), captures)
    keys_out = [datagram_keys(part.capture.packets, part.sent.row) for part in parts]
    came_ns = _came_ns(parts, keys_out, followed)
    captured = {key for part in parts for key in evidence.topology.own_keys[part.capture.node]}
    seen = np.array(sorted(captured), np.uint64)
    sizes = np.cumsum([0, *(keys.size for keys in keys_out)])
    found = []
    for index, part in enumerate(parts):
        capture, out = part.capture, part.sent
        mine = came_ns[sizes[index] : sizes[index + 1]]
        observed = np.isin(capture.packets.destination[out.row], seen)
        spoiled = followed.spoiled[capture.node][out.row]
        fate = np.where(observed, np.where(spoiled, CORRUPTED, LOST), NOT_OBSERVED)
        arrived = np.where(mine != NONE, ARRIVED, fate)
        late = overtaken(out, mine, mine != NONE)
        found.append(
            HostStreams(capture.node, capture.packets, out, part.received, arrived, mine, late)
        )
    return found


def _part(capture: NodeCapture, followed: Followed) -> _Part:
    whole = ~capture.outgoing & ~followed.damaged[capture.node]
    sent = streams(capture.packets, capture.outgoing)
    return _Part(capture, sent, streams(capture.packets, whole))


def _came_ns(parts: list[_Part], keys_out: list[Keys], followed: Followed) -> Int64:
    """When each packet that hosts sent came to its host whole, NONE: it did not.

    A copy counts for a packet that did not come itself.
    """
    keys, times, copies = [], [], []
    for part in parts:
        packets, row = part.capture.packets, part.received.row
        keys.append(datagram_keys(packets, row))
        times.append(packets.t_ns[row])
        copies.append(followed.copy[part.capture.node][row])
    none = np.empty(0, np.int64)
    all_out = np.concatenate(keys_out or [none.astype(np.uint64)])
    all_in = np.concatenate(keys or [none.astype(np.uint64)])
    t_ns, copy = np.concatenate(times or [none]), np.concatenate(copies or [none.astype(np.bool_)])
    came = _times(all_out, all_in[~copy], t_ns[~copy])
    if copy.any():
        missing = np.flatnonzero(came == NONE)
        came[missing] = _times(all_out[missing], all_in[copy], t_ns[copy])
    return came


def _times(out: Keys, into: Keys, t_ns: Int64) -> Int64:
    return np.append(t_ns, NONE)[match_occurrences(out, into)]

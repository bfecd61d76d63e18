"""The packets of a recording on their way.

Over each direction of each link, through each forwarding node, from end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import Packets
from testbed.analysis.decode.link import DELIVERED, HELD, LOST, OVERFLOW
from testbed.analysis.decode.schema import schema_of
from testbed.analysis.evidence import Evidence, NodeCapture
from testbed.analysis.matching import (
    NONE,
    End,
    Keys,
    Wire,
    datagram_keys,
    frame_keys,
    inverse,
    match_occurrences,
    match_wire,
)
from testbed.analysis.metrics.streams import RST, TCP, Streams, streams
from testbed.analysis.topology import DirectionName, Way
from testbed.events.link import DIRECTIONS

Int64 = npt.NDArray[np.int64]


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """One packet's way over one direction of a link, as the captures at both ends saw it.

    A row of events/crossings.parquet.
    """

    link: str
    direction: DirectionName
    sent_ns: int | None
    """When it left the sender; None: seen only at the receiver."""
    received_ns: int | None
    """When it came to the receiver; None: lost on the way, or that end was not captured."""
    size_bytes: int
    relay_number: int | None
    """Its number in the relay's log."""
    sender_row: int | None
    """Its row in the sender's part of events/packets.parquet."""
    receiver_row: int | None


@dataclass(frozen=True, slots=True)
class Passage:
    """One direction of a link with all that was seen of it."""

    way: Way
    wire: Wire
    sender: NodeCapture | None
    receiver: NodeCapture | None
    sender_rows: npt.NDArray[np.intp] | None
    """Rows of the packets of this direction in the sender's capture."""
    receiver_rows: npt.NDArray[np.intp] | None
    records: npt.NDArray[np.void] | None
    """The relay's log of this direction, by number."""

    @property
    def held(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether the relay still held it at the end.

        None without its log.
        """
        if self.records is None or self.wire.to_relay is None:
            return None
        fate = np.append(self.records["fate"], 255)
        held: npt.NDArray[np.bool_] = fate[self.wire.to_relay] == HELD
        return held

    @property
    def unknown(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether the receiver's capture ends too early to tell its fate.

        None where all of it is there: then what did not come is lost.
        """
        wire, receiver = self.wire, self.receiver
        if wire.sent_ns is None or wire.received_ns is None or receiver is None or receiver.whole:
            return None
        last = int(wire.received_ns.max(initial=0))
        unknown: npt.NDArray[np.bool_] = wire.sent_ns + self.way.settings.delay_ns >= last
        return unknown

    @property
    def lost(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether it was lost on the wire.

        It never came, is not held, and its fate is known.
        """
        lost = self.wire.lost
        for other in (self.held, self.unknown):
            lost = lost if lost is None or other is None else lost & ~other
        return lost

    def fates(self) -> dict[str, int] | None:
        """How many packets of the relay's log met each fate; None without a log."""
        if self.records is None:
            return None
        counts = np.bincount(self.records["fate"], minlength=4)
        names = {"delivered": DELIVERED, "lost": LOST, "held": HELD, "overflow": OVERFLOW}
        return {name: int(counts[fate]) for name, fate in names.items()}


def passages(evidence: Evidence) -> list[Passage]:
    """Every direction of every link."""
    return [_passage(evidence, way) for way in evidence.topology.ways]


def _passage(evidence: Evidence, way: Way) -> Passage:
    settings = way.settings
    sender = evidence.captures.get(settings.sender)
    receiver = evidence.captures.get(settings.receiver)
    sent = sender.rows(settings.sender_interface, outgoing=True) if sender else None
    received = receiver.rows(settings.receiver_interface, outgoing=False) if receiver else None
    log = evidence.relay.get(way.link.name)
    records = None
    if log is not None:
        records = log[log["direction"] == DIRECTIONS.index(way.name)]
    wire = match_wire(
        _end(sender, sent),
        _end(receiver, received),
        None if records is None else frame_keys(records["digest"], records["size_bytes"]),
        None if records is None else records["fate"] == DELIVERED,
        None if records is None else records["departure_ns"].astype(np.int64),
    )
    return Passage(way, wire, sender, receiver, sent, received, records)


def _end(capture: NodeCapture | None, rows: npt.NDArray[np.intp] | None) -> End | None:
    if capture is None or rows is None:
        return None
    packets = capture.packets
    size = packets.size[rows]
    return End(packets.t_ns[rows], size, frame_keys(packets.digest[rows], size))


def crossing_table(passage: Passage) -> pl.DataFrame:
    """The rows of one direction, those sent in order, then those seen only at the receiver."""
    wire = passage.wire
    sent = 0 if wire.sent_ns is None else wire.sent_ns.size
    came = 0 if wire.received_ns is None else wire.received_ns.size
    to_receiver = np.full(sent, NONE, np.int64) if wire.to_receiver is None else wire.to_receiver
    alone = np.flatnonzero(inverse(to_receiver, came) == NONE)
    at_sender = np.concatenate((np.arange(sent), np.full(alone.size, NONE)))
    at_receiver = np.concatenate((to_receiver, alone))
    number = np.full(at_sender.size, NONE, np.int64)
    if passage.records is not None and wire.to_relay is not None:
        numbers = np.append(passage.records["number"].astype(np.int64), NONE)
        number[:sent] = numbers[wire.to_relay]
    size = _gather(wire.sent_bytes, at_sender, 0)
    size = np.where(at_sender == NONE, _gather(wire.received_bytes, at_receiver, 0), size)
    columns = {
        "sent_ns": _gather(wire.sent_ns, at_sender),
        "received_ns": _gather(wire.received_ns, at_receiver),
        "size_bytes": size,
        "relay_number": number,
        "sender_row": _gather(passage.sender_rows, at_sender),
        "receiver_row": _gather(passage.receiver_rows, at_receiver),
    }
    schema = schema_of(Crossing)
    table = pl.DataFrame(columns).with_columns(pl.all().replace(NONE, None))
    return table.select(
        pl.lit(passage.way.link.name, dtype=schema["link"]).alias("link"),
        pl.lit(passage.way.name, dtype=schema["direction"]).alias("direction"),
        *columns,
    )


def _gather(values: npt.NDArray[np.integer] | None, rows: Int64, none: int = NONE) -> Int64:
    if values is None or not values.size:
        return np.full(rows.size, none, np.int64)
    return np.where(rows == NONE, none, values[np.maximum(rows, 0)].astype(np.int64))


@dataclass(frozen=True, slots=True)
class Transit:
    """The packets that a router or switch had to pass on."""

    node: str
    entered: int
    left: int
    dropped_t_ns: Int64
    """When each packet that never left had come."""
    dropped_segments: int
    """How many of them are TCP, resets left out."""
    way: npt.NDArray[np.int64]
    """Per packet that left: the place in `Topology.ways` of the direction that it left over, or
    NONE."""
    size: npt.NDArray[np.int64]
    entered_ns: Int64
    left_ns: Int64
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
        keys_in = datagram_keys(packets.take(rows_in))
        keys_out = datagram_keys(packets.take(rows_out))
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
        dropped_segments=int(is_segment(packets, dropped_row).sum()),
        way=by_interface[packets.interface[left_row]],
        size=packets.size[left_row].astype(np.int64),
        entered_ns=packets.t_ns[rows_in[passed]],
        left_ns=packets.t_ns[left_row],
        left_row=left_row.astype(np.int64),
    )


def is_segment(packets: Packets, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Whether each of these packets is TCP and no reset, as in `streams`."""
    tcp: npt.NDArray[np.bool_] = packets.protocol[rows] == TCP
    resets: npt.NDArray[np.bool_] = (packets.flags[rows] & RST) != 0
    return tcp & ~resets


@dataclass(frozen=True, slots=True)
class HostStreams:
    """What one end host sent and received over TCP."""

    node: str
    packets: Packets
    sent: Streams
    received: Streams
    arrived: Int64
    """Per packet of `sent`: 1 it came to the host it was for, 0 it did not, -1 that host was not
    captured."""


def host_streams(evidence: Evidence) -> list[HostStreams]:
    """The TCP streams of every captured end host, each packet followed to its destination."""
    hosts = [
        capture
        for node, capture in sorted(evidence.captures.items())
        if node in evidence.topology.nodes and not evidence.topology.forwards(node)
    ]
    parts = [
        (
            capture,
            streams(capture.packets, capture.outgoing),
            streams(capture.packets, ~capture.outgoing),
        )
        for capture in hosts
    ]
    keys_in: list[Keys] = [datagram_keys(c.packets.take(into.row)) for c, _, into in parts]
    all_in = np.concatenate(keys_in) if keys_in else np.empty(0, np.uint64)
    captured = {key for capture in hosts for key in evidence.topology.own_keys[capture.node]}
    seen = np.array(sorted(captured), np.uint64)
    keys_out = [datagram_keys(c.packets.take(out.row)) for c, out, _ in parts]
    sizes = np.cumsum([0, *(keys.size for keys in keys_out)])
    all_out = np.concatenate(keys_out) if keys_out else np.empty(0, np.uint64)
    partner = match_occurrences(all_out, all_in)
    found = []
    for index, (capture, out, into) in enumerate(parts):
        mine = partner[sizes[index] : sizes[index + 1]]
        observed = np.isin(capture.packets.destination[out.row], seen)
        arrived = np.where(mine != NONE, 1, np.where(observed, 0, -1))
        found.append(HostStreams(capture.node, capture.packets, out, into, arrived))
    return found

"""The packets of a recording on their way.

Over each direction of each link, through each forwarding node, from end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.link import DELIVERED, DROPPED, HELD, LOST, OVERFLOW
from testbed.analysis.decode.schema import schema_of
from testbed.analysis.evidence import Evidence, NodeCapture
from testbed.analysis.matching import (
    NONE,
    End,
    Log,
    Wire,
    frame_keys,
    inverse,
    match_wire,
)
from testbed.analysis.periods import Periods, periods_of
from testbed.analysis.threads import in_threads
from testbed.analysis.topology import DirectionName, Way
from testbed.events.link import COPY, CORRUPTED, DIRECTIONS

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
    copy: bool
    """It is the second one of a packet that was duplicated."""
    corrupted: bool
    """It came with other bits than it was sent with."""


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
    """The relay's log of this direction, by number, a packet before its copy."""
    periods: Periods
    """Its settings over time."""

    @property
    def originals(self) -> npt.NDArray[np.void] | None:
        """The relay's log without copies: a record per packet that came to it."""
        if self.records is None:
            return None
        copies = (self.records["flags"] & COPY) != 0
        return self.records[~copies] if copies.any() else self.records

    def fate_is(self, fate: int) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether this was its fate on the relay; None without a log."""
        if self.records is None or self.wire.to_relay is None:
            return None
        fates = np.append(self.records["fate"], 255)
        found: npt.NDArray[np.bool_] = fates[self.wire.to_relay] == fate
        return found

    @property
    def held(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether the relay still held it at the end."""
        return self.fate_is(HELD)

    @property
    def dropped(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether the queue before a trace dropped it on the wire."""
        return self.fate_is(DROPPED)

    @property
    def unknown(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether the receiver's capture ends too early to tell its fate.

        None where all of it is there: then what did not come is lost.
        """
        wire, receiver = self.wire, self.receiver
        if wire.sent_ns is None or wire.received_ns is None or receiver is None or receiver.whole:
            return None
        last = int(wire.received_ns.max(initial=0))
        unknown: npt.NDArray[np.bool_] = wire.sent_ns + self.periods.longest_delay_ns >= last
        return unknown

    @property
    def lost(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether it was lost on the wire.

        It never came, is not held, no queue dropped it, and its fate is known.
        """
        lost = self.wire.lost
        for other in (self.held, self.dropped, self.unknown):
            lost = lost if lost is None or other is None else lost & ~other
        wire = self.wire
        if lost is None or wire.corrupted is None or wire.origin is None or wire.copy is None:
            return lost
        # What came corrupted without its packet being known is among the missing; which one it is
        # cannot be told, so the first ones stand for them.
        unknown = int((wire.corrupted & ~wire.copy & (wire.origin == NONE)).sum())
        lost = lost.copy()
        lost[np.flatnonzero(lost)[:unknown]] = False
        return lost

    def fates(self) -> dict[str, int] | None:
        """How many records of the relay's log have each fate, and how many are of copies.

        None without a log.
        """
        if self.records is None:
            return None
        counts = np.bincount(self.records["fate"], minlength=5)
        names = {"delivered": DELIVERED, "lost": LOST, "held": HELD, "overflow": OVERFLOW}
        names |= {"dropped": DROPPED}
        found = {name: int(counts[fate]) for name, fate in names.items()}
        return found | {"copies": int(((self.records["flags"] & COPY) != 0).sum())}


def passages(evidence: Evidence) -> list[Passage]:
    """Every direction of every link."""
    return in_threads(lambda way: _passage(evidence, way), evidence.topology.ways)


def _passage(evidence: Evidence, way: Way) -> Passage:
    settings = way.settings
    sender = evidence.captures.get(settings.sender)
    receiver = evidence.captures.get(settings.receiver)
    sent = sender.rows(settings.sender_interface, outgoing=True) if sender else None
    received = receiver.rows(settings.receiver_interface, outgoing=False) if receiver else None
    log = evidence.relay.get(way.link.name)
    records = None
    if log is not None:
        # They are sorted by direction: a slice, not a copy.
        place = DIRECTIONS.index(way.name)
        first, end = np.searchsorted(log["direction"], (place, place + 1))
        records = log[first:end]
    wire = match_wire(
        _end(sender, sent), _end(receiver, received), None if records is None else _log(records)
    )
    periods = periods_of(evidence.manifest, way)
    return Passage(way, wire, sender, receiver, sent, received, records, periods)


def _log(records: npt.NDArray[np.void]) -> Log:
    return Log(
        keys=frame_keys(records["digest"], records["size_bytes"]),
        sent_keys=frame_keys(records["sent_digest"], records["size_bytes"]),
        delivered=records["fate"] == DELIVERED,
        copy=(records["flags"] & COPY) != 0,
        corrupted=(records["flags"] & CORRUPTED) != 0,
        place=records["place"].astype(np.int64),
        number=records["number"].astype(np.int64),
    )


def _end(capture: NodeCapture | None, rows: npt.NDArray[np.intp] | None) -> End | None:
    if capture is None or rows is None:
        return None
    packets = capture.packets
    size = packets.size[rows]
    return End(packets.t_ns[rows], size, frame_keys(packets.digest[rows], size))


def crossing_table(passage: Passage) -> pl.DataFrame:
    """The rows of one direction, those sent in order, then what else came to the receiver.

    That is copies, which have the time of what they are copies of, and what nobody sent.
    """
    wire = passage.wire
    sent = 0 if wire.sent_ns is None else wire.sent_ns.size
    came = 0 if wire.received_ns is None else wire.received_ns.size
    nothing = np.full(sent, NONE, np.int64)
    to_receiver = nothing if wire.to_receiver is None else wire.to_receiver
    more = np.flatnonzero(inverse(to_receiver, came) == NONE)
    origin = np.full(came, NONE, np.int64) if wire.origin is None else wire.origin
    at_sender = np.concatenate((np.arange(sent), origin[more]))
    at_receiver = np.concatenate((to_receiver, more))
    number = nothing
    if passage.records is not None and wire.to_relay is not None:
        number = np.append(passage.records["number"].astype(np.int64), NONE)[wire.to_relay]
    size = _gather(wire.sent_bytes, at_sender, 0)
    size = np.where(at_sender == NONE, _gather(wire.received_bytes, at_receiver, 0), size)
    columns = {
        "sent_ns": _gather(wire.sent_ns, at_sender),
        "received_ns": _gather(wire.received_ns, at_receiver),
        "size_bytes": size,
        "relay_number": _gather(number, at_sender),
        "sender_row": _gather(passage.sender_rows, at_sender),
        "receiver_row": _gather(passage.receiver_rows, at_receiver),
    }
    marks = {"copy": wire.copy, "corrupted": wire.corrupted}
    schema = schema_of(Crossing)
    table = pl.DataFrame(columns).with_columns(pl.all().replace(NONE, None))
    return table.select(
        pl.lit(passage.way.link.name, dtype=schema["link"]).alias("link"),
        pl.lit(passage.way.name, dtype=schema["direction"]).alias("direction"),
        *columns,
        *(pl.Series(name, _mark(flags, at_receiver)) for name, flags in marks.items()),
    )


def _mark(flags: npt.NDArray[np.bool_] | None, rows: Int64) -> npt.NDArray[np.bool_]:
    if flags is None:
        return np.zeros(rows.size, np.bool_)
    marked: npt.NDArray[np.bool_] = np.append(flags, False)[rows]
    return marked


def _gather(values: npt.NDArray[np.integer] | None, rows: Int64, none: int = NONE) -> Int64:
    if values is None or not values.size:
        return np.full(rows.size, none, np.int64)
    return np.where(rows == NONE, none, values[np.maximum(rows, 0)].astype(np.int64))

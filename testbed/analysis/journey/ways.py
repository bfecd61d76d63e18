"""Packets on their way: over each link and through each node that passes them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.crossings import Passage
from testbed.analysis.evidence import Evidence
from testbed.analysis.matching import NONE
from testbed.analysis.transits import Transit

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Leg:
    """One link and the node behind it, of many packets; shape (packets,), NONE: not seen, or none.

    Packets that have fewer legs have NONE in all columns of the further ones.
    """

    passage: Int64
    """The place in `Ways.passages` of the link's direction."""
    size_bytes: Int64
    sent_ns: Int64
    """When it left the sender's interface, after its queue."""
    read_ns: Int64
    """When the relay had it."""
    due_ns: Int64
    """When the relay was to send it on."""
    received_ns: Int64
    """When it came to the receiver's interface."""
    left_ns: Int64
    """When it left a node that passes it on, over the next leg's link."""
    next_passage: Int64
    """The direction that it left over."""
    lost: Flags
    """It was lost on the wire: it did not come, or came damaged (RFC 7680, 2.5)."""
    queue_dropped: Flags
    """It came to a node that was to pass it on, and never left."""


class Ways:
    """The ways of packets through a recording.

    Attributes:
        passages: the directions of links.
    """

    def __init__(
        self, evidence: Evidence, passages: Sequence[Passage], transits: Sequence[Transit]
    ) -> None:
        self.passages = list(passages)
        self._names = sorted(evidence.captures)
        self._place = {name: place for place, name in enumerate(self._names)}
        self._passage: list[Int64] = []
        self._index: list[Int64] = []
        self._left: list[Int64] = []
        self._forwards = [evidence.topology.forwards(name) for name in self._names]
        self._stamps = [evidence.captures[name].packets.t_ns for name in self._names]
        for name in self._names:
            count = evidence.captures[name].packets.count
            for table in (self._passage, self._index, self._left):
                table.append(np.full(count, NONE, np.int64))
        for number, passage in enumerate(self.passages):
            rows = passage.sender_rows
            if rows is not None:
                node = self._place[passage.way.settings.sender]
                self._passage[node][rows] = number
                self._index[node][rows] = np.arange(rows.size)
        for transit in transits:
            self._left[self._place[transit.node]][transit.entered_row] = transit.left_row

    def walk(self, node: str, rows: Int64) -> list[Leg]:
        """Follows packets from the host that sent them.

        Args:
            node: the host.
            rows: of its capture, shape (packets,); NONE: no packet.

        Returns:
            The legs in order, as many as the longest way has.
        """
        legs: list[Leg] = []
        at = np.full(rows.size, self._place.get(node, NONE), np.int64)
        at[rows == NONE] = NONE
        row = rows.copy()
        while (at != NONE).any() and len(legs) <= len(self.passages):
            leg, at, row = self._step(at, row)
            if (leg.passage == NONE).all():
                break
            legs.append(leg)
        return legs

    def _step(self, at: Int64, row: Int64) -> tuple[Leg, Int64, Int64]:
        """The next leg, and where each packet is after it."""
        columns = {
            name: np.full(at.size, NONE, np.int64)
            for name in (
                "passage", "size_bytes", "sent_ns", "read_ns", "due_ns", "received_ns", "left_ns",
                "next_passage",
            )
        }  # fmt: skip
        lost, dropped = np.zeros(at.size, np.bool_), np.zeros(at.size, np.bool_)
        index = np.full(at.size, NONE, np.int64)
        for node in np.unique(at[at != NONE]):
            here = at == node
            columns["passage"][here] = self._passage[node][row[here]]
            index[here] = self._index[node][row[here]]
        next_at, next_row = np.full(at.size, NONE, np.int64), np.full(at.size, NONE, np.int64)
        for number in np.unique(columns["passage"][columns["passage"] != NONE]):
            mine = np.flatnonzero(columns["passage"] == number)
            came = self._cross(int(number), index[mine], mine, columns)
            lost[mine] = self._lost(int(number), index[mine])
            self._pass_on(int(number), mine, came, columns, dropped, next_at, next_row)
        return Leg(**columns, lost=lost, queue_dropped=dropped), next_at, next_row

    def _lost(self, number: int, index: Int64) -> Flags:
        """Which packets this wire lost or damaged; none where one end of it was not captured."""
        wire = self.passages[number].wire
        if wire.to_receiver is None:
            return np.zeros(index.size, np.bool_)
        partner = wire.to_receiver[index]
        lost = partner == NONE
        if wire.corrupted is not None:
            lost = lost | np.append(wire.corrupted, False)[partner]
        return np.asarray(lost, np.bool_)

    def _cross(
        self, number: int, index: Int64, mine: npt.NDArray[np.intp], columns: dict[str, Int64]
    ) -> Int64:
        """Fills in the wire; returns the rows at the receiver, NONE where nothing came."""
        passage = self.passages[number]
        wire, records = passage.wire, passage.records
        if wire.sent_ns is not None:
            columns["sent_ns"][mine] = wire.sent_ns[index]
        if wire.sent_bytes is not None:
            columns["size_bytes"][mine] = wire.sent_bytes[index]
        if records is not None and wire.to_relay is not None and len(records):
            record = wire.to_relay[index]
            for column, field in (("read_ns", "arrival_ns"), ("due_ns", "due_ns")):
                columns[column][mine] = np.where(record == NONE, NONE, records[field][record])
        if wire.to_receiver is None or passage.receiver_rows is None:
            return np.full(mine.size, NONE, np.int64)
        partner = wire.to_receiver[index]
        came = np.append(passage.receiver_rows, NONE)[partner].astype(np.int64)
        if wire.received_ns is not None:
            columns["received_ns"][mine] = np.append(wire.received_ns, NONE)[partner]
        return came

    def _pass_on(
        self,
        number: int,
        mine: npt.NDArray[np.intp],
        came: Int64,
        columns: dict[str, Int64],
        dropped: Flags,
        next_at: Int64,
        next_row: Int64,
    ) -> None:
        """Fills in the node behind the wire, and where packets are when they have left it."""
        node = self._place.get(self.passages[number].way.settings.receiver, NONE)
        if node == NONE or not self._forwards[node]:
            return
        arrived = came != NONE
        left = np.append(self._left[node], NONE)[came[arrived]]
        behind = mine[arrived]
        dropped[behind] = left == NONE
        gone, on = behind[left != NONE], left[left != NONE]
        columns["left_ns"][gone] = self._stamps[node][on]
        columns["next_passage"][gone] = self._passage[node][on]
        next_at[gone] = node
        next_row[gone] = on

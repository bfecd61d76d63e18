"""Which packet is which, in a sender's capture, a relay's log and a receiver's capture.

Rules:

- A packet is known by its digest and its size. Equal packets (a retransmitted handshake, say) are
  told apart by order: the k-th there is the k-th here. Losses among equal packets can then only be
  swapped with one another.
- With a relay's log nothing is guessed: every packet that was sent is in the log once, with its
  fate, and every delivered one is in the receiver's capture once; sender and receiver are matched
  through the log.
- Everything is sorting and searching over columns; no loop over packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

NONE: Final = -1
"""In an array of rows: there is no partner."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def match_occurrences(first: Keys, second: Keys) -> Rows:
    """For each key of `first` its row in `second`, or NONE: the k-th there is the k-th here."""
    if not first.size or not second.size:
        return np.full(first.size, NONE, np.int64)
    order, order_second = np.argsort(first, kind="stable"), np.argsort(second, kind="stable")
    keys, keys_second = first[order], second[order_second]
    index = np.arange(keys.size)
    begins = np.concatenate(([True], keys[1:] != keys[:-1]))
    occurrence = index - np.maximum.accumulate(np.where(begins, index, 0))
    place = np.searchsorted(keys_second, keys, side="left") + occurrence
    inside = np.minimum(place, keys_second.size - 1)
    found = (place < keys_second.size) & (keys_second[inside] == keys)
    partner = np.full(first.size, NONE, np.int64)
    partner[order[found]] = order_second[inside[found]]
    return partner


def inverse(partner: Rows, size: int) -> Rows:
    """The same matching seen from the other side, of `size` rows."""
    back = np.full(size, NONE, np.int64)
    matched = np.flatnonzero(partner != NONE)
    back[partner[matched]] = matched
    return back


def frame_keys(digest: npt.NDArray[np.uint32], size: npt.NDArray[np.uint32]) -> Keys:
    """Keys of whole frames, equal at both ends of a link and on both sides of a switch."""
    return digest.astype(np.uint64) << np.uint64(32) | size


def datagram_keys(packets: Packets) -> Keys:
    """Keys of IP packets from end to end: of header fields that routers leave alone.

    Not in it: addresses of layer 2, TTL, ECN marks and checksums. 0 for what is not IP.
    """
    key = packets.source * _MIX ^ packets.destination
    fields = (
        (packets.source_port, 16, packets.destination_port),
        (packets.sequence, 32, packets.acknowledgement),
        (packets.timestamp, 32, packets.timestamp_echo),
        (packets.payload, 32, packets.ip_id),
        (packets.window, 16, packets.flags),
    )
    for high, shift, low in fields:
        part = high.astype(np.uint64) << np.uint64(shift) | low
        key = (key ^ (key >> np.uint64(29)) ^ part) * _MIX
    return np.where(packets.source == 0, np.uint64(0), key | np.uint64(1))


@dataclass(frozen=True, slots=True)
class Wire:
    """One direction of a link with the partners of each packet.

    Rows of `sender` and `receiver` count the packets that crossed this direction as that end's
    capture has them, in its order; rows of `relay` are numbers in the relay's log.
    """

    sent_ns: Rows | None
    """When each packet left the sender, or None where that end was not captured."""
    received_ns: Rows | None
    sent_bytes: Rows | None
    received_bytes: Rows | None
    to_receiver: Rows | None
    """Per packet at the sender its row at the receiver."""
    to_relay: Rows | None
    """Per packet at the sender its row in the relay's log."""
    relay_to_receiver: Rows | None
    """Per packet in the relay's log its row at the receiver."""

    @property
    def lost(self) -> npt.NDArray[np.bool_] | None:
        """Per packet at the sender whether it never came, or None where an end was not captured."""
        return None if self.to_receiver is None else self.to_receiver == NONE


@dataclass(frozen=True, slots=True)
class End:
    """The packets of one direction at one end, in the order of that end's capture."""

    t_ns: Rows
    size: npt.NDArray[np.uint32]
    keys: Keys


def match_wire(
    sender: End | None,
    receiver: End | None,
    relay: Keys | None = None,
    delivered: npt.NDArray[np.bool_] | None = None,
    departure_ns: Rows | None = None,
) -> Wire:
    """Matches both ends of one direction, through the relay's log where there is one.

    Args:
        sender: what the sending end captured, or None where it was not captured.
        receiver: likewise.
        relay: keys of the relay's log in the order of numbers, or None without a log.
        delivered: per packet of the log whether it was delivered.
        departure_ns: per packet of the log when.
    """
    to_relay = relay_to_receiver = to_receiver = None
    if relay is not None and sender is not None:
        to_relay = match_occurrences(sender.keys, relay)
    if (
        relay is not None
        and receiver is not None
        and delivered is not None
        and departure_ns is not None
    ):
        rows = np.flatnonzero(delivered)
        rows = rows[np.argsort(departure_ns[rows], kind="stable")]
        relay_to_receiver = np.full(relay.size, NONE, np.int64)
        relay_to_receiver[rows] = match_occurrences(relay[rows], receiver.keys)
    if sender is not None and receiver is not None:
        complete = to_relay is not None and bool((to_relay != NONE).all())
        if complete and to_relay is not None and relay_to_receiver is not None:
            to_receiver = relay_to_receiver[to_relay]
        else:
            to_receiver = match_occurrences(sender.keys, receiver.keys)
    return Wire(
        sent_ns=None if sender is None else sender.t_ns,
        received_ns=None if receiver is None else receiver.t_ns,
        sent_bytes=None if sender is None else sender.size.astype(np.int64),
        received_bytes=None if receiver is None else receiver.size.astype(np.int64),
        to_receiver=to_receiver,
        to_relay=to_relay,
        relay_to_receiver=relay_to_receiver,
    )

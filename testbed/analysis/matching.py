"""Which packet is which, in a sender's capture, a relay's log and a receiver's capture.

Rules:

- A packet is known by its digest and its size. Equal packets (a retransmitted handshake, say) are
  told apart by order: the k-th there is the k-th here. Losses among equal packets can then only be
  swapped with one another.
- With a relay's log nothing is guessed: every packet that was sent is in the log once, with its
  fate, and every delivered one, as it left and copies included, is in the receiver's capture once;
  sender and receiver are matched through the log.
- Without a log a packet that came more often than it was sent was duplicated, and one that nobody
  sent was corrupted. Which one it was is said only where there is no choice.
- Everything is sorting and searching over columns; no loop over packets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets
from testbed.analysis.threads import in_threads

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NONE: Final = -1
"""In an array of rows: there is no partner."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def match_occurrences(first: Keys, second: Keys) -> Rows:
    """For each key of `first` its row in `second`, or NONE: the k-th there is the k-th here."""
    if not first.size or not second.size:
        return np.full(first.size, NONE, np.int64)
    if first.size == second.size and bool((first == second).all()):
        # A log that has what was captured in the same order, mostly: nothing needs sorting.
        return np.arange(first.size, dtype=np.int64)
    order, order_second = in_threads(_in_order, (first, second))
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


def _in_order(keys: Keys) -> Rows:
    return np.argsort(keys, kind="stable")


def inverse(partner: Rows, size: int) -> Rows:
    """The same matching seen from the other side, of `size` rows."""
    back = np.full(size, NONE, np.int64)
    matched = np.flatnonzero(partner != NONE)
    back[partner[matched]] = matched
    return back


def frame_keys(digest: npt.NDArray[np.uint32], size: npt.NDArray[np.uint32]) -> Keys:
    """Keys of whole frames, equal at both ends of a link and on both sides of a switch."""
    return digest.astype(np.uint64) << np.uint64(32) | size


def datagram_keys(packets: Packets, rows: npt.NDArray[np.integer] | slice = slice(None)) -> Keys:
    """Keys of IP packets from end to end, of `rows` or all: of fields that routers leave alone.

    Not in it: addresses of layer 2, TTL, ECN marks and checksums. 0 for what is not IP.
    """
    source = packets.source[rows]
    key = source * _MIX ^ packets.destination[rows]
    fields = (
        (packets.source_port, 16, packets.destination_port),
        (packets.sequence, 32, packets.acknowledgement),
        (packets.timestamp, 32, packets.timestamp_echo),
        (packets.payload, 32, packets.ip_id),
        (packets.window, 16, packets.flags),
    )
    for high, shift, low in fields:
        part = high[rows].astype(np.uint64) << np.uint64(shift) | low[rows]
        key = (key ^ (key >> np.uint64(29)) ^ part) * _MIX
    return np.where(source == 0, np.uint64(0), key | np.uint64(1))


@dataclass(frozen=True, slots=True)
class Wire:
    """One direction of a link with the partners of each packet.

    Rows of `sender` and `receiver` count the packets that crossed this direction as that end's
    capture has them, in its order; rows of `relay` are those of its log, by number, a packet before
    its copy.
    """

    sent_ns: Rows | None
    """When each packet left the sender, or None where that end was not captured."""
    received_ns: Rows | None
    sent_bytes: Rows | None
    received_bytes: Rows | None
    to_receiver: Rows | None
    """Per packet at the sender its row at the receiver; of a duplicated one that of the first."""
    to_relay: Rows | None
    """Per packet at the sender its row in the relay's log."""
    relay_to_receiver: Rows | None
    """Per packet in the relay's log its row at the receiver."""
    origin: Rows | None = None
    """Per packet at the receiver the row at the sender of what it is, or is a copy of."""
    copy: Flags | None = None
    """Per packet at the receiver whether it is the second one of a packet that was duplicated."""
    corrupted: Flags | None = None
    """Per packet at the receiver whether it came with other bits than it was sent with."""
    copied: Rows | None = None
    """Of each copy that was made (of which the log knows, else that came) its packet's row at the
    sender."""
    by_log: bool = False
    """Whether the last four are the log's word; else they are what the captures show."""

    @property
    def lost(self) -> Flags | None:
        """Per packet at the sender whether it never came, or None where an end was not captured."""
        return None if self.to_receiver is None else self.to_receiver == NONE

    @property
    def strangers(self) -> int | None:
        """How many packets came that nobody sent, as far as can be seen."""
        return None if self.origin is None else int((self.origin == NONE).sum())


@dataclass(frozen=True, slots=True)
class End:
    """The packets of one direction at one end, in the order of that end's capture."""

    t_ns: Rows
    size: npt.NDArray[np.uint32]
    keys: Keys


@dataclass(frozen=True, slots=True)
class Log:
    """What the relay's log says of one direction, by number, a packet before its copy."""

    keys: Keys
    """Of packets as they came to it."""
    sent_keys: Keys
    """Of packets as they left."""
    delivered: Flags
    copy: Flags
    corrupted: Flags
    place: Rows
    """Rises in the order of departure."""
    number: Rows


def match_wire(sender: End | None, receiver: End | None, log: Log | None = None) -> Wire:
    """Matches both ends of one direction, through the relay's log where there is one.

    Args:
        sender: what the sending end captured, or None where it was not captured.
        receiver: likewise.
        log: the relay's, or None without one.
    """
    to_relay = None if sender is None or log is None else _to_relay(sender, log)
    relay_to_receiver = None if receiver is None or log is None else _from_relay(log, receiver)
    ends = Wire(
        sent_ns=None if sender is None else sender.t_ns,
        received_ns=None if receiver is None else receiver.t_ns,
        sent_bytes=None if sender is None else sender.size.astype(np.int64),
        received_bytes=None if receiver is None else receiver.size.astype(np.int64),
        to_receiver=None,
        to_relay=to_relay,
        relay_to_receiver=relay_to_receiver,
    )
    if sender is None or receiver is None:
        return ends
    if log is None or to_relay is None or relay_to_receiver is None or (to_relay == NONE).any():
        return _by_captures(ends, sender, receiver)
    return _by_log(ends, log, to_relay, relay_to_receiver, receiver.t_ns.size)


def _to_relay(sender: End, log: Log) -> Rows:
    originals = np.flatnonzero(~log.copy)
    return _through(match_occurrences(sender.keys, log.keys[originals]), originals)


def _from_relay(log: Log, receiver: End) -> Rows:
    rows = np.flatnonzero(log.delivered)
    rows = rows[np.argsort(log.place[rows], kind="stable")]
    found = np.full(log.keys.size, NONE, np.int64)
    found[rows] = match_occurrences(log.sent_keys[rows], receiver.keys)
    return found


def _through(partner: Rows, rows: npt.NDArray[np.intp]) -> Rows:
    """The rows that partners among a selection of rows stand for."""
    return np.append(rows, NONE)[partner].astype(np.int64)


def _by_log(ends: Wire, log: Log, to_relay: Rows, relay_to_receiver: Rows, came: int) -> Wire:
    """Both ends through the log, which says of each packet what it is."""
    record = inverse(relay_to_receiver, came)
    # Per record that of the packet that it is a copy of.
    first = np.maximum.accumulate(np.where(log.copy, 0, np.arange(log.copy.size)))
    paired = log.number == log.number[first] if log.number.size else log.copy
    first = np.where(paired, first, NONE)
    back = np.append(inverse(to_relay, log.copy.size), NONE)
    origin = back[np.append(first, NONE)[record]]
    to_receiver = relay_to_receiver[to_relay]
    # Where the first one of a duplicated packet did not come, the second one did all the same.
    spare = np.flatnonzero(np.append(log.copy, False)[record] & (origin != NONE))
    spare = spare[to_receiver[origin[spare]] == NONE]
    to_receiver[origin[spare]] = spare
    copy = np.append(log.copy, False)[record]
    copy[spare] = False
    return replace(
        ends,
        to_receiver=to_receiver,
        origin=origin,
        copy=copy,
        corrupted=np.append(log.corrupted, False)[record],
        copied=back[first[log.copy]],
        by_log=True,
    )


def _by_captures(ends: Wire, sender: End, receiver: End) -> Wire:
    """Both ends from what they captured alone.

    A packet that came more often than it was sent is a copy. One that was never sent is a corrupted
    one, if it stands where just one packet of its size is missing.
    """
    to_receiver = match_occurrences(sender.keys, receiver.keys)
    came = receiver.keys.size
    origin = inverse(to_receiver, came)
    alone = np.flatnonzero(origin == NONE)
    copy = np.zeros(came, np.bool_)
    corrupted = np.zeros(came, np.bool_)
    if alone.size:
        again = first_of(sender.keys, receiver.keys[alone])
        copy[alone] = again != NONE
        origin[alone] = again
        alone = alone[again == NONE]
        changed = _changed(sender, receiver, to_receiver, alone)
        found = changed != NONE
        corrupted[alone] = True
        origin[alone] = changed
        # Of one that was changed and duplicated the first is the packet and the others its copies.
        _, first = np.unique(changed[found], return_index=True)
        rows = alone[found]
        to_receiver[changed[found][first]] = rows[first]
        copy[np.delete(rows, first)] = True
    copied = origin[copy]
    return replace(
        ends,
        to_receiver=to_receiver,
        origin=origin,
        copy=copy,
        corrupted=corrupted,
        copied=copied[copied != NONE],
    )


def first_of(first: Keys, wanted: Keys) -> Rows:
    """For each wanted key the row in `first` where it occurs first, or NONE."""
    if not first.size:
        return np.full(wanted.size, NONE, np.int64)
    order = np.argsort(first, kind="stable")
    place = np.minimum(np.searchsorted(first[order], wanted), first.size - 1)
    rows = order[place]
    return np.where(first[rows] == wanted, rows, NONE).astype(np.int64)


def _changed(sender: End, receiver: End, to_receiver: Rows, alone: npt.NDArray[np.intp]) -> Rows:
    """For each row at the receiver that nobody sent the missing packet that it may be, or NONE.

    It is one of the same size whose neighbours at the sender are those at the receiver, where there
    is just one like that.
    """
    found = np.full(alone.size, NONE, np.int64)
    missing = np.flatnonzero(to_receiver == NONE)
    if not missing.size or not alone.size:
        return found
    # Where the packets that came lie among those sent, as far as they keep the order.
    matched = inverse(to_receiver, receiver.keys.size)
    before = np.maximum.accumulate(np.where(matched == NONE, -1, matched))
    after = np.where(matched == NONE, sender.keys.size, matched)
    after = np.minimum.accumulate(after[::-1])[::-1]
    low = np.minimum(before[alone], after[alone])
    high = np.maximum(before[alone], after[alone])
    # By size, and within a size by place: how many of the missing lie between the neighbours.
    span = np.int64(sender.keys.size + 2)
    size = sender.size[missing].astype(np.int64)
    order = np.argsort(size * span + missing, kind="stable")
    keys = (size * span + missing)[order]
    wanted = receiver.size[alone].astype(np.int64) * span
    start = np.searchsorted(keys, wanted + np.maximum(low, 0))
    end = np.searchsorted(keys, wanted + high, side="right")
    single = end - start == 1
    found[single] = missing[order[start[single]]]
    return found

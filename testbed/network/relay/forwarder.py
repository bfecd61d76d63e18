"""Moves frames between TAP devices, each when it is due, and logs what became of every one.

Rules:

- One thread, no allocation that outlives a frame, the collector off: the same work for each frame.
- The frames that nothing befalls, nearly all, are handled in `Lane.read` and `Lane._write_line`
  without a call of our own: each would cost a tenth of all that a frame costs.
- Arrival is when the frame was read, departure when it was written; lateness is departure - due.
  Both are in the log, and the verdict is made from them: being late is recorded, never hidden.
- Reading goes before writing what is due within the same round, but in rounds of at most
  `_READ_AT_ONCE` frames a device, so that a flood on one device cannot make the others late.
- A change of the rules holds from its time on: for the packets that come then, whenever the thread
  gets to it.
- At the end what is still held is logged as held.
- A frame's digest is made when it comes: by the time it leaves it is out of the CPU's cache.
- The thread wakes `_SPIN_NS` before the next packet is due and then looks at the clock until it is:
  waking up takes 40 to 110 us here, even with a timer slack of 1 ns.

Why epoll(7) and select(2): epoll costs a third of select where somebody spins, and the same for one
device as for hundreds; but its timeout has milliseconds (before Python 3.14), that of select has
microseconds, and select can wait for an epoll.
"""

from __future__ import annotations

import os
import select
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from testbed.events.link import (
    CORRUPTED,
    DIGEST_BYTES,
    DIRECTIONS,
    FATES,
    MARKER_ETHERTYPE,
    REASONS,
    RELAY_RECORD,
)
from testbed.network.relay.config import WireConfig
from testbed.network.relay.held import NEVER_NS, Held
from testbed.network.relay.wire import Wire
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.units import NS_PER_S

_RECORD: Final = struct.Struct("<QqqqIIII")
"""RELAY_RECORD; its last four bytes are one number here, which is quicker to pack."""
_MAX_FRAME_BYTES: Final = 2048
"""More than MTU 1500 and its header; a frame that fills it was cut, and counts as overflow."""
_READ_AT_ONCE: Final = 64
_ROUND: Final = range(_READ_AT_ONCE)
_MARKER: Final = MARKER_ETHERTYPE.to_bytes(2, "big")
"""The testbed's own frames end at the wire, uncounted."""
_DELIVERED, _LOST, _HELD, _OVERFLOW, _DROPPED = range(len(FATES))
_NO_REASON, _STOPPED, _WRITE_FAILED = (
    REASONS.index(reason) for reason in ("", "stopped", "write_failed")
)


def open_log(descriptor: int, link: str) -> SegmentWriter:
    """The log of a link."""
    header = SegmentHeader(
        layout="records",
        source="link",
        process="relay",
        fields=RELAY_RECORD,
        about={"link": link},
    )
    return SegmentWriter(descriptor, header)


class Lane:
    """One direction of a link with its devices and its log."""

    def __init__(
        self, *, source: int, sink: int, wire: Wire, direction: str, log: SegmentWriter
    ) -> None:
        self.source = source
        self.wire = wire
        self._sink = sink
        self._direction = DIRECTIONS.index(direction)
        self._log = log
        self._whole = self._what(_DELIVERED, _NO_REASON)
        self._changes: deque[tuple[int, WireConfig]] = deque()
        self._next_change_ns = NEVER_NS

    def schedule(self, changes: Sequence[tuple[int, WireConfig]]) -> None:
        """New rules, each for the packets that come at its time (ns) or later, by time."""
        self._changes = deque(changes)
        self._next_change_ns = changes[0][0] if changes else NEVER_NS

    def _change(self, now_ns: int) -> None:
        """Takes the changes whose time has come."""
        while self._changes and self._changes[0][0] <= now_ns:
            self.wire.change(self._changes.popleft()[1])
        self._next_change_ns = self._changes[0][0] if self._changes else NEVER_NS

    def read(self) -> None:
        """Takes the frames that wait at the sending device."""
        wire, source = self.wire, self.source
        read, monotonic_ns, crc32 = os.read, time.monotonic_ns, zlib.crc32
        append = wire.line.append
        number, plain_until, delay_ns = wire.arrived, wire.plain_until, wire.delay_ns
        next_change_ns = self._next_change_ns
        try:
            for _ in _ROUND:
                frame = read(source, _MAX_FRAME_BYTES)
                if frame[12] == _MARKER[0] and frame[13] == _MARKER[1]:
                    continue
                now_ns = monotonic_ns()
                digest = crc32(frame[:DIGEST_BYTES])
                if number < plain_until and now_ns < next_change_ns:
                    append((now_ns + delay_ns, 0, number, now_ns, frame, 0, digest))
                    number += 1
                    continue
                wire.arrived = number
                self._arrive(frame, now_ns, digest)
                number, plain_until, delay_ns = wire.arrived, wire.plain_until, wire.delay_ns
                next_change_ns = self._next_change_ns
        except BlockingIOError:
            pass
        wire.arrived = number

    def _arrive(self, frame: bytes, now_ns: int, digest: int) -> None:
        """A frame that something befalls, or may."""
        if now_ns >= self._next_change_ns:
            self._change(now_ns)
        gone = self.wire.arrive(frame, now_ns, digest)
        if gone is not None:
            fate = _DROPPED if gone.is_dropped else _LOST
            times = (now_ns, gone.due_ns, 0)
            what = self._what(fate, gone.reason)
            self._log.append(_RECORD.pack(gone.number, *times, len(frame), digest, digest, what))

    def write_due(self, now_ns: int) -> int:
        """Writes what is due at `now_ns`; returns when the next one is, or a time far off."""
        if self.wire.is_in_order:
            self._write_line(now_ns)
        else:
            packet = self.wire.take_due(now_ns)
            while packet is not None:
                now_ns = self._write(packet, now_ns)
                packet = self.wire.take_due(now_ns)
        self._log.flush_if_full()
        return self.wire.next_due_ns()

    def _write_line(self, now_ns: int) -> None:
        """The same where all packets leave in the order they came."""
        line, sink, buffer, delivered_is = self.wire.line, self._sink, self._log.buffer, self._whole
        write, monotonic_ns, pack = os.write, time.monotonic_ns, _RECORD.pack
        delivered = 0
        while line and line[0][0] <= now_ns:
            packet = line.popleft()
            due_ns, _, number, arrival_ns, frame, flags, digest = packet
            size_bytes = len(frame)
            if flags or size_bytes >= _MAX_FRAME_BYTES:
                now_ns = self._write(packet, now_ns)
                continue
            try:
                write(sink, frame)
            except OSError:  # the device is down or out of memory: the emulator's fault
                self._overflow(packet)
                continue
            now_ns = monotonic_ns()
            # Each word by itself: a starred tuple among them would cost a twentieth of a frame.
            record = pack(
                number, arrival_ns, due_ns, now_ns, size_bytes, digest, digest, delivered_is
            )
            buffer += record
            delivered += 1
        self.wire.delivered += delivered

    def _write(self, packet: Held, now_ns: int) -> int:
        """Writes one packet of any kind; returns the time."""
        frame = packet[4]
        if len(frame) >= _MAX_FRAME_BYTES:  # cut: what is left of it must reach nobody
            self._overflow(packet)
            return now_ns
        try:
            os.write(self._sink, frame)
        except OSError:  # as above
            self._overflow(packet)
            return now_ns
        now_ns = time.monotonic_ns()
        self.wire.delivered += 1
        self._log_packet(packet, now_ns, _DELIVERED, _NO_REASON)
        return now_ns

    def _overflow(self, packet: Held) -> None:
        self.wire.overflowed += 1
        self._log_packet(packet, 0, _OVERFLOW, _WRITE_FAILED)

    def log_held(self) -> None:
        """Logs what is on the wire as held."""
        for packet in self.wire.held():
            self._log_packet(packet, 0, _HELD, _STOPPED)

    def _log_packet(self, packet: Held, departure_ns: int, fate: int, reason: int) -> None:
        due_ns, _, number, arrival_ns, frame, flags, digest = packet
        sent_digest = zlib.crc32(frame[:DIGEST_BYTES]) if flags & CORRUPTED else digest
        times = (arrival_ns, due_ns, departure_ns)
        what = self._what(fate, reason, flags)
        self._log.append(_RECORD.pack(number, *times, len(frame), digest, sent_digest, what))

    def _what(self, fate: int, reason: int, flags: int = 0) -> int:
        """The last four fields of a record, direction, fate, reason and flags, a byte each."""
        return self._direction | fate << 8 | reason << 16 | flags << 24


_FLUSH_NS: Final = NS_PER_S
_LONGEST_SLEEP_S: Final = 1.0
_SPIN_NS: Final = 100_000


def forward(
    lanes: Sequence[Lane],
    logs: Sequence[SegmentWriter],
    orders: int,
    on_orders: Callable[[], bool],
) -> None:
    """Moves frames until `on_orders` says that it is over; flushes the logs every second.

    Args:
        lanes: what is moved.
        logs: their logs.
        orders: a descriptor that is readable when there are orders.
        on_orders: takes them; whether to go on.
    """
    by_source = {lane.source: lane for lane in lanes}
    with select.epoll(len(lanes) + 1) as waiting:
        for descriptor in (orders, *by_source):
            waiting.register(descriptor, select.EPOLLIN)
        next_due_ns = NEVER_NS
        flush_ns = 0
        while True:
            wait_s = (next_due_ns - _SPIN_NS - time.monotonic_ns()) / NS_PER_S
            if wait_s > 0:
                select.select([waiting], [], [], min(wait_s, _LONGEST_SLEEP_S))
            for descriptor, _ in waiting.poll(0):
                if descriptor != orders:
                    by_source[descriptor].read()
                elif not on_orders():
                    return
            now_ns = time.monotonic_ns()
            next_due_ns = min(lane.write_due(now_ns) for lane in lanes)
            if now_ns >= flush_ns:
                flush_ns = now_ns + _FLUSH_NS
                for log in logs:
                    log.flush()

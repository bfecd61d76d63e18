"""Moves frames between TAP devices, each when it is due, and logs what became of every one.

Rules:

- One thread, no allocation that outlives a frame, the collector off: the same work for each frame.
- Arrival is when the frame was read, departure when it was written; lateness is departure - due.
  Both are in the log, and the verdict is made from them: being late is recorded, never hidden.
- Reading goes before writing what is due within the same round, but in rounds of at most
  `_READ_AT_ONCE` frames a device, so that a flood on one device cannot make the others late.
- A change of the rules holds from its time on: for the packets that come then, whenever the thread
  gets to it.
- At the end what is still held is logged as held.
- The thread wakes `_SPIN_NS` before the next packet is due and then looks at the clock until it is:
  waking up takes 40 to 110 us here, even with a timer slack of 1 ns.

Why select(2): its timeout has microseconds (epoll's has milliseconds before Python 3.14), and a
run has few devices.
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

_RECORD: Final = struct.Struct("<QqqqIIIBBBB")
_MAX_FRAME_BYTES: Final = 2048
"""More than MTU 1500 and its header; a frame that fills it was cut, and counts as overflow."""
_READ_AT_ONCE: Final = 64
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
        self._changes: deque[tuple[int, WireConfig]] = deque()
        self._next_change_ns = NEVER_NS

    def schedule(self, at_ns: int, config: WireConfig) -> None:
        """New rules for the packets that come at `at_ns` or later."""
        changes = sorted([*self._changes, (at_ns, config)], key=lambda change: change[0])
        self._changes = deque(changes)
        self._next_change_ns = changes[0][0]

    def _change(self, now_ns: int) -> None:
        """Takes the changes whose time has come."""
        while self._changes and self._changes[0][0] <= now_ns:
            self.wire.change(self._changes.popleft()[1])
        self._next_change_ns = self._changes[0][0] if self._changes else NEVER_NS

    def read(self) -> None:
        """Takes the frames that wait at the sending device."""
        wire, source = self.wire, self.source
        for _ in range(_READ_AT_ONCE):
            try:
                frame = os.read(source, _MAX_FRAME_BYTES)
            except BlockingIOError:
                return
            if frame[12:14] == _MARKER:
                continue
            now_ns = time.monotonic_ns()
            if now_ns >= self._next_change_ns:
                self._change(now_ns)
            gone = wire.arrive(frame, now_ns)
            if gone is not None:
                fate = _DROPPED if gone.is_dropped else _LOST
                digest = zlib.crc32(frame[:DIGEST_BYTES])
                times = (now_ns, gone.due_ns, 0)
                self._record(gone.number, times, len(frame), digest, digest, fate, gone.reason, 0)

    def write_due(self, now_ns: int) -> int:
        """Writes what is due at `now_ns`; returns when the next one is, or a time far off."""
        take_due, sink = self.wire.take_due, self._sink
        packet = take_due(now_ns)
        while packet is not None:
            frame = packet[4]
            if len(frame) >= _MAX_FRAME_BYTES:  # cut: what is left of it must reach nobody
                self._overflow(packet)
            else:
                try:
                    os.write(sink, frame)
                except OSError:  # the device is down or out of memory: the emulator's fault
                    self._overflow(packet)
                else:
                    now_ns = time.monotonic_ns()
                    self.wire.delivered += 1
                    self._log_packet(packet, now_ns, _DELIVERED, _NO_REASON)
            packet = take_due(now_ns)
        return self.wire.next_due_ns()

    def _overflow(self, packet: Held) -> None:
        self.wire.overflowed += 1
        self._log_packet(packet, 0, _OVERFLOW, _WRITE_FAILED)

    def log_held(self) -> None:
        """Logs what is on the wire as held."""
        for packet in self.wire.held():
            self._log_packet(packet, 0, _HELD, _STOPPED)

    def _log_packet(self, packet: Held, departure_ns: int, fate: int, reason: int) -> None:
        due_ns, _, number, arrival_ns, frame, flags, original = packet
        sent_digest = digest = zlib.crc32(frame[:DIGEST_BYTES])
        if original is not None:
            digest = zlib.crc32(original[:DIGEST_BYTES])
        times = (arrival_ns, due_ns, departure_ns)
        self._record(number, times, len(frame), digest, sent_digest, fate, reason, flags)

    def _record(
        self,
        number: int,
        times_ns: tuple[int, int, int],
        size_bytes: int,
        digest: int,
        sent_digest: int,
        fate: int,
        reason: int,
        flags: int,
    ) -> None:
        self._log.append(
            _RECORD.pack(
                number,
                *times_ns,
                size_bytes,
                digest,
                sent_digest,
                self._direction,
                fate,
                reason,
                flags,
            )
        )


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
    watched = [orders, *by_source]
    next_due_ns = NEVER_NS
    flush_ns = 0
    while True:
        wait_s = (next_due_ns - _SPIN_NS - time.monotonic_ns()) / 1e9
        ready, _, _ = select.select(watched, [], [], min(max(wait_s, 0.0), _LONGEST_SLEEP_S))
        for descriptor in ready:
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

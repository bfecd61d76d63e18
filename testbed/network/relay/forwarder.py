"""Moves frames between TAP devices, each when it is due, and logs what became of every one.

Rules:

- One thread, no allocation that outlives a frame, the collector off: the same work for each frame.
- Arrival is when the frame was read, departure when it was written; lateness is departure - due.
  Both are in the log, and the verdict is made from them: being late is recorded, never hidden.
- Reading goes before writing what is due within the same round, but in rounds of at most
  `_READ_AT_ONCE` frames a device, so that a flood on one device cannot make the others late.
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
from collections.abc import Sequence
from typing import Final

from testbed.events.link import (
    DIGEST_BYTES,
    DIRECTIONS,
    FATES,
    MARKER_ETHERTYPE,
    REASONS,
    RELAY_RECORD,
)
from testbed.network.relay.wire import Held, Wire
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.units import NS_PER_S

_RECORD: Final = struct.Struct("<QqqqIIBBBx")
_MAX_FRAME_BYTES: Final = 2048
"""More than MTU 1500 and its header; a frame that fills it was cut, and counts as overflow."""
_READ_AT_ONCE: Final = 64
_MARKER: Final = MARKER_ETHERTYPE.to_bytes(2, "big")
"""The testbed's own frames end at the wire, uncounted."""
_DELIVERED, _LOST, _HELD, _OVERFLOW = range(len(FATES))
_NO_REASON, _BERNOULLI, _STOPPED, _WRITE_FAILED = range(len(REASONS))


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
            now = time.monotonic_ns()
            digest = zlib.crc32(frame[:DIGEST_BYTES])
            lost = wire.arrive(frame, now, digest)
            if lost is not None:
                self._record(lost, 0, _LOST, _BERNOULLI)

    def write_due(self, now_ns: int) -> int:
        """Writes what is due at `now_ns`; returns when the next one is, or a time far off."""
        held = self.wire.held
        while held:
            packet = held[0]
            if packet.due_ns > now_ns:
                return packet.due_ns
            held.popleft()
            self._write(packet)
            now_ns = time.monotonic_ns()
        return _NEVER_NS

    def _write(self, packet: Held) -> None:
        if packet.size_bytes >= _MAX_FRAME_BYTES:  # cut: what is left of it must reach nobody
            self._overflow(packet)
            return
        try:
            os.write(self._sink, packet.frame)
        except (
            OSError
        ):  # the device is down or out of memory: the emulator's fault, counted as such
            self._overflow(packet)
            return
        departure_ns = time.monotonic_ns()
        self.wire.delivered += 1
        self._record(packet, departure_ns, _DELIVERED, _NO_REASON)

    def _overflow(self, packet: Held) -> None:
        self.wire.overflowed += 1
        self._record(packet, 0, _OVERFLOW, _WRITE_FAILED)

    def log_held(self) -> None:
        """Logs what is on the wire as held."""
        for packet in self.wire.held:
            self._record(packet, 0, _HELD, _STOPPED)

    def _record(self, packet: Held, departure_ns: int, fate: int, reason: int) -> None:
        self._log.append(
            _RECORD.pack(
                packet.number,
                packet.arrival_ns,
                packet.due_ns,
                departure_ns,
                packet.size_bytes,
                packet.digest,
                self._direction,
                fate,
                reason,
            )
        )


_NEVER_NS: Final = 2**62
_FLUSH_NS: Final = NS_PER_S
_LONGEST_SLEEP_S: Final = 1.0
_SPIN_NS: Final = 100_000


def forward(lanes: Sequence[Lane], logs: Sequence[SegmentWriter], stop: int) -> None:
    """Moves frames until the descriptor `stop` is readable; flushes the logs every second."""
    by_source = {lane.source: lane for lane in lanes}
    watched = [stop, *by_source]
    next_due_ns = _NEVER_NS
    flush_ns = 0
    while True:
        wait_s = (next_due_ns - _SPIN_NS - time.monotonic_ns()) / 1e9
        ready, _, _ = select.select(watched, [], [], min(max(wait_s, 0.0), _LONGEST_SLEEP_S))
        for descriptor in ready:
            if descriptor == stop:
                return
            by_source[descriptor].read()
        now_ns = time.monotonic_ns()
        next_due_ns = min(lane.write_due(now_ns) for lane in lanes)
        if now_ns >= flush_ns:
            flush_ns = now_ns + _FLUSH_NS
            for log in logs:
                log.flush()

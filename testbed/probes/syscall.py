"""Syscall probe: every system call that trio makes on sockets to move data, and every wait for one.

Rules:

- One record (`SYSCALL_RECORD`) per call, written when it has ended, also when it failed, and one
  per wait, also when it was cancelled. Records of one socket are in the order of its streams, so
  that the offset of a call is the sum of the bytes before it.
- `ObservedSocket` is transparent: the same calls in the same order with the same results,
  exceptions, checkpoints and cancellation as trio's own socket (trio/_socket.py 0.35,
  ``_nonblocking_helper``): a checkpoint_if_cancelled first; after a first attempt that succeeded or
  failed a cancel_shielded_checkpoint; after EAGAIN a wait, and attempts until one does not say
  EAGAIN, with no further checkpoint. Everything else is trio's own socket's.
- Nothing is written to the segment within a call: an error of the disk would look like an error of
  the socket. Records gather in memory until `flush`, which `testbed.child.keep_flushed` calls.

Why a wrapper: trio's socket is final in effect (it takes nothing but a plain ``socket.socket``),
but ``trio.socket.SocketType`` is public and meant to be implemented, and there is an official hook
for new sockets, ``trio.socket.set_custom_socket_factory`` (trio reference, "Virtual networking for
testing"). It needs no privilege, where the kernel's tracepoints need root. It lies below TLS, so
that bytes and offsets are those of TCP's payload.

Prior art: strace(1) shows the same calls, for some ten microseconds each.
"""

from __future__ import annotations

import socket as stdlib_socket
import struct
from time import monotonic_ns
from typing import Final, Literal

import msgspec
import trio

from testbed.events.syscall import (
    CALLS_KIND,
    CONNECTION_KIND,
    SYSCALL_CALLS,
    Call,
    OpenedConnection,
)
from testbed.probes.observed_socket import ObservedSocket
from testbed.recording.segments import FRAME, SegmentHeader, SegmentWriter

__all__ = ["ObservedSocket", "SyscallProbe", "open_syscall_probe"]

_RECORD: Final = struct.Struct("<qqIIIBBxx")
_BUFFER_RECORDS: Final = 512
_CODES: Final[dict[Call, int]] = {call: code for code, call in enumerate(SYSCALL_CALLS)}
_KINDS: Final = [CONNECTION_KIND, CALLS_KIND]
_MOST_BYTES: Final = 0xFFFF_FFFF
"""Greatest number of bytes that the record can say; Linux moves less than 2 GiB in one call."""


class SyscallProbe(trio.abc.SocketFactory):
    """Makes observed sockets and records what they do: ``set_custom_socket_factory(probe)``."""

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._buffer = bytearray(_RECORD.size * _BUFFER_RECORDS)
        self._position = 0
        self._first_ns = 0
        self._last_number = 0
        self._pack = _RECORD.pack_into
        self._encode = msgspec.json.Encoder().encode

    def socket(
        self,
        family: stdlib_socket.AddressFamily | int = stdlib_socket.AF_INET,
        type: stdlib_socket.SocketKind | int = stdlib_socket.SOCK_STREAM,
        proto: int = 0,
    ) -> ObservedSocket:
        """A new socket (trio.abc.SocketFactory)."""
        return self.observe(stdlib_socket.socket(family, type, proto), "client")

    def observe(
        self, sock: stdlib_socket.socket, role: Literal["client", "server"]
    ) -> ObservedSocket:
        """An observed trio socket around `sock`, which it takes over."""
        return ObservedSocket(sock, self, role)

    def next_number(self) -> int:
        """A number for a socket, from 1."""
        self._last_number += 1
        return self._last_number

    def opened(self, connection: OpenedConnection) -> None:
        """Records a socket, once its addresses are known."""
        payload = self._encode(connection)
        self._frame(connection.opened_ns, connection.opened_ns, CONNECTION_KIND, payload)

    def record(
        self,
        call: Call,
        connection: int,
        started_ns: int,
        ended_ns: int,
        moved_bytes: int = 0,
        asked_bytes: int = 0,
        error: int = 0,
    ) -> None:
        """Records a call or a wait; `error` is its errno."""
        position = self._position
        if not position:
            self._first_ns = started_ns
        if asked_bytes > _MOST_BYTES:
            asked_bytes = _MOST_BYTES
        self._pack(
            self._buffer, position, started_ns, ended_ns, connection, moved_bytes, asked_bytes,
            _CODES[call], error,
        )  # fmt: skip
        self._position = position = position + 32
        if position == len(self._buffer):
            self._hand_over()

    def _hand_over(self) -> None:
        if not self._position:
            return
        data = bytes(memoryview(self._buffer)[: self._position])
        self._position = 0
        self._frame(self._first_ns, monotonic_ns(), CALLS_KIND, data)

    def _frame(self, started_ns: int, ended_ns: int, kind: str, payload: bytes) -> None:
        # Not SegmentWriter.frame, which writes when it is full; see the rules.
        self._writer.buffer += FRAME.pack(started_ns, ended_ns, _KINDS.index(kind), 0, len(payload))
        self._writer.buffer += payload

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
            OSError: the segment cannot be written.
        """
        self._hand_over()
        self._writer.flush()

    def close(self) -> None:
        """Writes out what is buffered and closes the segment; call it after `trio.run` has ended.

        Raises:
            OSError: the segment cannot be written.
        """
        self._hand_over()
        self._writer.close()


def open_syscall_probe(descriptor: int, *, process: str, node: str) -> SyscallProbe:
    """A probe that writes to `descriptor`, in the name of `process` on `node`."""
    header = SegmentHeader(
        layout="frames", source="syscall", process=process, kinds=_KINDS, nodes=[node]
    )
    return SyscallProbe(SegmentWriter(descriptor, header))

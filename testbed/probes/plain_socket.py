"""A plain socket that tells a log what it asks of the kernel, for asyncio's servers.

Rules:

- `testbed.probes.syscall`'s: one record per call, in the order of the socket's streams, with the
  same results and exceptions; nothing is written within a call.
- What accept() gives is observed as well.
- Waits are not seen: asyncio waits for all sockets at once, in its selector.

Why a subclass: asyncio's transports call these methods of whatever socket they were given
(Lib/asyncio/selector_events.py: recv, recv_into, send, sendmsg, accept, shutdown, close), below
TLS, and want a ``socket.socket``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from time import monotonic_ns
from typing import Any

from testbed.probes.socket_attempts import CallLog, attempt, opened_connection


class PlainSocket(socket.socket):
    """``socket.socket``, observed.

    Args:
        sock: taken over.
        log: is told; it must be used by this thread only.
        remote: its peer's address; None: it listens.
    """

    def __init__(self, sock: socket.socket, log: CallLog, remote: Any = None) -> None:
        opened_ns = monotonic_ns()
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._log = log
        self._number = log.next_number()
        log.opened(opened_connection(self, self._number, "server", remote, opened_ns))

    def accept(self) -> tuple[socket.socket, Any]:
        """An observed connection, and its peer's address."""
        accepted, address = attempt(self._log, self._number, "accept", _zero, 0, super().accept)
        return PlainSocket(accepted, self._log, address), address

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """recv(2)."""
        size = _zero if flags & socket.MSG_PEEK else len
        receive = super().recv
        return attempt(self._log, self._number, "recv", size, bufsize, receive, bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """recv(2)."""
        asked = nbytes or memoryview(buffer).nbytes
        size = _zero if flags & socket.MSG_PEEK else int
        receive = super().recv_into
        return attempt(self._log, self._number, "recv", size, asked, receive, buffer, nbytes, flags)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """send(2)."""
        asked = memoryview(data).nbytes
        return attempt(self._log, self._number, "send", int, asked, super().send, data, flags)

    def sendmsg(self, buffers: Iterable[Any], /, *more: Any) -> int:
        """sendmsg(2)."""
        buffers = list(buffers)
        asked = sum(memoryview(buffer).nbytes for buffer in buffers)
        send = super().sendmsg
        return attempt(self._log, self._number, "send", int, asked, send, buffers, *more)

    def shutdown(self, how: int, /) -> None:
        """shutdown(2)."""
        attempt(self._log, self._number, "shutdown", _zero, 0, super().shutdown, how)

    def close(self) -> None:
        """close(2), if it is open."""
        if self.fileno() != -1:
            attempt(self._log, self._number, "close", _zero, 0, super().close)


def _zero(_: object) -> int:
    return 0

"""Attempts at system calls on a socket, and waits for it, each told to a log.

Rules: `testbed.probes.syscall`.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any, Final, Literal, Protocol, TypeVar

import trio

# By name: a server puts a function of its own in the place of `trio.socket.from_stdlib_socket`.
from trio.socket import SocketType, from_stdlib_socket

from testbed.events.syscall import Call, OpenedConnection

_Result = TypeVar("_Result")
INET: Final = (stdlib_socket.AF_INET, stdlib_socket.AF_INET6)
TRIED: Final[ContextVar[list[int] | None]] = ContextVar("tried", default=None)
"""Takes the numbers of the sockets that a task and its children connect; None: nobody asks."""
UNKNOWN_ERRNO: Final = 255
"""Stands for an OSError without an errno; Linux's greatest is 133."""
_WAITS: Final[dict[Call, Callable[[Any], Awaitable[None]]]] = {
    "wait_readable": trio.lowlevel.wait_readable,
    "wait_writable": trio.lowlevel.wait_writable,
    "wait_connected": trio.lowlevel.wait_writable,
}


class CallLog(Protocol):
    """Where an `ObservedSocket` tells what it does."""

    def next_number(self) -> int:
        """A number for a socket."""

    def opened(self, connection: OpenedConnection) -> None:
        """Takes a socket, once its addresses are known."""

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
        """Takes a call or a wait."""


class Attempts(SocketType):
    """What an `ObservedSocket` makes its calls with.

    Attributes:
        number: of the socket within the process.
        sent_bytes: that it has sent so far: the place in its stream of the next byte.
        received_bytes: likewise.
    """

    def __init__(
        self,
        sock: stdlib_socket.socket,
        log: CallLog,
        role: Literal["client", "server"],
        remote: Any = None,
    ) -> None:
        super().__init__()
        self._trio = from_stdlib_socket(sock)
        self._sock = sock
        self._log = log
        self._role: Literal["client", "server"] = role
        self._opened_ns = monotonic_ns()
        self.number = log.next_number()
        self.sent_bytes = self.received_bytes = 0
        self._announced = False
        if remote is None:
            with suppress(OSError):  # ENOTCONN: it listens, or is not connected yet
                remote = sock.getpeername()
        if remote is not None or role == "server":
            self._announce(remote)

    def _announce(self, remote: Any) -> None:
        """Records the socket with its addresses, once."""
        self._announced = True
        opened = opened_connection(self._sock, self.number, self._role, remote, self._opened_ns)
        self._log.opened(opened)
        tried = TRIED.get()
        if tried is not None and self._role == "client":
            tried.append(self.number)

    def _attempt(
        self,
        call: Call,
        size: Callable[[_Result], int],
        asked_bytes: int,
        function: Callable[..., _Result],
        *args: Any,
    ) -> _Result:
        """Makes one call and records it."""
        if not self._announced and call != "connect":
            self._announce(None)
        result = attempt(self._log, self.number, call, size, asked_bytes, function, *args)
        if call == "send":
            self.sent_bytes += size(result)
        elif call == "recv":
            self.received_bytes += size(result)
        return result

    async def _wait(self, call: Call) -> None:
        """Waits and records it, however it ends."""
        if not self._announced:
            self._announce(None)
        error = errno.EIO
        started_ns = monotonic_ns()
        try:
            await _WAITS[call](self._sock)
            error = 0
        except trio.Cancelled:
            error = errno.ECANCELED
            raise
        except trio.ClosedResourceError:
            error = errno.EBADF
            raise
        except trio.BusyResourceError:
            error = errno.EBUSY
            raise
        finally:
            self._log.record(call, self.number, started_ns, monotonic_ns(), 0, 0, error)

    async def _until_ready(
        self,
        call: Call,
        size: Callable[[_Result], int],
        asked_bytes: int,
        function: Callable[..., _Result],
        *args: Any,
    ) -> _Result:
        """As ``_nonblocking_helper`` of trio, which says why an attempt comes first."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            result = self._attempt(call, size, asked_bytes, function, *args)
        except BlockingIOError:
            pass
        except BaseException:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return result
        wait: Call = "wait_writable" if call == "send" else "wait_readable"
        while True:
            await self._wait(wait)
            with suppress(BlockingIOError):
                return self._attempt(call, size, asked_bytes, function, *args)


def opened_connection(
    sock: stdlib_socket.socket,
    number: int,
    role: Literal["client", "server"],
    remote: Any,
    opened_ns: int,
) -> OpenedConnection:
    """A socket with its addresses, as far as it has some."""
    inet = sock.family in INET
    local: Any = None
    with suppress(OSError):  # EBADF: closed before it was ever used
        local = sock.getsockname()
    return OpenedConnection(
        connection=number,
        role=role,
        local_address=str(local[0]) if inet and local else None,
        local_port=local[1] or None if inet and local else None,
        remote_address=str(remote[0]) if inet and remote else None,
        remote_port=remote[1] if inet and remote else None,
        opened_ns=opened_ns,
    )


def attempt(
    log: CallLog,
    number: int,
    call: Call,
    size: Callable[[_Result], int],
    asked_bytes: int,
    function: Callable[..., _Result],
    *args: Any,
) -> _Result:
    """Makes one call and records it, also when it fails."""
    started_ns = monotonic_ns()
    try:
        result = function(*args)
    except OSError as error:
        ended_ns = monotonic_ns()
        log.record(call, number, started_ns, ended_ns, 0, asked_bytes, errno_of(error))
        raise
    ended_ns = monotonic_ns()
    log.record(call, number, started_ns, ended_ns, size(result), asked_bytes)
    return result


def errno_of(error: OSError) -> int:
    """Its errno as a record can say it."""
    code = error.errno
    return code if code is not None and 0 < code < UNKNOWN_ERRNO else UNKNOWN_ERRNO

# ruff: noqa: D102 - the methods are those of trio.socket.SocketType, documented there
"""A trio socket that tells a log what it asks of the kernel; its rules: `testbed.probes.syscall`.

Each method that is here in full reads like trio's own (trio/_socket.py 0.35, ``_SocketType``), with
a time before and after each attempt and each wait.
"""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic_ns
from types import TracebackType
from typing import Any, Self

import trio
from trio.socket import SocketType

from testbed.probes.socket_attempts import INET, UNKNOWN_ERRNO, Attempts, errno_of


class ObservedSocket(Attempts):
    """trio's own socket, observed.

    Args:
        sock: taken over.
        log: is told.
        role: see `testbed.events.syscall.OpenedConnection`.
        remote: its peer's address where accept() gave it; else it is asked for.
    """

    # What moves data

    async def send(self, bytes: Any, flags: int = 0, /) -> int:
        return await self._until_ready(
            "send", _itself, memoryview(bytes).nbytes, self._sock.send, bytes, flags
        )

    async def sendto(self, *args: Any) -> int:
        # A name is looked up before, by trio's own socket.
        if not _is_numeric(self._sock.family, args[-1]):
            return await self._trio.sendto(*args)
        size = memoryview(args[0]).nbytes
        return await self._until_ready("send", _itself, size, self._sock.sendto, *args)

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        buffers, ancdata = list(buffers), list(ancdata)
        if address is not None and not _is_numeric(self._sock.family, address):
            return await self._trio.sendmsg(buffers, ancdata, flags, address)
        size = sum(memoryview(buffer).nbytes for buffer in buffers)
        return await self._until_ready(
            "send", _itself, size, self._sock.sendmsg, buffers, ancdata, flags, address
        )

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        size = _zero if flags & stdlib_socket.MSG_PEEK else len
        return await self._until_ready("recv", size, buflen, self._sock.recv, buflen, flags)

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = _zero if flags & stdlib_socket.MSG_PEEK else _itself
        asked = nbytes or memoryview(buffer).nbytes
        return await self._until_ready(
            "recv", size, asked, self._sock.recv_into, buffer, nbytes, flags
        )

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        size = _zero if flags & stdlib_socket.MSG_PEEK else _length_of_first
        return await self._until_ready("recv", size, bufsize, self._sock.recvfrom, bufsize, flags)

    async def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        size = _zero if flags & stdlib_socket.MSG_PEEK else _first
        asked = nbytes or memoryview(buffer).nbytes
        return await self._until_ready(
            "recv", size, asked, self._sock.recvfrom_into, buffer, nbytes, flags
        )

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        size = _zero if flags & stdlib_socket.MSG_PEEK else _length_of_first
        return await self._until_ready(
            "recv", size, bufsize, self._sock.recvmsg, bufsize, ancbufsize, flags
        )

    async def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, object]:
        buffers = list(buffers)
        size = _zero if flags & stdlib_socket.MSG_PEEK else _first
        asked = sum(memoryview(buffer).nbytes for buffer in buffers)
        return await self._until_ready(
            "recv", size, asked, self._sock.recvmsg_into, buffers, ancbufsize, flags
        )

    # What opens and closes

    async def accept(self) -> tuple[SocketType, Any]:
        sock, address = await self._until_ready("accept", _zero, 0, self._sock.accept)
        return ObservedSocket(sock, self._log, "server", address), address

    async def connect(self, address: Any) -> None:
        if not _is_numeric(self._sock.family, address):
            await self._connect_by_name(address)
            return
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if await self._connects_at_once(address):
                return
            await self._wait("wait_connected")
        except trio.Cancelled:
            # Half-open: trio closes it too, "to avoid confusion".
            self._attempt("close", _zero, 0, self._sock.close)
            raise
        self._attempt("connect_result", _zero, 0, self._raise_connect_error, address)

    async def _connects_at_once(self, address: Any) -> bool:
        """The attempt to connect; False: it goes on in the background."""
        try:
            self._attempt("connect", _zero, 0, self._sock.connect, address)
        except BlockingIOError:
            return False
        except BaseException:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return True
        finally:
            # Only now is there a local port.
            if not self._announced:
                self._announce(address)

    def _raise_connect_error(self, address: Any) -> None:
        code = self._sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ERROR)
        if code != 0:
            raise OSError(code, f"Error connecting to {address!r}: {os.strerror(code)}")

    async def _connect_by_name(self, address: Any) -> None:
        """A name or a path: trio's socket does it all; one record, its waits included."""
        started_ns = monotonic_ns()
        code = UNKNOWN_ERRNO
        try:
            await self._trio.connect(address)
            code = 0
        except OSError as error:
            code = errno_of(error)
            raise
        except trio.Cancelled:
            code = errno.ECANCELED
            raise
        finally:
            ended_ns = monotonic_ns()
            if not self._announced:
                remote = None
                with suppress(OSError):  # ENOTCONN, EBADF: it did not come about
                    remote = self._sock.getpeername()
                self._announce(remote)
            self._log.record("connect", self.number, started_ns, ended_ns, 0, 0, code)

    def listen(self, *backlog: int) -> None:
        self._trio.listen(*backlog)
        self._role = "server"
        if not self._announced:
            self._announce(None)

    def shutdown(self, flag: int) -> None:
        self._attempt("shutdown", _zero, 0, self._trio.shutdown, flag)

    def close(self) -> None:
        if self._sock.fileno() != -1:
            self._attempt("close", _zero, 0, self._trio.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sock.fileno() != -1:
            self._attempt("close", _zero, 0, self._sock.close)

    # What asks and waits

    def is_readable(self) -> bool:
        return self._attempt("poll", _zero, 0, self._trio.is_readable)

    async def wait_writable(self) -> None:
        await self._wait("wait_writable")

    # The rest is trio's own

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        return self._trio.family

    @property
    def type(self) -> stdlib_socket.SocketKind:
        return self._trio.type

    @property
    def proto(self) -> int:
        return self._trio.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - trio's name
        return self._trio.did_shutdown_SHUT_WR

    def __repr__(self) -> str:
        return repr(self._trio)


def _delegated(name: str) -> Callable[..., Any]:
    """A method that calls the one of the same name of trio's own socket."""

    def method(self: ObservedSocket, *args: Any, **named: Any) -> Any:
        return getattr(self._trio, name)(*args, **named)  # its own attribute

    method.__name__ = name
    return method


for _name in (
    "bind", "detach", "dup", "fileno", "get_inheritable", "getpeername", "getsockname",
    "getsockopt", "set_inheritable", "setsockopt",
):  # fmt: skip
    setattr(ObservedSocket, _name, _delegated(_name))


def _is_numeric(family: int, address: Any) -> bool:
    """Whether trio takes the address as it is (``_resolve_address_nocp``: the fast path)."""
    if family not in INET or not isinstance(address, tuple):
        return False
    wanted = (2,) if family == stdlib_socket.AF_INET else (2, 3, 4)
    if len(address) not in wanted or not isinstance(address[1], int):
        return False
    try:
        stdlib_socket.inet_pton(family, address[0])
    except (OSError, TypeError):
        return False
    return True


def _itself(moved_bytes: int) -> int:
    return moved_bytes


def _zero(_: object) -> int:
    return 0


def _first(result: Any) -> int:
    return int(result[0])


def _length_of_first(result: Any) -> int:
    return len(result[0])

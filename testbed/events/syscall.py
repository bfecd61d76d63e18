"""System calls: what trio's sockets ask of the kernel, and how long they wait in between."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SYSCALL_RECORD: Final = [
    ("started_ns", "<i8"),
    ("ended_ns", "<i8"),
    ("connection", "<u4"),
    ("bytes", "<u4"),
    ("asked_bytes", "<u4"),
    ("call", "u1"),
    ("error", "u1"),
    ("pad", "<u2"),
]
"""One record of a ``calls`` frame (struct ``<qqIIIBBxx``); `error` is an errno, 0 for none."""

Call = Literal[
    "send", "recv", "accept", "connect", "wait_readable", "wait_writable", "shutdown", "close",
    "connect_result", "wait_connected", "poll",
]  # fmt: skip
SYSCALL_CALLS: Final[tuple[Call, ...]] = (
    "send", "recv", "accept", "connect", "wait_readable", "wait_writable", "shutdown", "close",
    "connect_result", "wait_connected", "poll",
)  # fmt: skip
"""What `call` of a record counts.

``send`` and ``recv`` stand for their families (sendto, sendmsg, recvfrom, recvmsg ...).
``connect_result`` is getsockopt(SO_ERROR), which tells how a connect that went on in the background
ended. The ``wait_...`` are no system calls of their own: the task waited until the loop's
epoll_wait said that the socket is ready; ``wait_connected`` is the wait between ``connect`` and
``connect_result``.
"""
WAITS: Final[tuple[Call, ...]] = ("wait_readable", "wait_writable", "wait_connected")
"""Those of `SYSCALL_CALLS` that are waits and no system calls."""
CONNECTION_KIND: Final = "connection"
"""Frames that hold an `OpenedConnection` as JSON."""
CALLS_KIND: Final = "calls"
"""Frames that hold records."""


class OpenedConnection(msgspec.Struct, frozen=True, kw_only=True):
    """A socket as it is written in a segment."""

    connection: int
    """Its number within the process, from 1."""
    role: Literal["client", "server"]
    """``server``: a listening socket or one that was accepted; ``client``: any other."""
    local_address: str | None
    """None: it has none (a Unix socket)."""
    local_port: int | None
    """None: it has none, or none yet."""
    remote_address: str | None
    """None: a listening socket, or one that was never connected."""
    remote_port: int | None
    opened_ns: int
    """When the socket was made, or accept() had returned it."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The same, as a row."""

    process: str
    node: str
    role: Literal["client", "server"]
    connection: int
    local_address: str | None
    local_port: int | None
    remote_address: str | None
    remote_port: int | None
    opened_ns: int


class SyscallCall(msgspec.Struct, frozen=True, kw_only=True):
    """One system call on a socket, or one wait for it."""

    process: str
    node: str
    connection: int
    call: Call
    started_ns: int
    ended_ns: int
    bytes: int
    """That it moved; 0 for a call that failed, that moves none, and for the end of a stream."""
    asked_bytes: int | None
    """That it was given to send, or had room for; None for a call that moves none."""
    error: str | None
    """Name of the errno, such as ``EAGAIN``; None: it succeeded. Of a wait: ``ECANCELED`` when it
    was cancelled, ``EBADF`` when the socket was closed meanwhile.
    """
    offset_bytes: int | None
    """Of its first byte in its direction of the stream, from 0; None for a call that moved none."""

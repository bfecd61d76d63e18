"""Listening sockets: bound with their settings, and the end of what was accepted on them.

Rules:

- Buffers are set on the listening socket, before it listens: accepted sockets inherit them, and
  TCP's window scale is agreed in the handshake (tcp(7), "the size must be set before listen(2)").
- What the kernel made of a size is read back: it doubles it for its own bookkeeping (socket(7)),
  and what is larger than net.core.rmem_max or wmem_max it cuts without a word, which is an error
  here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Final

from testbed.errors import MachineError, ProcessError
from testbed.server.config import ServerConfig

_BUFFERS: Final = (
    ("receive_buffer", socket.SO_RCVBUF, "net.core.rmem_max"),
    ("send_buffer", socket.SO_SNDBUF, "net.core.wmem_max"),
)


def listening_sockets(config: ServerConfig) -> list[socket.socket]:
    """The sockets that this server is to listen on: those that it was given, or bound by itself.

    Raises:
        ProcessError: an address cannot be bound.
        MachineError: the kernel does not give a buffer of the size that was asked for.
    """
    if config.listen_fds:
        return [socket.socket(fileno=descriptor) for descriptor in config.listen_fds]
    return [bind(host, config) for host in config.hosts]


def bind(host: str, config: ServerConfig) -> socket.socket:
    """A TCP socket bound to the address, with the buffers of `config`; it does not listen yet.

    Raises:
        ProcessError: the address cannot be bound.
        MachineError: the kernel does not give a buffer of the size that was asked for.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol: asyncio turns Nagle off only on sockets that say that they are TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_buffers(bound, config)
        bound.bind((host, config.port))
    except OSError as error:
        bound.close()
        raise ProcessError(
            f"cannot listen on {host} port {config.port}: {error.strerror}", where="server"
        ) from error
    except MachineError:
        bound.close()
        raise
    return bound


def _set_buffers(bound: socket.socket, config: ServerConfig) -> None:
    for name, option, bound_by in _BUFFERS:
        wanted = getattr(config, f"{name}_bytes")
        if wanted is None:
            continue
        bound.setsockopt(socket.SOL_SOCKET, option, wanted)
        got = bound.getsockopt(socket.SOL_SOCKET, option)
        if got != 2 * wanted:
            raise MachineError(
                f"{name}: asked for {wanted} bytes, which the kernel doubles, and got {got} "
                f"instead of {2 * wanted}; as root: sysctl {bound_by}={wanted} or more, outside of "
                "any run",
                where=name,
                wanted=str(2 * wanted),
                got=got,
            )


def url_of(bound: socket.socket, config: ServerConfig) -> str:
    """What a browser would be told: ``http://127.0.0.1:8000``."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if config.tls_fd is None else 'https'}://{shown}:{port}"


def shut_down_all(ports: Set[int]) -> None:
    """Shuts down every connection of this process that was accepted on one of the ports.

    Who waits in send() or recv() on one of them is woken; listening sockets stay as they are.
    """
    for entry in Path("/proc/self/fd").iterdir():
        _shut_down(int(entry.name), ports)


def _shut_down(descriptor: int, ports: Set[int]) -> None:
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return  # the descriptor of the listing itself, closed since
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)  # no socket
        return
    with connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return
        if connection.getsockname()[1] in ports:
            with suppress(OSError):  # ENOTCONN: ended by itself meanwhile
                connection.shutdown(socket.SHUT_RDWR)

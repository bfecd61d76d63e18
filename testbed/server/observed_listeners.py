"""Hypercorn's listening sockets, observed; and so every connection that they accept.

Rules:

- Only the sockets that this server bound are observed, each once, known by their descriptors; any
  other socket that becomes trio's meanwhile is trio's own.
- The function is put back when the server has ended.

Why so: Hypercorn 0.18 takes descriptors or plain sockets and makes them trio's by itself
(hypercorn/trio/run.py, `worker_serve`: ``trio.socket.from_stdlib_socket``), and has no hook for it;
trio's socket factory is asked for new sockets only. That one public function is therefore replaced
while the server runs, which leaves all of Hypercorn as it is: its SocketListener gets the observed
socket, whose accept() gives observed ones, below a trio.SSLListener too. A test counts on the
listener being seen, should another version of Hypercorn go another way.
"""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from testbed.probes.syscall import SyscallProbe


@contextmanager
def observed_listeners(probe: SyscallProbe | None, descriptors: Iterable[int]) -> Iterator[None]:
    """Within it the sockets with these descriptors become observed ones; None: nothing changes."""
    if probe is None:
        yield
        return
    waiting = set(descriptors)
    original = trio.socket.from_stdlib_socket

    def from_stdlib_socket(sock: stdlib_socket.socket) -> trio.socket.SocketType:
        if sock.fileno() in waiting:
            waiting.discard(sock.fileno())
            return probe.observe(sock, "server")
        return original(sock)

    trio.socket.from_stdlib_socket = from_stdlib_socket
    try:
        yield
    finally:
        trio.socket.from_stdlib_socket = original

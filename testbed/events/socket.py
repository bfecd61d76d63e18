"""Socket: buffer memory (inet_diag, SK_MEMINFO), accept queues, descriptors of processes."""

from __future__ import annotations

import msgspec


class SocketSample(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and queues of one TCP socket (net/core/sock_diag.c, sock_diag_put_meminfo)."""

    t_ns: int
    node: str
    cookie: int
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    receive_queue: int
    """Bytes not yet read; of a listener: connections waiting for accept()."""
    send_queue: int
    """Bytes not yet acknowledged; of a listener: its backlog."""
    receive_allocated_bytes: int | None
    receive_buffer_bytes: int | None
    send_allocated_bytes: int | None
    """wmem_queued: data with its overhead that waits for an acknowledgement."""
    send_buffer_bytes: int | None
    backlog_bytes: int | None
    """Packets that came while the socket was locked."""
    dropped_packets: int | None


class DescriptorSample(msgspec.Struct, frozen=True, kw_only=True):
    """Open file descriptors of one process (/proc/PID/fd) against its limit (RLIMIT_NOFILE)."""

    t_ns: int
    node: str
    process: str
    open_descriptors: int
    """Of files, pipes and sockets alike: past the limit none of them can be had."""
    soft_limit: int | None
    """None: it has no limit."""

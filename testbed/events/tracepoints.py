"""Tracepoints: what the kernel itself says of packets, queues, sockets and tasks as it goes on."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

STATS_KIND: Final = "stats"
"""Kind of the frame with the counts of the rings; every other frame is a page of one CPU's ring."""

Context = Literal["process", "softirq", "interrupt"]


class KernelEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the kernel that is, or may be, the run's. None: it does not carry the field."""

    t_ns: int
    cpu: int
    event: str
    """Name with its subsystem: ``net:netif_receive_skb``."""
    context: Context
    """What the CPU was doing: the work of a process (a system call of it), a softirq, or a hard
    interrupt."""
    process_id: int
    """Of the task it happened on top of, in the outermost PID namespace; of events of `sched` the
    task that they are about."""
    process: str | None
    """Name of that process where it is one of the run's."""
    node: str | None
    interface: str | None
    """Of the event itself, or where its packet was last seen."""
    packet: int | None
    """Number of a packet's stay in one buffer: the same number, the same packet."""
    socket: int | None
    """Number of a socket's address; used again after the socket has ended."""
    local_port: int | None
    remote_port: int | None
    length_bytes: int | None
    """As the event counts: with or without the Ethernet header; of a socket, what a call moved."""
    result: int | None
    """Return code: of a transmission, a retransmission, or a call (a negative errno)."""
    reason: str | None
    """Of a drop the kernel's reason (include/net/dropreason-core.h), of a softirq its kind, of a
    change of state the new state."""


class Softirq(msgspec.Struct, frozen=True, kw_only=True):
    """One softirq that handled packets of the run."""

    cpu: int
    kind: str
    """``NET_RX`` or ``NET_TX``."""
    raised_ns: int | None
    """When it was first raised since it last began; None: before the trace."""
    entry_ns: int
    exit_ns: int | None
    latency_ns: int | None
    """entry - raised."""


class ReceivePath(msgspec.Struct, frozen=True, kw_only=True):
    """The way of one received TCP segment from the device to its socket, step by step."""

    node: str
    interface: str
    local_port: int
    remote_port: int
    payload_bytes: int
    start: Literal["softirq_raise", "netif_rx", "netif_receive_skb"]
    """The first step that was seen: `start_ns` is its time. Where a relay writes to a TAP device,
    there is no interrupt and no softirq: it is `netif_receive_skb` then."""
    start_ns: int
    softirq_ns: int | None
    """When the softirq began that received it."""
    received_ns: int
    """netif_receive_skb: the network stack begins."""
    tcp_ns: int
    """tcp_probe: TCP has found the connection and looks at the segment."""
    socket_ns: int | None
    """sk_data_ready: its payload is in the receive buffer. None: nothing new was there to be
    read."""
    copied_ns: int | None
    """skb_copy_datagram_iovec: a call of the process took it out."""
    interrupt_to_socket_ns: int | None
    """socket - start."""


class WakeUp(msgspec.Struct, frozen=True, kw_only=True):
    """How a process came to run because data was ready for it."""

    node: str
    process: str
    ready_ns: int
    """sk_data_ready of the socket; tcp_probe, shortly before it, on kernels that have none."""
    waking_ns: int
    """sched_waking: the kernel began to wake the process."""
    woken_ns: int | None
    """sched_wakeup: it is in a run queue."""
    running_ns: int | None
    """sched_switch: a CPU runs it. None: the kernel did not tell of that switch."""
    wakeup_ns: int | None
    """running - ready."""

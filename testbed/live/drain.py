"""When the network has become quiet, so that every packet has a fate before the probes stop.

A connection that is closed may still have a FIN on its way, or one that was lost and comes again
after a timeout. The network is quiet when no host has a connection that still talks, and the
longest way has been crossed since.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from typing import Final

from testbed.network.plan import NetworkPlan
from testbed.probes import netlink
from testbed.probes.link import FLUSH_NS
from testbed.sandbox.syscalls import CLONE_NEWNET, setns

_TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN = 6, 7, 10
"""include/net/tcp_states.h"""
_SILENT: Final = frozenset({_TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN})
_POLL_S: Final = 0.02


class NodeSockets:
    """Counts the connections of a node that may still send."""

    def __init__(self, node: str) -> None:
        with InNode(node):
            self._dump = netlink.Dump(netlink.tcp_sockets_request(), diagnostics=True)

    def talking(self) -> int:
        """How many there are now."""
        return sum(state not in _SILENT for state in _states(self._dump.read()))


class InNode:
    """Moves this thread into the network namespace of a node, for a ``with`` block."""

    def __init__(self, node: str) -> None:
        self._path = f"/run/netns/{node}"

    def __enter__(self) -> None:
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        theirs = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(theirs, CLONE_NEWNET)
        finally:
            os.close(theirs)

    def __exit__(self, *_: object) -> None:
        setns(self._own, CLONE_NEWNET)
        os.close(self._own)


def wait_until_quiet(plan: NetworkPlan, deadline_s: float) -> bool:
    """Waits until no connection talks and the longest way is crossed; False: not in time."""
    hosts = [
        NodeSockets(node.name) for node in plan.nodes if node.role in ("client", "server", "host")
    ]
    deadline = time.monotonic() + deadline_s
    quiet = False
    while not quiet and time.monotonic() < deadline:
        quiet = not any(host.talking() for host in hosts)
        if not quiet:
            time.sleep(_POLL_S)
    time.sleep((_longest_way_ns(plan) + FLUSH_NS) / 1e9)
    return quiet


def _longest_way_ns(plan: NetworkPlan) -> int:
    """No path is longer than all links after another, with every queue full."""
    total = 0
    for link in plan.links:
        for way in (link.forward, link.reverse):
            total += way.delay_ns
    return min(total, 2_000_000_000)


def _states(reply: bytes) -> Sequence[int]:
    """The state byte of each struct inet_diag_msg (include/uapi/linux/inet_diag.h) of a dump."""
    found = []
    position = 0
    while position + 18 <= len(reply):
        length, kind = struct.unpack_from("=IH", reply, position)
        if kind == netlink.SOCK_DIAG_BY_FAMILY:
            found.append(reply[position + 17])
        position += max(16, (length + 3) & ~3)
    return found

"""Waits until interfaces can send.

An end of a veth pair has a carrier once the other end is up, a TAP device once its relay is there,
and the kernel tells queues and bridges of it up to a second later (net/core/link_watch.c). Until
then a host's packets are thrown away uncounted, and a bridge forwards nothing through that port.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from typing import Final

from testbed.errors import RunError
from testbed.network.plan import NetworkPlan
from testbed.sandbox.netns import of_node, visiting

_UP_S: Final = 20.0
"""Only a bound on hanging."""
_SETTLED_S: Final = 0.02
"""An interface gets its queue, and a bridge its port, right after it says that it runs."""
_POLL_S: Final = 0.001
_SIOCGIFFLAGS: Final = 0x8913
_RUNNING: Final = 0x1 | 0x40
"""IFF_UP and IFF_RUNNING, include/uapi/linux/if.h."""


def wait_until_up(plan: NetworkPlan) -> None:
    """Returns when every interface of the plan's links can send; their relay must be there.

    Raises:
        RunError: one cannot in time.
    """
    deadline = time.monotonic() + _UP_S
    waited, links = False, {link.name for link in plan.links}
    for node in plan.nodes:
        with visiting(of_node(node.name)), socket.socket(type=socket.SOCK_DGRAM) as any_socket:
            for interface in node.interfaces:
                if interface.link in links:
                    waited |= _wait(any_socket, node.name, interface.name, deadline)
    if waited:
        time.sleep(_SETTLED_S)


def _wait(any_socket: socket.socket, node: str, interface: str, deadline: float) -> bool:
    """Whether there was anything to wait for."""
    waited = False
    while True:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)[0]
        if flags & _RUNNING == _RUNNING:
            return waited
        if time.monotonic() > deadline:
            raise RunError(f"{interface} did not come up (flags {flags:#x})", where=node)
        waited = True
        time.sleep(_POLL_S)

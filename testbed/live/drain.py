"""When the network has become quiet, so that every packet has a fate before the probes stop.

A connection that is closed may still have a FIN on its way, or one that was lost and comes again
after a timeout. The network is quiet when no host has a connection that still talks, and the
longest way has been crossed since.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from testbed.errors import Interrupted
from testbed.network.plan import NetworkPlan
from testbed.probes import netlink
from testbed.sandbox.netns import of_node, visiting
from testbed.scenario.model import IpVersion

_TCP_FIN_WAIT2, _TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN = 5, 6, 7, 10
"""include/net/tcp_states.h"""
_SAID: Final = frozenset({_TCP_FIN_WAIT2, _TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN})
"""Of a connection whose last word, the FIN, was acknowledged."""
_SILENT: Final = frozenset({_TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN})
_POLL_S: Final = 0.02
_PROCESSING_NS: Final = 20_000_000
"""What a last packet may need in nodes and in the relay, beyond the wires' delays."""


class NodeSockets:
    """Counts the connections of a node that may still send."""

    def __init__(self, node: str, ip: IpVersion) -> None:
        with visiting(of_node(node)):
            self._dump = netlink.Dump(netlink.tcp_sockets_request(ip), diagnostics=True)

    def talking(self, silent: frozenset[int] = _SILENT) -> int:
        """How many there are now, in none of these states."""
        return sum(state not in silent for state in _states(self._dump.read()))


def wait_until_said(plan: NetworkPlan, deadline_s: float, stopped: Callable[[], bool]) -> None:
    """Waits until what clients said at last has come to the servers, which are ended then.

    A server that is told to end while a client's last bytes are on their way never reads them.

    Raises:
        Interrupted: the user stopped the run meanwhile.
    """
    clients = [NodeSockets(node.name, plan.ip) for node in plan.with_role("client")]
    deadline = time.monotonic() + deadline_s
    while any(client.talking(_SAID) for client in clients) and time.monotonic() < deadline:
        if stopped():
            raise Interrupted("stopped while the network was falling quiet")
        time.sleep(_POLL_S)
    time.sleep(_PROCESSING_NS / 1e9)


def wait_until_quiet(plan: NetworkPlan, deadline_s: float, stopped: Callable[[], bool]) -> bool:
    """Waits until no connection talks and the longest way is crossed; False: not in time.

    Raises:
        Interrupted: the user stopped the run meanwhile.
    """
    hosts = [
        NodeSockets(node.name, plan.ip)
        for node in plan.nodes
        if node.role in ("client", "server", "host")
    ]
    deadline = time.monotonic() + deadline_s
    quiet = False
    while not quiet and time.monotonic() < deadline:
        quiet = not any(host.talking() for host in hosts)
        if stopped():
            raise Interrupted("stopped while the network was falling quiet")
        if not quiet:
            time.sleep(_POLL_S)
    time.sleep((_longest_way_ns(plan) + _PROCESSING_NS) / 1e9)
    return quiet


def _longest_way_ns(plan: NetworkPlan) -> int:
    """No way through the network, there and back, takes longer.

    It crosses each link at most once each way, and a link of a host only as its first or last one:
    hosts forward nothing.
    """
    forwards = {node.name for node in plan.nodes if node.role in ("router", "switch")}
    inner_ns, outer_ns = 0, []
    for link in plan.links:
        delay_ns = link.forward.delay_ns + link.reverse.delay_ns
        if {link.forward.sender, link.forward.receiver} <= forwards:
            inner_ns += delay_ns
        else:
            outer_ns.append(delay_ns)
    return inner_ns + sum(sorted(outer_ns)[-2:])


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

"""Waits until the ports of switches forward.

A bridge learns that a port has a carrier from the kernel's link watch, which may take a second
(net/core/link_watch.c); until then the port is disabled and drops what comes. So nothing is sent
before. A TAP device has a carrier from when the relay has opened it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from testbed.errors import ReadBackError
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox

_FORWARDING: Final = "forwarding"
_POLL_S: Final = 0.02
_DEADLINE_S: Final = 30.0
"""Only a bound on hanging: the link watch takes a second, and an emulated CPU several."""


def wait_until_forwarding(plan: NetworkPlan) -> None:
    """Returns when every port of every switch forwards.

    Raises:
        ReadBackError: a port does not.
    """
    tools = Toolbox()
    deadline = time.monotonic() + _DEADLINE_S
    waiting: Iterable[NodePlan] = plan.with_role("switch")
    while waiting := [node for node in waiting if _silent_ports(tools, node)]:
        if time.monotonic() > deadline:
            ports = [port for node in waiting for port in _silent_ports(tools, node)]
            raise ReadBackError(
                f"{', '.join(ports)}: not forwarding within {_DEADLINE_S:g} s", where=ports[0]
            )
        time.sleep(_POLL_S)


def _silent_ports(tools: Toolbox, node: NodePlan) -> list[str]:
    """The ports of a switch that do not forward."""
    (found,) = tools.settle(["ip", "-n", node.name], [], ["link show"], options=["-d"])
    states = {one["ifname"]: one.get("linkinfo", {}).get("info_slave_data", {}) for one in found}
    return [
        one.name for one in node.interfaces if states.get(one.name, {}).get("state") != _FORWARDING
    ]

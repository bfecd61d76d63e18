"""The lines for `ip -batch` and `tc -batch` that build a plan. Pure.

What lies between two nodes is made first, for the whole plan at once; then each node has one batch
of ip and one of tc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from testbed.network import kernel_wire, shaping
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.recording.manifest import Direction, LinkRecord

TAP_RING_FRAMES: Final = 10_000
"""txqueuelen of a TAP device: its ring towards the relay; a frame that finds it full is the
emulator's overflow.
"""


def pair_lines(plan: NetworkPlan) -> list[str]:
    """What makes the veth pairs of a plan; TAP devices are made in their node (`node_lines`)."""
    return [line for index, link in enumerate(plan.links) for line in _pair(index, link)]


def _pair(index: int, link: LinkRecord) -> list[str]:
    ends = [(link.forward.sender, link.forward.sender_interface)]
    ends.append((link.forward.receiver, link.forward.receiver_interface))
    if link.wire == "relay":
        return []
    if link.wire == "kernel":
        return [
            f"link add {name} netns {node} type veth peer name {inner}"
            for (node, name), inner in zip(ends, kernel_wire.inner_names(index), strict=True)
        ]
    (a, a_name), (b, b_name) = ends
    return [f"link add {a_name} netns {a} type veth peer name {b_name} netns {b}"]


def node_lines(
    plan: NetworkPlan, node: NodePlan, macs: Mapping[str, str], congestion_control: str
) -> list[str]:
    """What sets the interfaces, addresses, routes and neighbours of a node.

    Args:
        plan: of the network.
        node: of the plan.
        macs: interface name to MAC address, of the whole plan.
        congestion_control: on every route.
    """
    relayed = plan.relayed
    lines = [f"tuntap add dev {i.name} mode tap" for i in node.interfaces if i.link in relayed]
    if node.role == "switch":
        lines.append(f"link add {node.name} type bridge stp_state 0 mcast_snooping 0")
    lines.append("link set lo up")
    for interface in node.interfaces:
        queue = f" txqueuelen {TAP_RING_FRAMES}" if interface.link in relayed else ""
        lines.append(f"link set {interface.name} address {interface.mac}{queue}")
        if node.role == "switch":
            lines.append(f"link set {interface.name} master {node.name}")
        address = node.addressing.address_of.get(interface.name)
        if address is not None:
            # noprefixroute: the prefix's route is added below, with its congestion control.
            lines.append(f"addr add {address} dev {interface.name} noprefixroute")
        lines.append(f"link set {interface.name} up")
    if node.role == "switch":
        return [*lines, f"link set {node.name} up"]
    for route in node.addressing.routes:
        via = f"via {route.via} " if route.via else ""
        lines.append(
            f"route add {route.prefix} {via}dev {route.interface} congctl {congestion_control}"
        )
    return lines + [
        f"neigh add {neighbour.address} lladdr {macs[neighbour.owner_interface]} "
        f"dev {neighbour.interface} nud permanent"
        for neighbour in node.addressing.neighbours
    ]


def queue_lines(ways: list[Direction]) -> list[str]:
    """What makes the queues of a node, whose sending directions are `ways`."""
    return [line for way in ways for line in shaping.tc_commands(way)]

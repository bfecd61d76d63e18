"""The lines for `ip -batch` and `tc -batch` that build a plan. Pure.

What lies between two nodes is made first, for the whole plan at once; then each node has one batch
of ip and one of tc.

Over IPv6 interfaces have neither neighbour discovery (``arp off``) nor multicast: otherwise each
would join groups, and report that to multicast routers when it comes up (addrconf_join_solict and
ipv6_mc_up, net/ipv6). Every neighbour is known without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from testbed.network import kernel_wire, shaping, spreading
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.routing import Route
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
    is_bridge = node.role == "switch" and plan.switches == "bridge"
    if is_bridge:
        lines.append(f"link add {node.name} type bridge stp_state 0 mcast_snooping 0")
    lines.append("link set lo up")
    over_6 = plan.ip == 6 and node.role != "switch"
    for interface in node.interfaces:
        words = f" txqueuelen {TAP_RING_FRAMES}" if interface.link in relayed else ""
        words += " arp off multicast off" if over_6 else ""
        lines.append(f"link set {interface.name} address {interface.mac}{words}")
        if is_bridge:
            lines.append(f"link set {interface.name} master {node.name}")
        address = node.addressing.address_of.get(interface.name)
        if address is not None:
            # noprefixroute: the prefix's route is added below, with its congestion control.
            nodad = " nodad" if over_6 else ""
            lines.append(f"addr add {address} dev {interface.name} noprefixroute{nodad}")
        lines.append(f"link set {interface.name} up")
    if node.role == "switch":
        return [*lines, f"link set {node.name} up"] if is_bridge else lines
    if node.addressing.service is not None:
        lines.append(f"addr add {node.addressing.service} dev lo noprefixroute")
    congctl = f"congctl {congestion_control}"
    spread = spreading.spread_routes(node)
    for route in node.addressing.routes:
        only_first = replace(route, others=()) if route in spread else route
        lines.append(f"route add {_route(only_first, congctl)}")
    for table, route, hop in spreading.further_ways(node):
        way = f"{route.prefix} via {hop.via} dev {hop.interface}"
        lines.append(f"route add {way} table {table} {congctl}")
    return lines + [
        f"neigh add {neighbour.address} lladdr {macs[neighbour.owner_interface]} "
        f"dev {neighbour.interface} nud permanent"
        for neighbour in node.addressing.neighbours
    ]


def _route(route: Route, congctl: str) -> str:
    if not route.others:
        via = f"via {route.via} " if route.via else ""
        return f"{route.prefix} {via}dev {route.interface} {congctl}"
    hops = " ".join(f"nexthop via {hop.via} dev {hop.interface}" for hop in route.hops)
    return f"{route.prefix} {congctl} {hops}"


def queue_lines(ways: list[Direction]) -> list[str]:
    """What makes the queues of a node, whose sending directions are `ways`."""
    return [line for way in ways for line in shaping.tc_commands(way)]

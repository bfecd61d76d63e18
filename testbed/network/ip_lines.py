"""Addresses, routes and neighbours of a node as lines for `ip -batch`, and its sysctls. Pure.

Rules:

- Nothing speaks by itself. With IPv4 no interface has IPv6. With IPv6 interfaces have the addresses
  of the plan and no others: no link-local ones, so nobody solicits or advertises routers; nobody
  detects duplicates; and no group is joined that would be reported to multicast routers, as
  interfaces have neither neighbour discovery (``arp off``) nor multicast (addrconf_join_solict and
  dev_forward_change, net/ipv6/addrconf.c). Forwarding comes after that (`FORWARDING`).
- Every route has the congestion control.

Why on routes: a namespace may set its sysctl only to what the machine's
net.ipv4.tcp_allowed_congestion_control lists (net/ipv4/tcp_cong.c), and a socket needs
CAP_NET_ADMIN for others. A route's ``congctl`` is under neither rule, holds for both ends of a
connection and needs no word from the application.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.routing import Route

TAP_RING_FRAMES: Final = 10_000
"""txqueuelen of a TAP device: its ring towards the relay; a frame that finds it full is the
emulator's overflow.
"""
QUIET: Final = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
"""Where nothing speaks IPv6."""
_IPV6: Final = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.autoconf": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.dad_transmits": "0",
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.all.forwarding": "0",
}
"""Where IPv6 is spoken and nothing is said unasked; addr_gen_mode 1: no address by itself."""
FORWARDING: Final = {"net.ipv6.conf.all.forwarding": "1"}
"""Of an IPv6 router, once its interfaces are there."""


def sysctls(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """The sysctls of IP that a node has before it has interfaces."""
    is_router = node.role == "router"
    if plan.ip == 4 or node.role == "switch":
        found = {**QUIET, "net.ipv4.ip_forward": "1" if is_router else "0"}
    else:
        found = {**_IPV6, "net.ipv4.ip_forward": "0"}
    if any(route.others for route in node.addressing.routes):
        # By addresses and ports: 1 of Documentation/networking/ip-sysctl.rst.
        found[f"net.ipv{plan.ip}.fib_multipath_hash_policy"] = "1"
    return found


def lines(plan: NetworkPlan, node: NodePlan, congestion_control: str) -> list[str]:
    """Lines for `ip -batch` in the namespace of `node`, whose interfaces are there."""
    found = ["link set lo up"]
    relayed = {link.name for link in plan.links if link.wire == "relay"}
    speaks_6 = plan.ip == 6 and node.role != "switch"
    for interface in node.interfaces:
        words = f" txqueuelen {TAP_RING_FRAMES}" if interface.link in relayed else ""
        words += " arp off multicast off" if speaks_6 else ""
        found.append(f"link set {interface.name} address {interface.mac}{words}")
        if node.role == "switch":
            found.append(f"link set {interface.name} master {node.name}")
        address = node.addressing.address_of.get(interface.name)
        if address is not None:
            # noprefixroute: the prefix's route is added below, with its congestion control.
            no_duplicates = " nodad" if speaks_6 else ""
            found.append(f"addr add {address} dev {interface.name} noprefixroute{no_duplicates}")
        found.append(f"link set {interface.name} up")
    if node.role == "switch":
        return [*found, f"link set {node.name} up"]
    if node.addressing.service is not None:
        found.append(f"addr add {node.addressing.service} dev lo")
    found += [
        line for route in node.addressing.routes for line in _route(route, congestion_control)
    ]
    macs = {i.name: i.mac for other in plan.nodes for i in other.interfaces}
    return found + [
        f"neigh add {neighbour.address} lladdr {macs[neighbour.owner_interface]} "
        f"dev {neighbour.interface} nud permanent"
        for neighbour in node.addressing.neighbours
    ]


def _route(route: Route, congestion_control: str) -> Iterator[str]:
    if not route.others:
        via = f"via {route.via} " if route.via else ""
        yield f"route add {route.prefix} {via}dev {route.interface} congctl {congestion_control}"
        return
    ways = [(route.via, route.interface), *((hop.via, hop.interface) for hop in route.others)]
    hops = " ".join(f"nexthop via {via} dev {interface}" for via, interface in ways)
    yield f"route add {route.prefix} congctl {congestion_control} {hops}"

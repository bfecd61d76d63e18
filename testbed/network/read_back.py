"""Compares what the tools read back of a node with what was planned. Pure.

Raises `ReadBackError` with the node or interface, what was wanted and what was got.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from testbed.errors import ReadBackError
from testbed.network import open_vswitch, shaping
from testbed.network.commands import TAP_RING_FRAMES
from testbed.network.node_settings import Spread
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.routing import Route
from testbed.recording.manifest import Direction


def addresses_of(
    plan: NetworkPlan, node: NodePlan, found: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """The addresses of each interface of a node, with prefix length.

    Args:
        plan: of the network.
        node: of the plan.
        found: ``ip -j addr show``.
    """
    links = {item["ifname"]: item for item in found}
    result = {}
    for interface in node.interfaces:
        name, link = interface.name, links.get(interface.name, {})
        _same(node.name, f"{name} address", interface.mac, link.get("address"))
        _same(node.name, f"{name} is up", True, "UP" in link.get("flags", ()))
        if interface.link in plan.relayed:
            _same(node.name, f"{name} txqueuelen", TAP_RING_FRAMES, link.get("txqlen"))
        if node.role == "switch":
            master = node.name if plan.switches == "bridge" else open_vswitch.MASTER
            _same(node.name, f"{name} master", master, link.get("master"))
        addresses = [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", ())]
        planned = node.addressing.address_of.get(name)
        _same(node.name, name, [planned] if planned else [], addresses)
        result[name] = addresses
    if node.addressing.service is not None:
        of_lo = [f"{a['local']}/{a['prefixlen']}" for a in links.get("lo", {}).get("addr_info", ())]
        _same(node.name, "service address", True, node.addressing.service in of_lo)
    return result


def check_routes(
    node: NodePlan, found: Sequence[Mapping[str, Any]], congestion_control: str
) -> None:
    """Compares the routes of a node with the plan.

    Args:
        node: of the plan.
        found: ``ip -j route show``.
        congestion_control: that every route must have.
    """
    wanted = {_planned_ways(route, node.spread) for route in node.addressing.routes}
    got = {_found_ways(route): _congestion_control(route) for route in found}
    for ways in wanted:
        by = ", ".join(via or interface for _, interface, via in ways)
        where = f"route to {ways[0][0]} by {by}"
        if ways not in got:
            raise ReadBackError(
                f"{node.name}: no {where} after it was set", where=node.name, wanted=where, got=None
            )
        _same(node.name, f"congctl of the {where}", congestion_control, got[ways])
    _same(node.name, "number of routes", len(wanted), len(found))


_Ways: TypeAlias = tuple[tuple[str, str, str | None], ...]
"""Prefix, interface and gateway of each way of a route."""


def _planned_ways(route: Route, spread: Spread) -> _Ways:
    prefix = route.prefix.removesuffix("/32").removesuffix("/128")
    prefix = "default" if prefix.endswith("/0") else prefix
    first = (prefix, route.interface, route.via)
    # Packets that are spread have further ways in other tables (testbed.network.spreading).
    others = route.others if spread == "flows" else ()
    return (first, *((prefix, hop.interface, hop.via) for hop in others))


def _found_ways(route: Mapping[str, Any]) -> _Ways:
    ways = route.get("nexthops", [route])
    return tuple((route["dst"], way["dev"], way.get("gateway")) for way in ways)


def _congestion_control(route: Mapping[str, Any]) -> str | None:
    return next(
        (str(one["congestion"]) for one in route.get("metrics", ()) if "congestion" in one), None
    )


def check_neighbours(
    node: NodePlan, macs: Mapping[str, str], found: Sequence[Mapping[str, Any]]
) -> None:
    """Compares the neighbours of a node with the plan.

    Args:
        node: of the plan.
        macs: interface name to MAC address, of the whole plan.
        found: ``ip -j neigh show nud permanent``.
    """
    wanted = {(n.interface, n.address): macs[n.owner_interface] for n in node.addressing.neighbours}
    got = {(item["dev"], item["dst"]): item.get("lladdr") for item in found}
    for place, mac in wanted.items():
        if got.get(place) != mac:
            _same(node.name, f"neighbour {place[1]} on {place[0]}", mac, got.get(place))
    _same(node.name, "number of neighbours", len(wanted), len(got))


def check_queues(ways: Sequence[Direction], qdiscs: list[dict[str, Any]], classes: str) -> None:
    """Compares the queues of a node's interfaces with the plan.

    Args:
        ways: the directions that it sends.
        qdiscs: ``tc -j -d qdisc show``, of all interfaces.
        classes: ``tc class show dev DEVICE`` of each shaped one, in the order of `ways`.
    """
    of_device: dict[str, list[dict[str, Any]]] = {}
    for qdisc in qdiscs:
        of_device.setdefault(qdisc["dev"], []).append(qdisc)
    shaped = [way for way in ways if shaping.shaped(way) is not None]
    texts = shaping.classes_by_device(classes)
    if len(texts) != len(shaped):
        where = ways[0].sender if ways else ""
        _same(where, "number of capacities", len(shaped), len(texts))
    class_of = dict(zip((way.sender_interface for way in shaped), texts, strict=True))
    for way in ways:
        device = way.sender_interface
        shaping.check_read_back(way, of_device.get(device, []), class_of.get(device, ""))


def _same(where: str, what: str, wanted: object, got: object) -> None:
    if wanted != got:
        raise ReadBackError(
            f"{where}: {what} was set to {wanted} and reads back as {got}",
            where=where,
            wanted=str(wanted),
            got=got,
        )

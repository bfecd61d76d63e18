"""Routes and neighbours of a plan. Pure.

Rules:

- Routes are the shortest paths by hops, through routers only, ties broken by the order of the
  topology: the same plan for the same topology, always.
- A node to which the topology gives `routes` has those, and routes to its own segments.
- A service address is one that several servers have, each on its loopback device. The shortest
  ways to them are used together (equal-cost multipath, as load balancers do it).
- Every neighbour in a segment is known from the start: neither ARP nor neighbour discovery shifts
  a packet count.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from testbed.errors import Problem
from testbed.network.families import AnyInterface, AnyNetwork, prefix_in
from testbed.scenario.model import IpVersion


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface and the address that the topology gives it, if any."""

    node: str
    interface: str
    link: str
    given: str | None


@dataclass(frozen=True, slots=True)
class Hop:
    """A further way of a route: over `interface` to the router `via`."""

    interface: str
    via: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `prefix` over `interface`, directly where `via` is None."""

    prefix: str
    interface: str
    via: str | None
    others: tuple[Hop, ...] = ()
    """Further ways of the same cost."""

    @property
    def hops(self) -> tuple[Hop, ...]:
        """All its ways through routers."""
        first = () if self.via is None else (Hop(self.interface, self.via),)
        return first + self.others


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node of the same segment: its address and interface, and over which of ours."""

    address: str
    interface: str
    owner_node: str
    owner_interface: str


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route as a topology gives it: a prefix or ``default``, and its gateways."""

    prefix: str
    gateways: tuple[str, ...]


@dataclass(frozen=True)
class Map:
    """Where everything is."""

    version: IpVersion
    roles: Mapping[str, str]
    segments: Sequence[Sequence[Attachment]]
    addresses: Mapping[str, AnyInterface]
    """Of each interface."""
    services: Mapping[str, AnyInterface] = field(default_factory=dict)
    """Of each node that has one."""

    def address(self, attachment: Attachment) -> str:
        """Without its prefix length."""
        return self._texts[attachment.interface]

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {interface: str(address.ip) for interface, address in self.addresses.items()}

    @cached_property
    def prefixes(self) -> list[str]:
        """Of each segment."""
        return [str(self.addresses[s[0].interface].network) if s else "" for s in self.segments]

    @cached_property
    def routers(self) -> list[list[Attachment]]:
        """The interfaces of routers in each segment."""
        return [[a for a in s if self.roles[a.node] == "router"] for s in self.segments]

    @cached_property
    def exits(self) -> dict[str, dict[int, Attachment]]:
        """Of each node its segments by number, with its first interface there."""
        found: dict[str, dict[int, Attachment]] = {}
        for index, segment in enumerate(self.segments):
            for attachment in segment:
                found.setdefault(attachment.node, {}).setdefault(index, attachment)
        return found

    def neighbours(self, node: str) -> Iterator[tuple[Attachment, Attachment]]:
        """Each interface of `node` with each other one of its segment."""
        for index in self.exits.get(node, ()):
            segment = self.segments[index]
            for own in (a for a in segment if a.node == node):
                yield from ((own, other) for other in segment if other.node != node)


def neighbours(where: Map, node: str) -> list[Neighbour]:
    """Who shares a segment with `node`."""
    return [
        Neighbour(where.address(other), own.interface, other.node, other.interface)
        for own, other in where.neighbours(node)
    ]


def computed_routes(where: Map, node: str) -> list[Route]:
    """The shortest ways from `node` to every segment, and to every service address."""
    if where.roles[node] == "switch":
        return []
    ways = _ways(where, node)
    routes = [Route(where.prefixes[i], way.interface, way.via) for i, way in ways.items()]
    return routes + list(_to_services(where, node, ways))


@dataclass(frozen=True, slots=True)
class _Way:
    interface: str
    via: str | None
    hops: int


def _ways(where: Map, node: str) -> dict[int, _Way]:
    """To each segment by its number; breadth first, from `node` through routers."""
    own = where.exits.get(node, {})
    ways = {index: _Way(end.interface, None, 0) for index, end in own.items()}
    queue = deque(ways)
    while queue:
        index = queue.popleft()
        way = ways[index]
        for gateway in where.routers[index]:
            if gateway.node == node:
                continue
            beyond = [other for other in where.exits[gateway.node] if other not in ways]
            if beyond:
                further = _Way(way.interface, way.via or where.address(gateway), way.hops + 1)
                ways.update(dict.fromkeys(beyond, further))
                queue.extend(beyond)
    return ways


def _to_services(where: Map, node: str, ways: Mapping[int, _Way]) -> Iterator[Route]:
    for service in dict.fromkeys(where.services.values()):
        owners = [name for name, address in where.services.items() if address == service]
        if node in owners:
            continue
        found = [
            (way.hops, Hop(way.interface, way.via or where.address(end)))
            for index, way in ways.items()
            for end in where.segments[index]
            if end.node in owners
        ]
        least = min((hops for hops, _ in found), default=0)
        first, *others = dict.fromkeys(hop for hops, hop in found if hops == least) or [None]
        if first is not None:
            yield Route(str(service.network), first.interface, first.via, tuple(others))  # type: ignore[arg-type]


def given_routes(
    where: Map, node: str, given: Sequence[StaticRoute], texts: Mapping[str, str]
) -> tuple[list[Route], list[Problem]]:
    """Routes to the segments of `node`, and those that the topology gives it.

    Args:
        where: everything is.
        node: has them.
        given: by the topology.
        texts: the addresses that the topology gives, as it writes them, with their interfaces.

    Returns:
        The routes, and what is wrong with those that cannot be.
    """
    routes = [r for r in computed_routes(where, node) if r.via is None]
    problems = []
    beside = {where.address(other): own.interface for own, other in where.neighbours(node)}
    for route in given:
        place = f"node {node}: routes"
        prefix = read_prefix(where.version, route.prefix)
        if prefix is None:
            text = f'expected a prefix such as 10.0.1.0/24, or default (got "{route.prefix}")'
            problems.append(Problem(place, text))
            continue
        hops = []
        for gateway in route.gateways:
            address = gateway
            if gateway in texts:
                address = str(where.addresses[texts[gateway]].ip)
            if address in beside:
                hops.append(Hop(beside[address], address))
            else:
                text = f"no neighbour has the address {gateway} (the gateway of {route.prefix})"
                problems.append(Problem(place, text))
        if hops:
            first, *others = hops
            routes.append(Route(str(prefix), first.interface, first.via, tuple(others)))
    return routes, problems


def read_prefix(version: IpVersion, text: str) -> AnyNetwork | None:
    """A route's prefix in the IP version of a run; None: it is none."""
    try:
        return prefix_in(version, ipaddress.ip_network("0.0.0.0/0" if text == "default" else text))
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def _parsed(text: str) -> AnyNetwork:
    return ipaddress.ip_network(text)


class Forwarding:
    """What becomes of a packet, by the routes of a plan."""

    def __init__(
        self, routes: Mapping[str, Sequence[Route]], owners: Mapping[str, Sequence[str]]
    ) -> None:
        """Takes the routes of each node, and the nodes that have each address."""
        self._routes = routes
        self._owners = owners
        self._tables: dict[str, dict[int, dict[int, Route]]] = {}

    def obstacle(self, start: str, address: str) -> str | None:
        """Why a packet from `start` may not come to `address`; None: it does, on each way."""
        target = ipaddress.ip_address(address)
        waiting: list[tuple[str, tuple[str, ...]]] = [(start, ())]
        done = set()
        while waiting:
            node, path = waiting.pop()
            if node in path:
                return f"routes lead in a circle: {' - '.join((*path, node))}"
            if node in done or node in self._owners.get(address, ()):
                continue
            route = self._route(node, int(target), target.max_prefixlen)
            if route is None:
                return f"{node} has no route to {address}"
            for via in (route.via or address, *(hop.via for hop in route.others)):
                owners = self._owners.get(via)
                if not owners:
                    return f"{node} looks for {via}, which nobody has"
                waiting.append((owners[0], (*path, node)))
            done.add(node)
        return None

    def _route(self, node: str, target: int, bits: int) -> Route | None:
        """The route with the longest prefix that holds `target`."""
        if node not in self._tables:
            table: dict[int, dict[int, Route]] = {}
            for route in self._routes.get(node, ()):
                prefix = _parsed(route.prefix)
                table.setdefault(prefix.prefixlen, {})[int(prefix.network_address)] = route
            self._tables[node] = dict(sorted(table.items(), reverse=True))
        for length, routes in self._tables[node].items():
            found = routes.get(target >> (bits - length) << (bits - length))
            if found is not None:
                return found
        return None

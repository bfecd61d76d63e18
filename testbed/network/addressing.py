"""Addresses, routes and neighbours of a plan, IPv4. Pure.

Rules:

- Interfaces joined by links and switches form a segment; a segment has one prefix.
- An address that the topology gives stands, and gives its segment the prefix. A network that is one
  segment has 10.0.0.0/8, as in Mininet; otherwise segments take 10.0.0.0/24, 10.0.1.0/24, ... as
  far as no given prefix lies there.
- Routes are the shortest paths by hops, through routers only, ties broken by the order of the
  topology: the same plan for the same topology, always.
- Every neighbour in a segment is known from the start: no ARP shifts a packet count.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from testbed.errors import Problem, ScenarioError

_SPACE = IPv4Network("10.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface and the address that the topology gives it, if any."""

    node: str
    interface: str
    link: str
    given: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `prefix` over `interface`, directly where `via` is None."""

    prefix: str
    interface: str
    via: str | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node of the same segment: its address and interface, and over which of ours."""

    address: str
    interface: str
    owner_node: str
    owner_interface: str


@dataclass(frozen=True, slots=True)
class NodeAddressing:
    """Addresses, routes and neighbours of one node."""

    addresses: tuple[str, ...]
    """In the order of the node's interfaces, with prefix length."""
    address_of: Mapping[str, str]
    """Interface name to address with prefix length; a switch has none."""
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]


def assign(
    roles: Mapping[str, str], attachments: Sequence[Attachment]
) -> dict[str, NodeAddressing]:
    """Addresses, routes and neighbours of each node of `roles`.

    Raises:
        ScenarioError: addresses that cannot be read, used twice or at odds, a loop of switches, or
            a segment with more interfaces than its prefix has addresses.
    """
    segments = _segments(roles, attachments)
    addresses = _addresses(roles, segments)
    return {
        node: NodeAddressing(
            addresses=tuple(
                str(addresses[a.interface])
                for a in attachments
                if a.node == node and a.interface in addresses
            ),
            address_of={
                a.interface: str(addresses[a.interface])
                for a in attachments
                if a.node == node and a.interface in addresses
            },
            routes=tuple(_routes(node, roles, segments, addresses)),
            neighbours=tuple(_neighbours(node, segments, addresses)),
        )
        for node in roles
    }


def _segments(
    roles: Mapping[str, str], attachments: Sequence[Attachment]
) -> list[list[Attachment]]:
    """Interfaces by segment, switches' own ports left out."""
    ends: dict[str, list[Attachment]] = {}
    for attachment in attachments:
        ends.setdefault(attachment.link, []).append(attachment)
    links_of: dict[str, list[str]] = {}
    for attachment in attachments:
        links_of.setdefault(attachment.node, []).append(attachment.link)
    segments, seen = [], set()
    for start in ends:
        if start in seen:
            continue
        members, queue = [], deque([start])
        seen.add(start)
        switches: set[str] = set()
        links = 0
        while queue:
            link = queue.popleft()
            links += 1
            for end in ends[link]:
                if roles[end.node] != "switch":
                    members.append(end)
                    continue
                if end.node in switches:
                    continue
                switches.add(end.node)
                fresh = [name for name in links_of[end.node] if name not in seen]
                seen.update(fresh)
                queue.extend(fresh)
        if links > len(switches) + len(members) - 1:
            raise ScenarioError(
                [Problem("topology", f"the switches {', '.join(sorted(switches))} form a loop")]
            )
        segments.append(members)
    return segments


def _addresses(
    roles: Mapping[str, str], segments: Sequence[Sequence[Attachment]]
) -> dict[str, IPv4Interface]:
    problems: list[Problem] = []
    given = {a.interface: _read(a, problems) for segment in segments for a in segment}
    fixed: dict[str, IPv4Interface] = {name: ip for name, ip in given.items() if ip is not None}
    prefixes = [_prefix(segment, fixed, problems) for segment in segments]
    if problems:
        raise ScenarioError(problems)
    taken = [prefix for prefix in prefixes if prefix is not None]
    is_one = len(segments) == 1 and "router" not in roles.values()
    result: dict[str, IPv4Interface] = {}
    for segment, prefix in zip(segments, prefixes, strict=True):
        if prefix is None:
            prefix = _SPACE if is_one else _free_prefix(taken, len(segment))
            taken.append(prefix)
        _fill(segment, prefix, fixed, result, problems)
    _check_unique(result, problems)
    if problems:
        raise ScenarioError(problems)
    return result


def _read(attachment: Attachment, problems: list[Problem]) -> IPv4Interface | None:
    if attachment.given is None:
        return None
    try:
        found = ipaddress.IPv4Interface(attachment.given)
    except ValueError:
        found = None
    if found is None or found.network.prefixlen > 30:
        problems.append(
            Problem(
                f"node {attachment.node}: address of {attachment.interface}",
                f"expected an IPv4 address with a prefix of at most 30 bits, such as 10.0.0.1/24 "
                f'(got "{attachment.given}")',
            )
        )
    return found


def _prefix(
    segment: Sequence[Attachment], fixed: Mapping[str, IPv4Interface], problems: list[Problem]
) -> IPv4Network | None:
    found = {fixed[a.interface].network: a.interface for a in segment if a.interface in fixed}
    if len(found) > 1:
        text = ", ".join(f"{name} in {network}" for network, name in found.items())
        problems.append(
            Problem("topology", f"interfaces of one segment lie in different prefixes: {text}")
        )
    return next(iter(found), None)


def _free_prefix(taken: Sequence[IPv4Network], interfaces: int) -> IPv4Network:
    bits = min(24, 32 - (interfaces + 1).bit_length())
    for candidate in _SPACE.subnets(new_prefix=bits):
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise ScenarioError([Problem("topology", f"no prefix of {bits} bits is left in {_SPACE}")])


def _fill(
    segment: Sequence[Attachment],
    prefix: IPv4Network,
    fixed: Mapping[str, IPv4Interface],
    result: dict[str, IPv4Interface],
    problems: list[Problem],
) -> None:
    used = {fixed[a.interface].ip for a in segment if a.interface in fixed}
    free = (ip for ip in prefix.hosts() if ip not in used)
    for attachment in segment:
        if attachment.interface in fixed:
            result[attachment.interface] = fixed[attachment.interface]
            continue
        address = next(free, None)
        if address is None:
            problems.append(
                Problem(
                    f"node {attachment.node}",
                    f"no address is left in {prefix} for {attachment.interface}",
                )
            )
            return
        result[attachment.interface] = IPv4Interface(f"{address}/{prefix.prefixlen}")


def _check_unique(addresses: Mapping[str, IPv4Interface], problems: list[Problem]) -> None:
    owner: dict[object, str] = {}
    for interface, address in addresses.items():
        if address.ip in owner:
            problems.append(
                Problem(
                    "topology",
                    f"{interface} and {owner[address.ip]} have the same address {address.ip}",
                )
            )
        owner[address.ip] = interface


def _routes(
    node: str,
    roles: Mapping[str, str],
    segments: Sequence[Sequence[Attachment]],
    addresses: Mapping[str, IPv4Interface],
) -> list[Route]:
    """Breadth first over segments, from `node` through routers."""
    routes: list[Route] = []
    reached: set[int] = set()
    queue: deque[tuple[int, str, str | None]] = deque()
    for index, segment in enumerate(segments):
        for a in segment:
            if a.node == node and index not in reached:
                reached.add(index)
                routes.append(Route(str(addresses[a.interface].network), a.interface, None))
                queue.append((index, a.interface, None))
    while queue:
        index, interface, via = queue.popleft()
        for gateway in segments[index]:
            if roles[gateway.node] != "router" or gateway.node == node:
                continue
            first_hop = via or str(addresses[gateway.interface].ip)
            for other, segment in enumerate(segments):
                exits = [a for a in segment if a.node == gateway.node]
                if other in reached or not exits:
                    continue
                reached.add(other)
                prefix = str(addresses[exits[0].interface].network)
                routes.append(Route(prefix, interface, first_hop))
                queue.append((other, interface, first_hop))
    return routes


def _neighbours(
    node: str,
    segments: Sequence[Sequence[Attachment]],
    addresses: Mapping[str, IPv4Interface],
) -> list[Neighbour]:
    found = []
    for segment in segments:
        for own in (a for a in segment if a.node == node):
            found += [
                Neighbour(str(addresses[a.interface].ip), own.interface, a.node, a.interface)
                for a in segment
                if a.node != node
            ]
    return found

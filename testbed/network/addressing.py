"""Addresses of a plan, and with them its routes and neighbours. Pure.

Rules:

- Interfaces joined by links and switches form a segment; a segment has one prefix.
- An address that the topology gives stands, and gives its segment the prefix. A network that is one
  segment has 10.0.0.0/8, as in Mininet; otherwise segments take 10.0.0.0/24, 10.0.1.0/24, ... as
  far as no given prefix lies there.
- With IPv6 all of these have their places in fd00::/8 (`testbed.network.families`).
- Routes and neighbours: `testbed.network.routing`.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Final

from testbed.errors import Problem, ScenarioError
from testbed.network import routing
from testbed.network.families import (
    ALL_BITS,
    LONGEST_PREFIX_BITS,
    AnyInterface,
    AnyNetwork,
    interface_in,
    network_in,
)
from testbed.network.routing import Attachment, Neighbour, Route, StaticRoute
from testbed.scenario.model import IpVersion

__all__ = ["Attachment", "Neighbour", "NodeAddressing", "Route", "Said", "StaticRoute", "assign"]

_SPACE: Final = IPv4Network("10.0.0.0/8")
_EXAMPLE: Final = {4: "an IPv4 address", 6: "an IPv4 or IPv6 address"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a topology says of its nodes beside the addresses of interfaces."""

    routes: Mapping[str, Sequence[StaticRoute]] = field(default_factory=dict)
    """Of the nodes that have some given."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Service addresses, without prefix length."""


@dataclass(frozen=True, slots=True)
class NodeAddressing:
    """Addresses, routes and neighbours of one node."""

    addresses: tuple[str, ...]
    """In the order of the node's interfaces, with prefix length."""
    address_of: Mapping[str, str]
    """Interface name to address with prefix length; a switch has none."""
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]
    service: str | None = None
    """The service address on its loopback device, with prefix length."""


def assign(
    roles: Mapping[str, str],
    attachments: Sequence[Attachment],
    version: IpVersion = 4,
    said: Said | None = None,
) -> dict[str, NodeAddressing]:
    """Addresses, routes and neighbours of each node of `roles`.

    Raises:
        ScenarioError: addresses that cannot be read, used twice or at odds, a loop of switches, a
            segment with more interfaces than its prefix has addresses, or routes that cannot be.
    """
    said = said or Said()
    segments = _segments(roles, attachments)
    problems: list[Problem] = []
    services = _services(said.services, version, problems)
    addresses = _addresses(roles, segments, version, services, problems)
    where = routing.Map(version, roles, segments, addresses, services)
    texts = {a.given.partition("/")[0]: a.interface for a in attachments if a.given}
    found = {}
    for node in roles:
        own = [a.interface for a in attachments if a.node == node and a.interface in addresses]
        if node in said.routes:
            routes, wrong = routing.given_routes(where, node, said.routes[node], texts)
            problems += wrong
        else:
            routes = routing.computed_routes(where, node)
        found[node] = NodeAddressing(
            addresses=tuple(str(addresses[interface]) for interface in own),
            address_of={interface: str(addresses[interface]) for interface in own},
            routes=tuple(routes),
            neighbours=tuple(routing.neighbours(where, node)),
            service=str(services[node]) if node in services else None,
        )
    if problems:
        raise ScenarioError(problems)
    return found


def _services(
    given: Mapping[str, str], version: IpVersion, problems: list[Problem]
) -> dict[str, AnyInterface]:
    found: dict[str, AnyInterface] = {}
    for node, text in given.items():
        try:
            address = ipaddress.ip_address(text)
            segment = network_in(version, ipaddress.ip_network(address))
        except ValueError:
            message = f'expected {_EXAMPLE[version]} without a prefix (got "{text}")'
            problems.append(Problem(f"node {node}: service", message))
            continue
        host = int(segment.network_address) + (segment.version != address.version)
        found[node] = ipaddress.ip_interface((host, ALL_BITS[version]))
    return found


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
    roles: Mapping[str, str],
    segments: Sequence[Sequence[Attachment]],
    version: IpVersion,
    services: Mapping[str, AnyInterface],
    problems: list[Problem],
) -> dict[str, AnyInterface]:
    """Of each interface; problems are told as far as they can be told together."""
    given = {a.interface: _read(a, version, problems) for segment in segments for a in segment}
    fixed: dict[str, AnyInterface] = {name: ip for name, ip in given.items() if ip is not None}
    prefixes = [_prefix(segment, fixed, problems) for segment in segments]
    _check_apart(segments, prefixes, problems)
    if problems:
        raise ScenarioError(problems)
    taken = [prefix for prefix in prefixes if prefix is not None]
    taken += [service.network for service in services.values()]
    is_one = len(segments) == 1 and "router" not in roles.values()
    result: dict[str, AnyInterface] = {}
    for segment, prefix in zip(segments, prefixes, strict=True):
        if prefix is None:
            one = network_in(version, _SPACE)
            prefix = one if is_one else _free_prefix(version, taken, len(segment))
            taken.append(prefix)
        _fill(segment, prefix, fixed, result, problems)
    _check_unique(result, services, problems)
    if problems:
        raise ScenarioError(problems)
    return result


def _read(
    attachment: Attachment, version: IpVersion, problems: list[Problem]
) -> AnyInterface | None:
    if attachment.given is None:
        return None
    found: AnyInterface | None
    try:
        found = ipaddress.ip_interface(attachment.given)
        if found.network.prefixlen > (30 if found.version == 4 else LONGEST_PREFIX_BITS[6]):
            raise ValueError
        found = interface_in(version, found)
    except ValueError:
        found = None
        problems.append(
            Problem(
                f"node {attachment.node}: address of {attachment.interface}",
                f"expected {_EXAMPLE[version]} with a prefix of at most 30 bits, such as "
                f'10.0.0.1/24 (got "{attachment.given}")',
            )
        )
    return found


def _prefix(
    segment: Sequence[Attachment], fixed: Mapping[str, AnyInterface], problems: list[Problem]
) -> AnyNetwork | None:
    found = {fixed[a.interface].network: a.interface for a in segment if a.interface in fixed}
    if len(found) > 1:
        text = ", ".join(f"{name} in {network}" for network, name in found.items())
        problems.append(
            Problem("topology", f"interfaces of one segment lie in different prefixes: {text}")
        )
    return next(iter(found), None)


def _check_apart(
    segments: Sequence[Sequence[Attachment]],
    prefixes: Sequence[AnyNetwork | None],
    problems: list[Problem],
) -> None:
    """No two segments may have addresses of the same prefix: no route could tell them apart."""
    given = [(p, s[0].interface) for p, s in zip(prefixes, segments, strict=True) if p is not None]
    given.sort(key=lambda one: (int(one[0].network_address), one[0].prefixlen))
    widest = given[0] if given else None
    for prefix, interface in given[1:]:
        if widest is not None and prefix.network_address in widest[0]:
            problems.append(
                Problem(
                    "topology",
                    f"the segments of {widest[1]} and {interface} have addresses in the same "
                    f"prefix: {widest[0]}" + (f" and {prefix}" if prefix != widest[0] else ""),
                )
            )
        else:
            widest = prefix, interface


def _free_prefix(version: IpVersion, taken: Sequence[AnyNetwork], interfaces: int) -> AnyNetwork:
    bits = min(24, 32 - (interfaces + 1).bit_length())
    for candidate in _SPACE.subnets(new_prefix=bits):
        found = network_in(version, candidate)
        if not any(found.overlaps(other) for other in taken):
            return found
    raise ScenarioError([Problem("topology", f"no prefix of {bits} bits is left in {_SPACE}")])


def _fill(
    segment: Sequence[Attachment],
    prefix: AnyNetwork,
    fixed: Mapping[str, AnyInterface],
    result: dict[str, AnyInterface],
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
        result[attachment.interface] = ipaddress.ip_interface(f"{address}/{prefix.prefixlen}")


def _check_unique(
    addresses: Mapping[str, AnyInterface],
    services: Mapping[str, AnyInterface],
    problems: list[Problem],
) -> None:
    """Only a service address may be of several nodes, and of no interface."""
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
    for node, service in services.items():
        segment = next((n for n in addresses.values() if service.ip in n.network), None)
        if segment is not None:
            problems.append(
                Problem(
                    f"node {node}: service",
                    f"expected an address outside of all segments "
                    f"(got {service.ip}, which lies in {segment.network})",
                )
            )

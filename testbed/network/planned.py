"""A plan: the nodes and links that will be built, checked, in base units. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from testbed.network.addressing import NodeAddressing
from testbed.network.node_settings import Spread
from testbed.recording.manifest import Direction, LinkRecord
from testbed.scenario.model import IpVersion, Switches
from testbed.scenario.nodes import NodeSettings

Role: TypeAlias = Literal["client", "server", "router", "host", "switch"]


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """One interface to build."""

    node: str
    name: str
    mac: str
    link: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node to build."""

    name: str
    role: Role
    interfaces: tuple[InterfacePlan, ...]
    addressing: NodeAddressing
    settings: NodeSettings = field(default_factory=NodeSettings)
    """As the scenario has them."""
    spread: Spread = "flows"
    """What goes which way where a route has several gateways."""


@dataclass(frozen=True)
class NetworkPlan:
    """All that will be built, checked."""

    nodes: tuple[NodePlan, ...]
    links: tuple[LinkRecord, ...]
    warnings: tuple[str, ...]
    ip: IpVersion = 4
    switches: Switches = "bridge"
    """What each switch is."""

    def node(self, name: str) -> NodePlan:
        """The node of that name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, NodePlan]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def relayed(self) -> frozenset[str]:
        """The names of the links whose interfaces are TAP devices."""
        return frozenset(link.name for link in self.links if link.wire == "relay")

    @property
    def spreads_packets(self) -> bool:
        """Whether a node sends packets of one route over several ways."""
        return any(
            node.spread == "packets" and any(route.others for route in node.addressing.routes)
            for node in self.nodes
        )

    @cached_property
    def marks(self) -> bool:
        """Whether a queue may mark packets, from the start or by its schedule."""
        ways = [way for link in self.links for way in (link.forward, link.reverse)]
        ways += [change.settings for link in self.links for change in link.schedule]
        return any(way.queue is not None and way.queue.marks for way in ways)

    def sent_by(self, node: str) -> list[Direction]:
        """The directions of links that `node` sends, in the order of the links."""
        return self._sent_by.get(node, [])

    @cached_property
    def _sent_by(self) -> dict[str, list[Direction]]:
        found: dict[str, list[Direction]] = {}
        for link in self.links:
            for way in (link.forward, link.reverse):
                found.setdefault(way.sender, []).append(way)
        return found

    def with_role(self, role: Role) -> tuple[NodePlan, ...]:
        """The nodes of that role, in the order of the topology."""
        return tuple(node for node in self.nodes if node.role == role)

    def address(self, node: str) -> str:
        """The first address of `node`, without its prefix length."""
        return self.node(node).addressing.addresses[0].split("/")[0]

    def asked_at(self, server: str) -> str:
        """The address at which clients ask `server`: its service address, or its first."""
        return (self.node(server).addressing.service or self.address(server)).split("/")[0]

    def asked_by(self, client: str) -> tuple[str, ...]:
        """The addresses that `client` asks, in turn.

        With as many clients as servers each client has its own server, otherwise every client asks
        all.
        """
        clients = [node.name for node in self.with_role("client")]
        asked = [self.asked_at(node.name) for node in self.with_role("server")]
        if len(clients) == len(asked):
            return (asked[clients.index(client)],)
        return tuple(dict.fromkeys(asked))

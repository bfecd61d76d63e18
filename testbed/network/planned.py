"""A plan: the nodes and links that will be built, checked, in base units. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from testbed.network.addressing import NodeAddressing
from testbed.recording.manifest import Direction, LinkRecord

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


@dataclass(frozen=True)
class NetworkPlan:
    """All that will be built, checked."""

    nodes: tuple[NodePlan, ...]
    links: tuple[LinkRecord, ...]
    warnings: tuple[str, ...]

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

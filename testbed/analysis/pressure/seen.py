"""What every stop has in common: its place, its waits, and the nodes at both ends."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.analysis.pressure.waits import Waits
from testbed.analysis.summary import Stop, StopDirection
from testbed.analysis.topology import Topology
from testbed.recording.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Seen:
    """One stop with all its waits."""

    layer: str
    node: str
    direction: StopDirection
    what: str
    unit: str
    waits: Waits

    def measured(self, start_ns: int, end_ns: int) -> Stop:
        """Its figures over a time."""
        waits = self.waits.within(start_ns, end_ns)
        waited_ns = waits.total_ns
        return Stop(
            layer=self.layer,
            node=self.node,
            direction=self.direction,
            what=self.what,
            waited_ns=waited_ns,
            waited_ratio=waited_ns / max(end_ns - start_ns, 1),
            longest_ns=waits.longest_ns,
            waits=waits.count,
            peak_amount=waits.peak,
            unit=self.unit,
        )


def nodes_of(manifest: Manifest, role: str) -> list[str]:
    """The nodes with a role, in the order of the manifest."""
    return [node.name for node in manifest.nodes if node.role == role]


def sends(manifest: Manifest, node: str) -> StopDirection:
    """What a host sends: clients requests, servers responses."""
    return "response" if node in nodes_of(manifest, "server") else "request"


def receives(manifest: Manifest, node: str) -> StopDirection:
    """What a host receives: the other of both."""
    return "request" if sends(manifest, node) == "response" else "response"


def directions(topology: Topology, manifest: Manifest) -> dict[tuple[str, str], StopDirection]:
    """What goes over each direction of each link: towards the servers requests, else responses.

    "both" where neither end is nearer to a server.
    """
    distance = dict.fromkeys(nodes_of(manifest, "server"), 0)
    waiting = list(distance)
    while waiting:
        near = waiting.pop(0)
        for way in topology.ways:
            if way.settings.sender == near and way.settings.receiver not in distance:
                distance[way.settings.receiver] = distance[near] + 1
                waiting.append(way.settings.receiver)
    found: dict[tuple[str, str], StopDirection] = {}
    for way in topology.ways:
        here, there = (distance.get(n, 0) for n in (way.settings.sender, way.settings.receiver))
        one: StopDirection = "both"
        if here != there:
            one = "request" if there < here else "response"
        found[way.link.name, way.name] = one
    return found

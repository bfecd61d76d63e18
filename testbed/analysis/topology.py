"""Who sits where: nodes, interfaces and links of the manifest in the form that matching needs.

Why: dumpcap does not write a packet's direction. At a host or router a frame with the interface's
own MAC address goes out, any other comes in. A switch port's own address is in no frame; there,
what comes in has the address of something behind the port (layer-2 segments are trees).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import addresses
from testbed.recording.manifest import Direction, LinkRecord, Manifest

DirectionName = Literal["forward", "reverse"]
FORWARDING_ROLES = ("router", "switch")


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of one link."""

    link: LinkRecord
    name: DirectionName
    settings: Direction

    @property
    def label(self) -> str:
        """``r1-server forward``."""
        return f"{self.link.name} {self.name}"

    @property
    def ends(self) -> str:
        """``r1 → server``, as reports have it."""
        return f"{self.settings.sender} → {self.settings.receiver}"


class Topology:
    """Lookups over a manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.nodes = {node.name: node for node in manifest.nodes}
        self.ways = tuple(_ways(manifest))
        self.sent_over = {(w.settings.sender, w.settings.sender_interface): w for w in self.ways}
        self.received_over = {
            (w.settings.receiver, w.settings.receiver_interface): w for w in self.ways
        }
        self.address_keys: dict[int, str] = {}
        self.own_keys: dict[str, set[int]] = {name: set() for name in self.nodes}
        self._owners: dict[int, list[str]] = {}
        for node in manifest.nodes:
            own = [text for interface in node.interfaces for text in interface.addresses]
            for text in [*own, *([node.service] if node.service else [])]:
                key = addresses.key(text)
                self.address_keys[key] = text.partition("/")[0]
                self.own_keys[node.name].add(key)
                self._owners.setdefault(key, []).append(node.name)

    def owner(self, address_key: int) -> str:
        """The node that has an address; empty where none has it, or several share it."""
        owners = self._owners.get(address_key, [])
        return owners[0] if len(owners) == 1 else ""

    def forwards(self, node: str) -> bool:
        """Whether a node passes on packets that are not its own."""
        known = self.nodes.get(node)
        return known is not None and known.role in FORWARDING_ROLES

    def outgoing(
        self,
        node: str,
        interfaces: list[str],
        interface: npt.NDArray[np.uint8],
        source_mac: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        """Whether each packet of a node's capture leaves it, shape (packets,)."""
        out = np.zeros(interface.size, np.bool_)
        known = self.nodes.get(node)
        for index, name in enumerate(interfaces):
            if known is None:
                continue
            here = interface == index
            if known.role == "switch":
                behind = np.array(sorted(self._behind(node, name)), np.uint64)
                out[here] = ~np.isin(source_mac[here], behind)
            else:
                own = next((_mac(i.mac) for i in known.interfaces if i.name == name), None)
                out[here] = source_mac[here] == np.uint64(own) if own is not None else False
        return out

    def _behind(self, node: str, interface: str) -> set[int]:
        """MAC addresses whose frames enter `node` through `interface`."""
        found: set[int] = set()
        waiting, seen = [(node, interface)], {node}
        while waiting:
            way = self.sent_over.get(waiting.pop())
            if way is None or way.settings.receiver in seen:
                continue
            neighbour = self.nodes.get(way.settings.receiver)
            if neighbour is None:
                continue
            if neighbour.role != "switch":
                found |= {
                    _mac(i.mac)
                    for i in neighbour.interfaces
                    if i.name == way.settings.receiver_interface
                }
                continue
            seen.add(neighbour.name)
            found |= {_mac(i.mac) for i in neighbour.interfaces}
            waiting += [
                (neighbour.name, i.name)
                for i in neighbour.interfaces
                if i.name != way.settings.receiver_interface
            ]
        return found


def _ways(manifest: Manifest) -> Iterator[Way]:
    for link in manifest.links:
        yield Way(link, "forward", link.forward)
        yield Way(link, "reverse", link.reverse)


def _mac(text: str) -> int:
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        return -1 & 0xFFFFFFFFFFFFFFFF  # no frame has it

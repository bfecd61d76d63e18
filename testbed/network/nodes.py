"""Mininet's nodes, interfaces and links over what the testbed builds itself.

Why not `Mininet.build`: it configures one setting per process, hides exit codes, puts netem into
the sender's own queue and rewrites sysctls of the machine. What stays Mininet's: the `Topo`, the
nodes with their shells and namespaces, and the command line of `testbed shell`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from testbed.network.plan import NetworkPlan, NodePlan
from testbed.recording.manifest import LinkRecord

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mininet 2.3 imports distutils and has invalid escapes
    from mininet.cli import CLI
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Node

__all__ = ["Mininet", "add_links", "command_line", "start_nodes"]


class LabInterface(Intf):  # type: ignore[misc]  # mininet has no types
    """An interface that exists already and is configured already."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: the builder did it."""
        return {}


class LabLink(Link):  # type: ignore[misc]
    """A link that exists already."""

    def __init__(self, first: Intf, second: Intf) -> None:
        self.intf1, self.intf2 = first, second
        first.link = second.link = self


class LabSwitch(Node):  # type: ignore[misc]
    """A Linux bridge in a namespace of its own, with what Mininet's command line asks for."""

    def connected(self) -> bool:
        """Whether it forwards; a bridge does from the start."""
        return True

    def dpctl(self, *_arguments: str) -> str:
        """A bridge has no OpenFlow table."""
        return "a Linux bridge has no OpenFlow table\n"

    def defaultIntf(self) -> Intf | None:  # noqa: N802 - Mininet's name
        """A bridge's ports have no address."""
        return None


def start_nodes(plan: NetworkPlan) -> Mininet:
    """A `Mininet` with a running node for each of `plan`, and no links yet."""
    Mininet.inited = True  # its init() would rewrite sysctls and limits of the machine
    net = Mininet(topo=None, build=False, controller=None)
    for node in plan.nodes:
        if node.role == "switch":
            net.addSwitch(node.name, cls=LabSwitch)
        else:
            net.addHost(node.name, cls=Node, ip=None)
    return net


def add_links(net: Mininet, plan: NetworkPlan) -> None:
    """Tells `net` of the interfaces and links that were built."""
    interfaces = {
        i.name: _interface(net, node, i.name) for node in plan.nodes for i in node.interfaces
    }
    for link in plan.links:
        net.links.append(_link(interfaces, link))
    net.built = True


def _link(interfaces: dict[str, Intf], link: LinkRecord) -> LabLink:
    return LabLink(
        interfaces[link.forward.sender_interface], interfaces[link.forward.receiver_interface]
    )


def _interface(net: Mininet, node: NodePlan, name: str) -> LabInterface:
    planned = next(interface for interface in node.interfaces if interface.name == name)
    interface = LabInterface(
        name, node=net[node.name], mac=planned.mac, moveIntfFn=lambda *_arguments: None
    )
    address = node.addressing.address_of.get(name)
    if address is not None:
        interface.ip, interface.prefixLen = address.split("/")
    return interface


class LabCli(CLI):  # type: ignore[misc]
    """Mininet's command line with a command that changes links."""

    on_change: Callable[[str], str]

    def do_change(self, line: str) -> None:
        """Change a link, both ways or one: change r1-server.forward: loss 5%, delay 50ms."""
        print(type(self).on_change(line))


def command_line(net: Mininet, on_change: Callable[[str], str]) -> None:
    """Mininet's own command line on `net`; returns when its user leaves it.

    Args:
        net: the network.
        on_change: takes the words after ``change``, and returns what is to be printed.
    """
    # Mininet's CLI runs its loop when it is made: there is no other way in.
    LabCli.on_change = staticmethod(on_change)
    LabCli(net)

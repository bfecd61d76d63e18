"""Mininet's nodes, interfaces and links over what the testbed builds itself.

Why not `Mininet.build`: it configures one setting per process, hides exit codes, puts netem into
the sender's own queue and rewrites sysctls of the machine. What stays Mininet's: the `Topo`, the
nodes with their shells, and the command line of `testbed shell`.

A node's shell starts with the first command that it is given: a run gives it none, and a shell for
each of 100 nodes would be a second of work and 100 processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from testbed.network.open_vswitch import environment
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import find_tool
from testbed.recording.manifest import LinkRecord

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mininet 2.3 imports distutils and has invalid escapes
    from mininet.cli import CLI
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Node

__all__ = ["Mininet", "command_line", "mininet_of"]


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


class LabNode(Node):  # type: ignore[misc]
    """A node whose namespace exists already, and whose shell starts when it is first asked for."""

    _has_started = False
    _is_starting = False

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 - Mininet's name
        """Nothing yet: Mininet calls it when the node is made."""

    @property
    def shell(self) -> Any:
        """The shell's process; the first look at it starts it. None once it has ended."""
        self._start()
        return self._shell

    @shell.setter
    def shell(self, value: Any) -> None:
        self._shell = value

    @property
    def pid(self) -> int | None:
        """The shell's process id, which Mininet enters the node by (mnexec -a)."""
        self._start()
        return self._pid

    @pid.setter
    def pid(self, value: int | None) -> None:
        self._pid = value

    def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._is_starting = True
            super().startShell()
            self._is_starting = False

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        """As Mininet does, but that the shell itself is started in our namespace (ip-netns(8))."""
        if self._is_starting:
            # Without mnexec's n, which would make another namespace.
            inside = [find_tool("ip"), "netns", "exec", self.name]
            cmd = [*inside, "mnexec", "-cd", *cmd[2:]]
        return super()._popen(cmd, **params)

    def terminate(self) -> None:
        """Ends the shell, where there is one."""
        if self._has_started:
            super().terminate()


class LabSwitch(LabNode):
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


class LabOpenVSwitch(LabSwitch):
    """A switch of Open vSwitch, with daemons of its own."""

    def dpctl(self, *arguments: str) -> str:
        """Runs ovs-ofctl, such as ``dpctl dump-flows``."""
        command, *rest = arguments or ("show",)
        variables = [f"{name}={value}" for name, value in environment(self.name).items()]
        return str(self.cmd(*variables, "ovs-ofctl", command, self.name, *rest))


def mininet_of(plan: NetworkPlan) -> Mininet:
    """A `Mininet` of a network that was built, with its nodes, interfaces and links."""
    Mininet.inited = True  # its init() would rewrite sysctls and limits of the machine
    net = Mininet(topo=None, build=False, controller=None)
    for node in plan.nodes:
        if node.role == "switch":
            kind = LabSwitch if plan.switches == "bridge" else LabOpenVSwitch
            net.addSwitch(node.name, cls=kind)
        else:
            net.addHost(node.name, cls=LabNode, ip=None)
    interfaces = {
        i.name: _interface(net, node, i.name) for node in plan.nodes for i in node.interfaces
    }
    for link in plan.links:
        net.links.append(_link(interfaces, link))
    net.built = True
    return net


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

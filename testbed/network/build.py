"""Builds a plan, and reads every setting back.

Order, and why: sysctls first, so that no interface ever speaks IPv6 by itself; offloads before
queues, so that no queue ever sees a super-packet; routes with the congestion control on them
(`testbed.network.ip_lines`); read-back last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.errors import MachineError, ReadBackError, ToolError
from testbed.network import ip_lines, kernel_wire, nodes, shaping
from testbed.network.nodes import Mininet
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Interface, LinkRecord, Node

OFFLOADS: Final = {
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "tx": "tx-checksumming",
}
"""What is turned off, ethtool's short name and the name it reads back with; tx, so that checksums
are real ones.
"""
_NEEDED_WORDS: Final = {"red": ("limit", "60000", "avpkt", "1000", "bandwidth", "10mbit")}
"""What a qdisc cannot be tried without."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that stands."""

    plan: NetworkPlan
    mininet: Mininet
    toolbox: Toolbox
    nodes: tuple[Node, ...]
    """As read back."""

    def process_id(self, node: str) -> int:
        """A process that lives in the namespaces of `node`: its shell."""
        return int(self.mininet[node].pid)


def build(plan: NetworkPlan, congestion_control: str) -> Network:
    """Builds `plan` inside the sandbox.

    Raises:
        MachineError: the congestion control is not in this kernel, or no node can be made.
        ToolError: a command failed.
        ReadBackError: a setting reads back as something else.
    """
    _check_congestion_control(congestion_control)
    tools = Toolbox()
    _check_mnexec(tools)
    check_qdiscs(tools, plan)
    # The sandbox's own namespace too: the inner ends of kernel wires lie in it.
    tools.run(["sysctl", "-q", "-w", *_words(ip_lines.QUIET)])
    mininet = nodes.start_nodes(plan)
    for node in plan.nodes:
        tools.remember(["ip", "netns", "add", node.name])
        tools.run(["ip", "netns", "attach", node.name, str(mininet[node.name].pid)], remember=False)
        sysctls = _words(sysctls_of(plan, node))
        tools.run(["ip", "netns", "exec", node.name, "sysctl", "-q", "-w", *sysctls])
    _make_taps(tools, plan)
    tools.batch(
        ["ip"], [line for index, link in enumerate(plan.links) for line in _link(index, link)]
    )
    for node in plan.nodes:
        if node.role == "switch":
            tools.batch(["ip", "-n", node.name], _bridge_lines(node))
        for interface in node.interfaces:
            _offloads_off(tools, ["ip", "netns", "exec", node.name], interface.name)
        tools.batch(["ip", "-n", node.name], ip_lines.lines(plan, node, congestion_control))
        if plan.ip == 6 and node.role == "router":
            sysctls = _words(ip_lines.FORWARDING)
            tools.run(["ip", "netns", "exec", node.name, "sysctl", "-q", "-w", *sysctls])
        tools.batch(["tc", "-n", node.name], _tc_lines(plan, node))
    for index, link in enumerate(plan.links):
        if link.wire == "kernel":
            kernel_wire.join(tools, index, link)
    nodes.add_links(mininet, plan)
    found = tuple(_read_back(tools, plan, node, congestion_control) for node in plan.nodes)
    return Network(plan, mininet, tools, found)


def _check_mnexec(tools: Toolbox) -> None:
    """Tries Mininet's mnexec: Mininet itself would wait for ever for a shell that never starts."""
    try:
        tools.run(["mnexec", "-n", "true"], remember=False)
    except ToolError as error:
        raise MachineError(
            f"mnexec cannot make the namespaces of a node: {error.stderr.strip()} "
            "(in a container, start it with --privileged)",
            where="mnexec",
        ) from error


def check_qdiscs(tools: Toolbox, plan: NetworkPlan) -> None:
    """Tries each qdisc that the plan needs on the sandbox's own loopback device.

    Raises:
        MachineError: the kernel has none of that kind.
    """
    ways = [way for link in plan.links for way in (link.forward, link.reverse)]
    for kind in dict.fromkeys(kind for way in ways for kind in shaping.kinds(way)):
        argv = ["tc", "qdisc", "add", "dev", "lo", "root", kind, *_NEEDED_WORDS.get(kind, ())]
        try:
            tools.run(argv, remember=False)
        except ToolError as error:
            what = "a capacity" if kind == "htb" else f"the queue {kind}"
            raise MachineError(
                f"{what} needs the {kind} qdisc, which this kernel refuses "
                f"({error.stderr.strip()}); as root: modprobe sch_{kind}",
                where="--capacity" if kind == "htb" else "--queue",
            ) from error
        tools.run(["tc", "qdisc", "del", "dev", "lo", "root"], remember=False)


def _check_congestion_control(name: str) -> None:
    path = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    available = path.read_text(encoding="ascii").split()
    if name not in available:
        raise MachineError(
            f'congestion control "{name}" is not loaded in this kernel '
            f"(it has: {', '.join(available)}); as root: modprobe tcp_{name}",
            where="congestion_control",
        )


def sysctls_of(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """The sysctls of a node before it has interfaces, as set and as they must read back."""
    settings = ip_lines.sysctls(plan, node)
    if node.role == "switch" or not _marks(plan):
        return settings
    # Both ends must ask for it (RFC 3168, 6.1.1); Linux only answers unless it is told (tcp(7)).
    return {**settings, "net.ipv4.tcp_ecn": "1"}


def _marks(plan: NetworkPlan) -> bool:
    """Whether a queue of the plan may mark packets, from the start or by its schedule."""
    ways = [way for link in plan.links for way in (link.forward, link.reverse)]
    ways += [change.settings for link in plan.links for change in link.schedule]
    return any(way.queue is not None and way.queue.marks for way in ways)


def _words(settings: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]


def _link(index: int, link: LinkRecord) -> list[str]:
    """Lines for `ip -batch` that make the two interfaces of a link, with what lies between them."""
    ends = [(link.forward.sender, link.forward.sender_interface)]
    ends.append((link.forward.receiver, link.forward.receiver_interface))
    if link.wire == "relay":
        return []  # TAP devices are made within the namespace, by _make_taps
    if link.wire == "kernel":
        return [
            f"link add {name} netns {node} type veth peer name {inner}"
            for (node, name), inner in zip(ends, kernel_wire.inner_names(index), strict=True)
        ]
    (a, a_name), (b, b_name) = ends
    return [f"link add {a_name} netns {a} type veth peer name {b_name} netns {b}"]


def _bridge_lines(node: NodePlan) -> list[str]:
    return [f"link add {node.name} type bridge stp_state 0 mcast_snooping 0"]


def _make_taps(tools: Toolbox, plan: NetworkPlan) -> None:
    """Makes the TAP devices of relayed links, in the namespaces of their nodes."""
    relayed = {link.name for link in plan.links if link.wire == "relay"}
    for node in plan.nodes:
        tools.batch(
            ["ip", "-n", node.name],
            [f"tuntap add dev {i.name} mode tap" for i in node.interfaces if i.link in relayed],
        )


def _offloads_off(tools: Toolbox, prefix: list[str], device: str) -> None:
    words = [word for name in OFFLOADS for word in (name, "off")]
    tools.run([*prefix, "ethtool", "-K", device, *words])


def _tc_lines(plan: NetworkPlan, node: NodePlan) -> list[str]:
    ways = (way for link in plan.links for way in (link.forward, link.reverse))
    return [line for way in ways if way.sender == node.name for line in shaping.tc_commands(way)]


def _read_back(tools: Toolbox, plan: NetworkPlan, node: NodePlan, congestion_control: str) -> Node:
    inside = ["ip", "netns", "exec", node.name]
    wanted = sysctls_of(plan, node)
    if plan.ip == 6 and node.role == "router":
        wanted |= ip_lines.FORWARDING
    values = tools.run([*inside, "sysctl", "-n", *wanted], remember=False).split()
    sysctls = dict(zip(wanted, values, strict=True))
    for name, value in wanted.items():
        _same(node.name, name, value, sysctls[name])
    _check_queues(tools, plan, node)
    _check_routes(tools, plan, node, congestion_control)
    links = {item["ifname"]: item for item in _json(tools, ["ip", "-n", node.name, "-j", "addr"])}
    interfaces = []
    for interface in node.interfaces:
        found = links[interface.name]
        _same(node.name, f"{interface.name} address", interface.mac, found["address"])
        addresses = [f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"]]
        planned = node.addressing.address_of.get(interface.name)
        _same(node.name, interface.name, [planned] if planned else [], addresses)
        offloads = _read_offloads(tools, inside, interface.name)
        interfaces.append(
            Interface(
                name=interface.name, mac=interface.mac, addresses=addresses, offloads=offloads
            )
        )
    return Node(
        name=node.name,
        role=node.role,
        interfaces=interfaces,
        sysctls=sysctls,
        congestion_control=None if node.role == "switch" else congestion_control,
    )


def _read_offloads(tools: Toolbox, prefix: list[str], device: str) -> dict[str, bool]:
    features = _json(tools, [*prefix, "ethtool", "--json", "-k", device])[0]
    offloads = {long: bool(features[long]["active"]) for long in OFFLOADS.values()}
    for name, active in offloads.items():
        _same(device, name, False, active)
    return offloads


def _check_queues(tools: Toolbox, plan: NetworkPlan, node: NodePlan) -> None:
    for link in plan.links:
        for way in (link.forward, link.reverse):
            if way.sender != node.name:
                continue
            tc = ["tc", "-n", node.name]
            device = way.sender_interface
            qdiscs = _json(tools, [*tc, "-j", "-d", "qdisc", "show", "dev", device])
            classes = ""
            if shaping.shaped(way) is not None:
                classes = tools.run([*tc, "class", "show", "dev", device], remember=False)
            shaping.check_read_back(way, qdiscs, classes)


def _check_routes(
    tools: Toolbox, plan: NetworkPlan, node: NodePlan, congestion_control: str
) -> None:
    if node.role == "switch":
        return
    argv = ["ip", "-n", node.name, f"-{plan.ip}", "-oneline", "route", "show"]
    text = tools.run(argv, remember=False)
    for line in text.splitlines():
        if f"congctl {congestion_control}" not in line:
            raise ReadBackError(
                f"{node.name}: a route has no congctl {congestion_control}: {line.strip()}",
                where=node.name,
            )
    _same(node.name, "number of routes", len(node.addressing.routes), len(text.splitlines()))


def _json(tools: Toolbox, argv: list[str]) -> Any:
    return json.loads(tools.run(argv, remember=False))


def _same(where: str, what: str, wanted: object, got: object) -> None:
    if wanted != got:
        raise ReadBackError(
            f"{where}: {what} was set to {wanted} and reads back as {got}",
            where=where,
            wanted=str(wanted),
            got=got,
        )

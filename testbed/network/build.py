"""Builds a plan, and reads every setting back.

Order, and why: sysctls first, so that no interface ever speaks IPv6 by itself; offloads before
queues, so that no queue ever sees a super-packet; routes with the congestion control on them
(below); read-back last.

A network of hundreds of nodes is to stand within seconds, so a node costs few processes: one ip
that sets and shows, one or two tc. Namespaces, sysctls and offloads are system calls. Nodes do not
depend on one another once the pairs between them are made: each CPU builds one at a time.

Congestion control: a namespace may set its sysctl only to what the machine's
net.ipv4.tcp_allowed_congestion_control lists (net/ipv4/tcp_cong.c), and a socket needs
CAP_NET_ADMIN for others. A route's ``congctl`` is under neither rule, holds for both ends of a
connection and needs no word from the application.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.errors import MachineError, ToolError
from testbed.network import (
    commands,
    kernel_wire,
    nodes,
    offloads,
    open_vswitch,
    read_back,
    shaping,
    spreading,
    sysctls,
)
from testbed.network.nodes import Mininet
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Interface, Node
from testbed.sandbox import netns

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


def build(plan: NetworkPlan, congestion_control: str) -> Network:
    """Builds `plan` inside the sandbox.

    Raises:
        MachineError: the congestion control is not in this kernel, or no node can be made.
        RunError: a command failed.
        ReadBackError: a setting reads back as something else.
    """
    _check_congestion_control(congestion_control)
    tools = Toolbox()
    check_qdiscs(tools, plan)
    if plan.switches == "ovs":
        open_vswitch.check_programs()
        open_vswitch.check_datapath()
    sysctls.check(plan)
    # The sandbox's own namespace too: the inner ends of kernel wires lie in it.
    sysctls.write(tools, sysctls.QUIET)
    for node in plan.nodes:
        _make_namespace(tools, plan, node)
    tools.batch(["ip"], commands.pair_lines(plan))
    found = _build_nodes(tools, plan, congestion_control)
    kernel_wire.join(tools, enumerate(plan.links))
    return Network(plan, nodes.mininet_of(plan), tools, found)


def _make_namespace(tools: Toolbox, plan: NetworkPlan, node: NodePlan) -> None:
    """Makes the namespace of a node, with its sysctls before it has any interface."""
    path = netns.of_node(node.name)
    tools.remember(["ip", "netns", "add", node.name])
    try:
        netns.create(path)
    except OSError as error:
        raise MachineError(
            f"cannot make the namespace of a node: {error} "
            "(in a container, start it with --privileged)",
            where=node.name,
        ) from error
    with netns.visiting(path):
        sysctls.write(tools, sysctls.sysctls_of(plan, node), node=node.name)


def _build_nodes(tools: Toolbox, plan: NetworkPlan, congestion_control: str) -> tuple[Node, ...]:
    """Sets all that lies within nodes; the nodes as read back."""
    macs = {i.name: i.mac for node in plan.nodes for i in node.interfaces}

    def build_one(node: NodePlan) -> tuple[Node, Toolbox]:
        own = Toolbox()
        return _build_node(own, plan, node, macs, congestion_control), own

    pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)))
    try:
        built = list(pool.map(build_one, plan.nodes))
    finally:
        pool.shutdown(cancel_futures=True)  # of the others, when one has failed
    for _, own in built:
        tools.append(own)
    return tuple(node for node, _ in built)


def _build_node(
    tools: Toolbox,
    plan: NetworkPlan,
    node: NodePlan,
    macs: Mapping[str, str],
    congestion_control: str,
) -> Node:
    """Sets and reads back all that lies within one node."""
    lines = commands.node_lines(plan, node, macs, congestion_control)
    if node.role == "switch" and plan.switches == "ovs":
        tools.batch(["ip", "-n", node.name], lines)
        open_vswitch.start(tools, node)
        lines = []
    shows = ["addr show", "neigh show nud permanent"]
    if plan.ip == 4:
        links, neighbours, routes = tools.settle(
            ["ip", "-n", node.name], lines, [*shows, "route show"]
        )
    else:
        # Two processes: "route show" shows one version only, and no word of its line changes which.
        links, neighbours = tools.settle(["ip", "-n", node.name], lines, shows)
        (routes,) = tools.settle(["ip", "-n", node.name, "-6"], [], ["route show"])
    addresses = read_back.addresses_of(plan, node, links)
    if node.role != "switch":
        read_back.check_routes(node, routes, congestion_control)
        read_back.check_neighbours(node, macs, neighbours)
    with netns.visiting(netns.of_node(node.name)):
        names = [interface.name for interface in node.interfaces]
        off = offloads.switch_off(tools, names, node=node.name)
        later = sysctls.later_sysctls_of(plan, node)
        if later:
            sysctls.write(tools, later, node=node.name)
        wanted = {**sysctls.sysctls_of(plan, node), **later}
        settings = sysctls.read_back(wanted, node=node.name)
    spreading.set_up(tools, node, plan.ip)
    _make_queues(tools, plan, node)
    interfaces = [
        Interface(
            name=interface.name,
            mac=interface.mac,
            addresses=addresses[interface.name],
            offloads={
                offloads.OFFLOADS[name]: active for name, active in off[interface.name].items()
            },
        )
        for interface in node.interfaces
    ]
    return Node(
        name=node.name,
        role=node.role,
        interfaces=interfaces,
        sysctls=settings,
        descriptors=node.settings.descriptors,
        congestion_control=None if node.role == "switch" else congestion_control,
        service=node.addressing.service or "",
        spread=node.spread if any(route.others for route in node.addressing.routes) else None,
    )


def _make_queues(tools: Toolbox, plan: NetworkPlan, node: NodePlan) -> None:
    ways = plan.sent_by(node.name)
    lines = commands.queue_lines(ways)
    shaped = [way.sender_interface for way in ways if shaping.shaped(way) is not None]
    tc = ["tc", "-n", node.name]
    classes = ""
    if shaped:
        # Two processes: iproute2 6.1 has no JSON for classes.
        tools.batch(tc, lines)
        classes = tools.batch(tc, [f"class show dev {device}" for device in shaped], remember=False)
        lines = []
    (qdiscs,) = tools.settle(tc, lines, ["qdisc show"], options=["-d"])
    read_back.check_queues(ways, qdiscs, classes)


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

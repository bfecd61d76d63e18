"""The wire by netem, in the middle of a link: the `kernel` backend.

    node a: a-eth0 ==veth== w0a --mirred--> w0b ==veth== b-eth0 :node b
                            netem (reverse)  netem (forward)

Each interface is a veth end whose peer lies in the sandbox's own namespace. What comes out of one
peer is redirected to the other's egress, where netem delays or drops it. So captures at both nodes
see a packet before and after the wire, and a loss is never the sender's own.

netem's limit counts the packets in the delay line; it is set far above what a link can hold, and a
packet that finds it full is the emulator's overflow. netem counts it among its `drops` like any
loss, but tells the device layer (NET_XMIT_DROP, where a loss is NET_XMIT_SUCCESS), which tells
mirred, which counts it among its `overlimits` (tcf_mirred_act, net/sched/act_mirred.c).

netem corrupts only the part of a packet that lies in one piece (skb_headlen, netem_enqueue): of TCP
data that came through a router (ip_forward, skb_cow) that is the headers. So scatter-gather is off
at both interfaces: what they send is in one piece when it comes here (validate_xmit_skb).

Duplicates enter again at the root of the device's qdiscs, which is netem itself here: a copy is
drawn for loss and corruption anew, and is never duplicated. Kernels that refuse "duplicating netems
with other netems in tree" (check_netem_in_tree, since 6.16 and in stable ones) mean one device: we
have one netem on each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from testbed.errors import ReadBackError, ToolError
from testbed.network import netem
from testbed.network.offloads import switch_off
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction, LinkRecord
from testbed.sandbox.netns import of_node, visiting
from testbed.scenario.model import DirectionName

TABLES: Final = Path("/run/netem")
"""Where tc finds our tables. The sandbox's /run is its own, and tc takes no long path: 127 bytes
with the name (tc/q_netem.c, get_distribution)."""
ENVIRONMENT: Final = {"TC_LIB_DIR": str(TABLES)}


def is_available(tools: Toolbox) -> bool:
    """Whether this kernel has netem; tried on the sandbox's own loopback device."""
    try:
        tools.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem"], remember=False)
    except ToolError:
        return False
    tools.run(["tc", "qdisc", "del", "dev", "lo", "root"], remember=False)
    return True


def inner_names(index: int) -> tuple[str, str]:
    """Names of the two inner ends of link number `index`."""
    return f"w{index}a", f"w{index}b"


def device_of(index: int, direction: DirectionName) -> str:
    """The inner end whose egress has the netem of a direction."""
    first, second = inner_names(index)
    return second if direction == "forward" else first


def join(tools: Toolbox, links: Iterable[tuple[int, LinkRecord]]) -> None:
    """Joins the inner ends of the links that have them crosswise, with netem on each.

    Args:
        tools: runs ip and tc, once for all links.
        links: of the plan, with their numbers; those with another wire are left alone.

    Raises:
        RunError: a command failed.
        ReadBackError: a setting reads back as another.
    """
    ends = []
    for index, link in links:
        if link.wire == "kernel":
            first, second = inner_names(index)
            ends += [(second, first, link.forward), (first, second, link.reverse)]
    if not ends:
        return
    for inner, _, way in ends:
        with visiting(of_node(way.sender)):
            switch_off(tools, [way.sender_interface], node=way.sender, names=["sg"])
        switch_off(tools, [inner])
    tools.batch(["ip"], [f"link set {inner} up" for inner, _, _ in ends])
    lines = [
        line
        for inner, other, _ in ends
        for line in (
            f"qdisc add dev {inner} clsact",
            f"filter add dev {inner} ingress matchall action mirred egress redirect dev {other}",
        )
    ]
    lines += [f"qdisc add {_root(inner)} netem {netem.settings(way)}" for inner, _, way in ends]
    with_tables = write_tables(tools, (way for _, _, way in ends))
    tools.batch(["tc"], lines, env=ENVIRONMENT if with_tables else None)
    found: list[dict[str, Any]] = json.loads(
        tools.run(["tc", "-j", "qdisc", "show"], remember=False)
    )
    for inner, _, way in ends:
        check(inner, way, [qdisc for qdisc in found if qdisc["dev"] == inner])


def write_tables(tools: Toolbox, ways: Iterable[Direction], *, changing: bool = False) -> bool:
    """Writes the tables that these directions need; whether there are any."""
    found = False
    for variation in (way.delay_variation for way in ways):
        name = netem.table_name(variation, changing=changing)
        if variation is not None and name:
            tools.write_file(TABLES / f"{name}.dist", netem.table_text(variation))
            found = True
    return found


def change_commands(device: str, before: Direction, after: Direction) -> list[str]:
    """The line for `tc -batch` that makes `after` of a live `before` on an inner end.

    Packets that are under way keep the times that they have, and their order. None where nothing of
    the wire differs.
    """
    if netem.settings(before) == netem.settings(after):
        return []
    return [f"qdisc change {_root(device)} netem {netem.settings(after, changing=True)}"]


def _root(device: str) -> str:
    return f"dev {device} root handle 1:"


def check(
    device: str, way: Direction, qdiscs: list[dict[str, Any]], *, changing: bool = False
) -> None:
    """Compares what tc reads back of an inner end with what was set.

    Raises:
        ReadBackError: netem is not there, or reads back other settings.
    """
    options = next((item["options"] for item in qdiscs if item["kind"] == "netem"), None)
    if options is None:
        raise ReadBackError(f"{device}: no netem after it was set", where=device)
    for text in netem.differences(way, options, changing=changing):
        raise ReadBackError(
            f"{device}: netem's {text}",
            where=device,
            wanted=netem.settings(way, changing=changing),
            got=options,
        )


def overflowed_packets(tools: Toolbox, index: int, direction: DirectionName) -> int:
    """Packets of a direction that found netem's delay line full: the emulator's fault.

    Of a packet that was duplicated it knows nothing: netem answers for its copy.
    """
    first, second = inner_names(index)
    entry = first if direction == "forward" else second
    argv = ["tc", "-s", "-j", "filter", "show", "dev", entry, "ingress"]
    return overlimits(json.loads(tools.run(argv, remember=False)))


def overlimits(filters: list[dict[str, Any]]) -> int:
    """The `overlimits` of the mirred action in ``tc -s -j filter show``."""
    actions = [action for item in filters for action in item.get("options", {}).get("actions", [])]
    return sum(action.get("stats", {}).get("overlimits", 0) for action in actions)

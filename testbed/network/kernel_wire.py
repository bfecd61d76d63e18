"""The wire by netem, in the middle of a link: the `kernel` backend.

    node a: a-eth0 ==veth== w0a --mirred--> w0b ==veth== b-eth0 :node b
                            netem (reverse)  netem (forward)

Each interface is a veth end whose peer lies in the sandbox's own namespace. What comes out of one
peer is redirected to the other's egress, where netem delays or drops it. So captures at both nodes
see a packet before and after the wire, and a loss is never the sender's own.

netem's limit counts the packets in the delay line; it is set far above what a link can hold, and a
packet that finds it full is the emulator's overflow.
"""

from __future__ import annotations

import json
from typing import Final

from testbed.errors import ReadBackError, ToolError
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction, LinkRecord
from testbed.units import NS_PER_US

NETEM_LIMIT_PACKETS: Final = 100_000


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


def join(tools: Toolbox, index: int, link: LinkRecord) -> None:
    """Joins the inner ends of `link` crosswise, with netem on each, and reads it back.

    Raises:
        ToolError: a command failed.
        ReadBackError: netem reads back other settings.
    """
    first, second = inner_names(index)
    for inner in (first, second):
        tools.run(["ethtool", "-K", inner, "tso", "off", "gso", "off", "gro", "off", "tx", "off"])
        tools.run(["ip", "link", "set", inner, "up"])
    lines = []
    for inner, other in ((first, second), (second, first)):
        lines += [
            f"qdisc add dev {inner} clsact",
            f"filter add dev {inner} ingress matchall action mirred egress redirect dev {other}",
        ]
    lines += [
        f"qdisc add dev {second} root handle 1: netem {_settings(link.forward)}",
        f"qdisc add dev {first} root handle 1: netem {_settings(link.reverse)}",
    ]
    tools.batch(["tc"], lines)
    _check(tools, second, link.forward)
    _check(tools, first, link.reverse)


def _settings(way: Direction) -> str:
    words = [f"limit {NETEM_LIMIT_PACKETS}"]
    if way.delay_ns:
        words.append(f"delay {way.delay_ns / NS_PER_US:.3f}us")  # tc 6.1 knows no "ns" here
    if way.loss_ratio:
        words.append(f"loss random {way.loss_ratio * 100:.9f}%")
    return " ".join(words)


def _check(tools: Toolbox, device: str, way: Direction) -> None:
    found = json.loads(tools.run(["tc", "-j", "qdisc", "show", "dev", device], remember=False))
    options = next((item["options"] for item in found if item["kind"] == "netem"), None)
    if options is None:
        raise ReadBackError(f"{device}: no netem after it was set", where=device)
    delay_s = options.get("delay", {}).get("delay", 0.0)
    loss = options.get("loss-random", {}).get("loss", 0.0)
    if options.get("limit") != NETEM_LIMIT_PACKETS:
        raise ReadBackError(
            f"{device}: netem's limit was set to {NETEM_LIMIT_PACKETS} and reads back as "
            f"{options.get('limit')}",
            where=device,
        )
    # netem keeps a probability in 32 bits and tc prints delays as seconds with nanosecond digits.
    if abs(delay_s * 1e9 - way.delay_ns) > 1_000 or abs(loss - way.loss_ratio) > 1e-6:
        raise ReadBackError(
            f"{device}: netem was set to delay {way.delay_ns} ns, loss {way.loss_ratio} "
            f"and reads back as {options}",
            where=device,
        )

"""Two nodes with an interface each, named `port`, set up alike whatever joins them.

    a: port ====subject==== port :b

Rules:

- No offloads, so that a frame is a packet and no subject gains from super-packets.
- Socket buffers large enough for the fastest subject at a round trip of 20 ms.
- Neighbours are permanent and IPv6 is off: nothing but the measurement is on the wire.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from testbed.network.commands import TAP_RING_FRAMES
from testbed.network.offloads import OFFLOADS
from testbed.network.tools import Toolbox, find_tool
from testbed.sandbox.netns import of_node, visiting

PORT: Final = "port"
ETHERTYPE: Final = 0x88B6
"""Local experimental EtherType 2 (IEEE 802-2014, 9.2.4): nothing else uses it."""
HEADER: Final = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + ETHERTYPE.to_bytes(2, "big")
_SOCKET_BUFFER: Final = "4096 131072 67108864"
_SYSCTLS: Final = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/tcp_rmem": _SOCKET_BUFFER,
    "ipv4/tcp_wmem": _SOCKET_BUFFER,
}
_tools: Final = Toolbox()


class Node(NamedTuple):
    """One end."""

    name: str
    address: str
    mac: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` in the node's namespace."""
        nsenter = [find_tool("nsenter"), f"--net={of_node(self.name)}"]
        return [*nsenter, find_tool(argv[0]), *argv[1:]]

    def socket(self) -> socket.socket:
        """A socket for frames of `ETHERTYPE` on the node's interface; it does not block."""
        with visiting(of_node(self.name)):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            opened.bind((PORT, ETHERTYPE))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.setblocking(False)
        return opened

    def received_frames(self) -> int:
        """How many frames the interface has received."""
        return self._counters()[1]

    def offered_frames(self) -> int:
        """How many frames the interface was to send: taken from it, and dropped by a full ring."""
        counters = self._counters()
        return counters[9] + counters[11]

    def _counters(self) -> list[int]:
        """The interface's line of /proc/net/dev: eight received, then eight sent."""
        with visiting(of_node(self.name)):
            text = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{PORT}:"))
        return [int(word) for word in line.split(":")[1].split()]


class Pair(NamedTuple):
    """The two ends."""

    a: Node
    b: Node


@contextmanager
def pair(number: int, kind: str, congestion_control: str) -> Iterator[Pair]:
    """Two fresh nodes with TAP devices (`kind` ``tap``) or the ends of a ``veth`` pair."""
    a = Node(f"a{number}", "10.0.0.1", "02:00:00:00:00:0a")
    b = Node(f"b{number}", "10.0.0.2", "02:00:00:00:00:0b")
    for node in (a, b):
        _tools.run(["ip", "netns", "add", node.name])
        with visiting(of_node(node.name)):
            for name, value in _SYSCTLS.items():
                Path("/proc/sys/net", name).write_text(value, encoding="ascii")
    if kind == "veth":
        _ip(f"link add {PORT} netns {a.name} type veth peer name {PORT} netns {b.name}")
    else:
        for node in (a, b):
            _ip(f"-n {node.name} tuntap add dev {PORT} mode tap")
    for node, other in ((a, b), (b, a)):
        ip = f"-n {node.name}"
        words = [word for name in OFFLOADS for word in (name, "off")]
        # Not checked: some are fixed on a TAP device, as they should be.
        subprocess.run(
            node.command(["ethtool", "-K", PORT, *words]), capture_output=True, check=False
        )
        _ip(f"{ip} link set {PORT} address {node.mac} txqueuelen {TAP_RING_FRAMES}")
        _ip(f"{ip} addr add {node.address}/24 dev {PORT} noprefixroute")
        _ip(f"{ip} link set {PORT} up")
        _ip(f"{ip} route add 10.0.0.0/24 dev {PORT} congctl {congestion_control}")
        _ip(f"{ip} neigh add {other.address} lladdr {other.mac} dev {PORT} nud permanent")
    try:
        yield Pair(a, b)
    finally:
        for node in (a, b):
            _ip(f"netns del {node.name}")


def _ip(words: str) -> None:
    _tools.run(["ip", *words.split()])


def cpu_name() -> str:
    """The processor's name, as far as the kernel tells."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine

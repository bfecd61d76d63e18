"""Two nodes, `a` and `b`, joined by the relay through real TAP devices; run inside a sandbox.

    a: tap0 ====relay==== tap0 :b

`python relay_lab.py ORDERS_JSON` builds it, sends the numbered frames that it is told to, waits
until the relay has taken each and the expected ones have arrived, ends the relay and writes what
was seen as JSON. The test outside judges.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from testbed.network.relay.config import (
    LinkConfig,
    RelayAnswer,
    RelayConfig,
    RelayOrder,
    TapEnd,
    WireConfig,
    WireCounts,
)
from testbed.recording.layout import create_partial
from testbed.sandbox.netns import of_node, visiting

ETHERTYPE = 0x88B6
"""Local experimental EtherType 2 (IEEE 802-2014, 9.2.4): nothing else uses it."""
_HEADER = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + struct.pack(">H", ETHERTYPE)
_DEADLINE_S = 30.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab is told."""

    log: str
    """Path of the relay's log; it gets the suffix of files that are being written."""
    seed: int = 7
    forward: WireConfig = WireConfig()
    reverse: WireConfig = WireConfig()
    sizes: dict[str, list[int]]
    """By node, the sizes of the frames that it sends, in order."""
    one_by_one: bool = False
    """Send a frame only when the relay has taken the one before."""
    expected: dict[str, int]
    """By node, how many frames will arrive there; waited for before the relay is stopped."""
    down: list[str] = []
    """Nodes whose device is down, so that nothing can be written to it."""
    mtu_bytes: int = 1500
    order: RelayOrder | None = None
    """Given to the relay when it has taken `order_after` frames of node a."""
    order_after: int = 0
    ring_frames: int = 1000
    """txqueuelen of the devices: what waits for the relay."""
    relay_sleeps: bool = False
    """Stop the relay while the frames are sent."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that came out of the other end."""

    number: int
    size_bytes: int
    time_ns: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab saw."""

    scheduler: str
    counts: dict[str, WireCounts]
    """By direction."""
    sent_ns: dict[str, list[int]]
    """By node, CLOCK_MONOTONIC just before each frame was sent."""
    arrivals: dict[str, list[Arrival]]
    """By node, in the order they came."""


class Node:
    """One end: a namespace, its TAP device, and a socket on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent_ns: list[int] = []
        self.arrivals: list[Arrival] = []
        _ip("netns", "add", name)
        with visiting(of_node(name)):
            for scope in ("all", "default"):
                path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
                Path(path).write_text("1", encoding="ascii")
        _ip("-n", name, "tuntap", "add", "dev", "tap0", "mode", "tap")

    def up(self, mtu_bytes: int, ring_frames: int) -> None:
        """Switches the device on; the relay has it open by now, so it has its carrier."""
        settings = ("mtu", str(mtu_bytes), "txqueuelen", str(ring_frames))
        _ip("-n", self.name, "link", "set", "tap0", *settings, "up")
        with visiting(of_node(self.name)):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.bind(("tap0", ETHERTYPE))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def down(self) -> None:
        """Switches the device off."""
        _ip("-n", self.name, "link", "set", "tap0", "down")

    def send(self, size_bytes: int) -> None:
        """Sends the next frame; its number is in it."""
        frame = _HEADER + struct.pack(">I", len(self.sent_ns))
        self.sent_ns.append(time.monotonic_ns())
        self.socket.send(frame.ljust(size_bytes, b"."))

    def receive(self) -> None:
        """Takes the frames that are there."""
        while select.select([self.socket], [], [], 0)[0]:
            frame = self.socket.recv(65536)
            now_ns = time.monotonic_ns()
            (number,) = struct.unpack_from(">I", frame, len(_HEADER))
            self.arrivals.append(Arrival(number=number, size_bytes=len(frame), time_ns=now_ns))

    def taken(self) -> int:
        """How many frames the relay has read from the device, or the device has dropped.

        tun(4) counts as sent what was read.
        """
        with visiting(of_node(self.name)):
            text = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.strip().startswith("tap0:"))
        counters = line.split(":")[1].split()
        return int(counters[9]) + int(counters[11])


def run(orders: Orders) -> Seen:
    """Carries the orders out."""
    nodes = {name: Node(name) for name in ("a", "b")}
    relay = _start_relay(orders)
    scheduler = _answer(relay).scheduler
    for node in nodes.values():
        node.up(orders.mtu_bytes, orders.ring_frames)
    for name in orders.down:
        nodes[name].down()
    if orders.relay_sleeps:
        relay.send_signal(signal.SIGSTOP)
    for name, sizes in orders.sizes.items():
        for number, size in enumerate(sizes, start=1):
            if orders.order is not None and name == "a" and number == orders.order_after + 1:
                _give(relay, orders.order)
            nodes[name].send(size)
            waits = orders.one_by_one or number in (len(sizes), orders.order_after)
            if waits and not orders.relay_sleeps:
                _wait(list(nodes.values()), orders, {name: number})
    if orders.relay_sleeps:
        relay.send_signal(signal.SIGCONT)
    _wait(list(nodes.values()), orders, {name: len(s) for name, s in orders.sizes.items()}, True)
    assert relay.stdin is not None
    relay.stdin.close()
    counts = _answer(relay).counts or {}
    if relay.wait() != 0:
        raise AssertionError(f"the relay ended with {relay.returncode}")
    for node in nodes.values():
        if node.name not in orders.down:
            node.receive()
    return Seen(
        scheduler=scheduler,
        counts=counts["a-b"],
        sent_ns={name: node.sent_ns for name, node in nodes.items()},
        arrivals={name: node.arrivals for name, node in nodes.items()},
    )


def _start_relay(orders: Orders) -> subprocess.Popen[bytes]:
    descriptor = create_partial(Path(orders.log))
    link = LinkConfig(
        name="a-b",
        ends=(TapEnd(node="a", interface="tap0"), TapEnd(node="b", interface="tap0")),
        forward=orders.forward,
        reverse=orders.reverse,
        log_fd=descriptor,
    )
    told = msgspec.json.encode(RelayConfig(seed=orders.seed, links=[link]))
    relay = subprocess.Popen(
        [sys.executable, "-m", "testbed.network.relay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[descriptor],
    )
    assert relay.stdin is not None
    relay.stdin.write(told + b"\n")
    relay.stdin.flush()
    return relay


def _give(relay: subprocess.Popen[bytes], order: RelayOrder) -> None:
    assert relay.stdin is not None
    relay.stdin.write(msgspec.json.encode(order) + b"\n")
    relay.stdin.flush()
    assert _answer(relay).taken_ns


def _answer(relay: subprocess.Popen[bytes]) -> RelayAnswer:
    assert relay.stdout is not None
    return msgspec.json.decode(relay.stdout.readline(), type=RelayAnswer)


def _wait(nodes: list[Node], orders: Orders, taken: dict[str, int], arrived: bool = False) -> None:
    """Until the relay has taken so many frames of each node and, if asked, all have arrived."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        sockets = [node.socket for node in nodes if node.name not in orders.down]
        select.select(sockets, [], [], 0.002)
        for node in nodes:
            if node.name not in orders.down:
                node.receive()
        counts = {node.name: node.taken() for node in nodes}
        here = {node.name: len(node.arrivals) for node in nodes}
        if all(counts[name] >= wanted for name, wanted in taken.items()) and (
            not arrived or all(here[name] >= wanted for name, wanted in orders.expected.items())
        ):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"taken {counts} of {taken}, arrived {here} of {orders.expected}")


def _ip(*words: str) -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    subprocess.run(["ip", *words], check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    seen = run(msgspec.json.decode(sys.argv[1], type=Orders))
    sys.stdout.buffer.write(msgspec.json.encode(seen))

"""Pairs of nodes joined by the wire of netem as the testbed builds it; inside a sandbox.

    a0: a0-0 ==veth== w0a --mirred--> w0b ==veth== b0-0 :b0     (shaped at a0-0, netem at w0b)

`python -m tests.support.wire_lab` reads orders as JSON, a line each. For each it builds a pair of
its own, sends numbered frames from a to b, makes the changes that it is told to, waits until
nothing is queued any more, and answers with a line of what was seen. The test outside judges
(`tests.support.wire_bench`).

Why one process for many: on an emulated CPU it takes Python longer to start than most labs last.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from typing import Any, Final

import msgspec

from testbed.network import kernel_wire, live, netem, shaping
from testbed.network.tools import Toolbox, find_tool
from testbed.recording.manifest import Direction, LinkRecord
from testbed.sandbox.netns import of_node, visiting

BARE: Final = Direction(sender="a", sender_interface="a-0", receiver="b", receiver_interface="b-0")
"""What orders begin with; the lab names the nodes anew."""
FRAME_BYTES: Final = 1000
_ETH_P_ALL: Final = 3
_ETH_P_IP: Final = 0x0800
_ETHERNET: Final = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + struct.pack(">H", _ETH_P_IP)
_IP_HEADER_BYTES: Final = 20
_ECT0: Final = 0b10
_CE: Final = 0b11
_SO_SNDBUFFORCE: Final = 32  # include/uapi/asm-generic/socket.h; the socket module lacks the three
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_DEADLINE_S: Final = 60.0
_LIMIT: Final = netem.LIMIT_PACKETS


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A live change of the direction from a to b."""

    after: int
    """Frames that were sent before it."""
    settings: Direction


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab is told."""

    forward: Direction = BARE
    frames: int
    frame_bytes: int = 100
    can_ecn: bool = False
    """The frames say ECT(0), so that a queue may mark them (RFC 3168, 5)."""
    pause_ns: int = 0
    """Between frames."""
    changes: list[Change] = []
    netem_limit: int | None = None
    """Packets that netem holds at most, instead of the testbed's."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that came out of the wire."""

    number: int
    flipped: int
    """Bits in which it differs from what was sent, those of ECN left out."""
    ce: bool
    time_ns: int
    """CLOCK_REALTIME, by the kernel."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab saw."""

    sent_ns: list[int]
    """CLOCK_REALTIME just before each frame was sent."""
    arrivals: list[Arrival]
    """In the order they came."""
    netem: dict[str, Any]
    """``tc -s -j qdisc show`` at the end."""
    queues: list[dict[str, Any]]
    """Of a's interface at the end, with ``-d``."""
    queued: list[tuple[int, int]]
    """Packets in a's queue and on the wire, just before each change."""
    changed_ns: list[tuple[int, int]]
    """CLOCK_MONOTONIC before and after each change."""
    overflowed: int
    commands: str
    """commands.sh."""


def frame(number: int, size_bytes: int, *, can_ecn: bool) -> bytes:
    """An Ethernet frame with an IPv4 packet that holds its number many times."""
    tos = _ECT0 if can_ecn else 0
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, tos, size_bytes - 14, 0, 0, 64, 253, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    head = head[:10] + struct.pack(">H", checksum) + head[12:]
    return (_ETHERNET + head + struct.pack(">I", number) * (size_bytes // 4))[:size_bytes]


def read_frame(data: bytes, *, can_ecn: bool) -> tuple[int, int, bool]:
    """The number of a frame, the bits in which it differs from what was sent, and whether it has
    the mark CE."""
    body = data[14 + _IP_HEADER_BYTES :]
    words = [body[place : place + 4] for place in range(0, len(body) - 3, 4)]
    number = struct.unpack(">I", Counter(words).most_common(1)[0][0])[0]
    sent = bytearray(frame(number, len(data), can_ecn=can_ecn))
    ce = can_ecn and data[15] & _CE == _CE
    if ce:
        sent[15:16] = data[15:16]
        sent[24:26] = data[24:26]  # the header's checksum, which the mark changes
    flipped = sum((x ^ y).bit_count() for x, y in zip(sent, data, strict=True))
    return number, flipped, ce


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line of answer."""

    seen: Seen | None = None
    error: str = ""
    """How it failed."""


class Lab:
    """The link and a socket on each end."""

    def __init__(self, index: int, orders: Orders) -> None:
        self.index = index
        self.orders = orders
        self.tools = Toolbox()
        self.sending, self.receiving = f"a{index}", f"b{index}"
        self.now = self._named(orders.forward)
        back = msgspec.structs.replace(
            BARE,
            sender=self.receiving,
            sender_interface=f"{self.receiving}-0",
            receiver=self.sending,
            receiver_interface=f"{self.sending}-0",
        )
        self.link = LinkRecord(
            name="a-b", wire="kernel", bottleneck=True, forward=self.now, reverse=back
        )
        netem.LIMIT_PACKETS = orders.netem_limit or _LIMIT  # type: ignore[misc]
        self._build()
        self.sender = self._socket(self.sending, _ETH_P_IP)
        self.receiver = self._socket(self.receiving, _ETH_P_ALL)
        self.receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # What the queue holds is on the sender's account: send() would wait for it otherwise.
        self.sender.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 16 << 20)
        self.receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self.receiver.setblocking(False)
        self._received: list[tuple[bytes, int]] = []

    def _named(self, way: Direction) -> Direction:
        return msgspec.structs.replace(
            way,
            sender=self.sending,
            sender_interface=f"{self.sending}-0",
            receiver=self.receiving,
            receiver_interface=f"{self.receiving}-0",
        )

    def _build(self) -> None:
        run = self.tools.run
        inner_names = kernel_wire.inner_names(self.index)
        for node, inner in zip((self.sending, self.receiving), inner_names, strict=True):
            device = f"{node}-0"
            run(["ip", "netns", "add", node])
            inside = ["ip", "netns", "exec", node]
            run([*inside, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"])
            veth = ["type", "veth", "peer", "name", inner]
            run(["ip", "link", "add", device, "netns", node, *veth])
            offloads = [word for name in ("tso", "gso", "gro", "tx") for word in (name, "off")]
            run([*inside, "ethtool", "-K", device, *offloads])
            run(["ip", "-n", node, "link", "set", device, "up"])
        tc = ["tc", "-n", self.sending]
        self.tools.batch(tc, shaping.tc_commands(self.now))
        classes = run([*tc, "class", "show", "dev", self.now.sender_interface], remember=False)
        shaping.check_read_back(self.now, self.queues(), classes)
        kernel_wire.join(self.tools, [(self.index, self.link)])

    def _socket(self, node: str, protocol: int) -> socket.socket:
        with visiting(of_node(node)):
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            found.bind((f"{node}-0", protocol))
        return found

    def send(self, data: bytes) -> None:
        """Sends a frame; one that the queue drops at once is an error to the kernel, not here."""
        try:
            self.sender.send(data)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise

    def queues(self) -> list[dict[str, Any]]:
        """The qdiscs of a's interface."""
        argv = ["tc", "-n", self.sending, "-s", "-d", "-j", "qdisc", "show"]
        argv += ["dev", self.now.sender_interface]
        found: list[dict[str, Any]] = json.loads(self.tools.run(argv, remember=False))
        return found

    def netem(self) -> dict[str, Any]:
        """netem from a to b."""
        device = kernel_wire.device_of(self.index, "forward")
        argv = ["tc", "-s", "-j", "qdisc", "show", "dev", device]
        qdiscs = json.loads(self.tools.run(argv, remember=False))
        found: dict[str, Any] = next(item for item in qdiscs if item["kind"] == "netem")
        return found

    def queued(self) -> tuple[int, int]:
        """Packets in a's queue and on the wire."""
        return max(queue["qlen"] for queue in self.queues()), self.netem()["qlen"]

    def receive(self) -> None:
        """Takes the frames that are there."""
        while True:
            try:
                data, ancillary, _, address = self.receiver.recvmsg(65536, 64)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING:
                continue
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            self._received.append((data, seconds * 10**9 + nanoseconds))

    def arrivals(self) -> list[Arrival]:
        """The frames that were received, read only now: an emulated CPU takes its time."""
        found = []
        for data, time_ns in self._received:
            number, flipped, ce = read_frame(data, can_ecn=self.orders.can_ecn)
            found.append(Arrival(number=number, flipped=flipped, ce=ce, time_ns=time_ns))
        return found

    def change(self, change: Change) -> tuple[int, int]:
        """Makes a live change."""
        was, self.now = self.now, self._named(change.settings)
        return live.change_by_tc(self.tools, self.index, self.link, "forward", was, self.now)


def run(index: int, orders: Orders) -> Seen:
    """Carries the orders out."""
    lab = Lab(index, orders)
    frames = [
        frame(number, orders.frame_bytes, can_ecn=orders.can_ecn) for number in range(orders.frames)
    ]
    sent_ns: list[int] = []
    queued, changed_ns = [], []
    for number in range(orders.frames + 1):
        for change in orders.changes:
            if change.after == number:
                queued.append(lab.queued())
                changed_ns.append(lab.change(change))
        if number == orders.frames:
            break
        sent_ns.append(time.clock_gettime_ns(time.CLOCK_REALTIME))
        lab.send(frames[number])
        lab.receive()
        if orders.pause_ns:
            time.sleep(orders.pause_ns / 1e9)
    deadline = time.monotonic() + _DEADLINE_S
    while lab.queued() != (0, 0):
        lab.receive()
        if time.monotonic() > deadline:
            raise AssertionError(f"still queued: {lab.queued()}")
    lab.receive()
    return Seen(
        sent_ns=sent_ns,
        arrivals=lab.arrivals(),
        netem=lab.netem(),
        queues=lab.queues(),
        queued=queued,
        changed_ns=changed_ns,
        overflowed=kernel_wire.overflowed_packets(lab.tools, index, "forward"),
        commands=lab.tools.script(),
    )


def main() -> None:
    """Answers orders until there are no more."""
    subprocess.run(
        [find_tool("sysctl"), "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"], check=True
    )
    for index, line in enumerate(sys.stdin.buffer):
        try:
            answer = Answer(seen=run(index, msgspec.json.decode(line, type=Orders)))
        except Exception:  # noqa: BLE001 - whatever went wrong is the answer
            answer = Answer(error=traceback.format_exc())
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

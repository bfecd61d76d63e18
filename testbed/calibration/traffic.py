"""Who sends: raw frames at a router's own interface, through its queue and onto the wire.

Rules:

- Every frame has another number in it. What counts is when the kernel saw it leave and come
  (captures), never when Python called `send`: a sender that is late does not matter.
- A saturating sender blocks while the socket's buffer is full, and what it has sent is in the
  buffer until the device takes it: the queue is never empty and never overflows.
- A buffer may not be made larger than net.core.wmem_max, so a fast link gets several sockets.

Why frames of an EtherType of their own and no UDP: nothing answers, routes or counts them.
"""

from __future__ import annotations

import fcntl
import random
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final, Self

from testbed import clock
from testbed.errors import RunError
from testbed.sandbox.netns import of_node, visiting
from testbed.units import NS_PER_S

ETHERTYPE: Final = 0x88B6
"""Local experimental EtherType 2 (IEEE 802-2014, 9.2.4): nobody else uses it."""
_NUMBER: Final = struct.Struct(">I")
_HEADER_BYTES: Final = 14
_OVERHEAD_BYTES: Final = 790
"""What the kernel counts for a frame in a socket's buffer beyond its size (skb->truesize)."""
_UNDER_WAY_NS: Final = 100_000_000
"""How much a saturating sender has waiting, in time at the capacity: more than a busy machine keeps
it from its turn, and soon gone when it ends."""
_SIOCOUTQ: Final = 0x5411
"""include/uapi/linux/sockios.h: bytes of a socket that no device has taken yet."""
_MOST_SOCKETS: Final = 64
_FEWEST_FRAMES: Final = 4
_AT_ONCE: Final = 64
_STUCK_S: Final = 10


class Sender:
    """Sends numbered frames out of one interface.

    Args:
        node: with the interface.
        interface: that they leave by.
        macs: of the interface and of the one at the other end.
        size_bytes: of each frame, Ethernet header included.
        under_way_bit_s: what the buffers are made for; None: they are left as they are.
    """

    def __init__(
        self,
        node: str,
        interface: str,
        macs: tuple[str, str],
        size_bytes: int,
        under_way_bit_s: int | None = None,
    ) -> None:
        own, other = (bytes.fromhex(mac.replace(":", "")) for mac in macs)
        head = other + own + ETHERTYPE.to_bytes(2, "big")
        self._frame = bytearray(head.ljust(size_bytes, b"\0"))
        self.sent = 0
        self.ran_dry = 0
        """How often nothing was waiting any more when a saturating sender came to its turn."""
        self.interface = interface
        with visiting(of_node(node)):
            self._sockets = _sockets(interface, size_bytes, under_way_bit_s)
        self._at_once = _AT_ONCE if len(self._sockets) > 1 else 1

    def send(self) -> None:
        """Sends the next frame.

        Raises:
            RunError: the interface takes none.
        """
        sockets = self._sockets
        _NUMBER.pack_into(self._frame, _HEADER_BYTES, self.sent)
        try:
            sockets[self.sent % len(sockets)].send(self._frame)
        except OSError as error:  # down, gone, a full queue, or nothing taken for _STUCK_S
            raise RunError(
                f"{self.interface} takes no frame: {error.strerror}", where=self.interface
            ) from error
        self.sent += 1

    def saturate(self, duration_ns: int) -> None:
        """Sends without a pause for so long."""
        end_ns = clock.monotonic_ns() + duration_ns
        self.send()
        while clock.monotonic_ns() < end_ns:
            self.ran_dry += not self._is_waiting()
            self.send_many(self._at_once)

    def _is_waiting(self) -> bool:
        """Whether the device has yet to take any of the frames."""
        answer = bytearray(4)
        for each in self._sockets:
            fcntl.ioctl(each, _SIOCOUTQ, answer)
            if int.from_bytes(answer, sys.byteorder) > 0:
                return True
        return False

    def send_many(self, count: int) -> None:
        """Sends so many frames without a pause."""
        for _ in range(count):
            self.send()

    def close(self) -> None:
        """Gives the sockets back."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _sockets(interface: str, size_bytes: int, under_way_bit_s: int | None) -> list[socket.socket]:
    frames = 1
    if under_way_bit_s is not None:
        frames = under_way_bit_s * _UNDER_WAY_NS // (size_bytes * 8 * NS_PER_S)
    wanted_bytes = max(_FEWEST_FRAMES, frames) * (size_bytes + _OVERHEAD_BYTES)
    found: list[socket.socket] = []
    while wanted_bytes > 0 and len(found) < _MOST_SOCKETS:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        found.append(raw)
        raw.bind((interface, 0))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _STUCK_S, 0))
        if under_way_bit_s is None:
            break
        # The kernel doubles what it is told (socket(7)).
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wanted_bytes // 2)
        wanted_bytes -= raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return found


def send_at_random(senders: Sequence[Sender], rate_per_s: float, duration_ns: int) -> None:
    """Sends out of all senders in turn, at times that are a Poisson process (RFC 7679, 3.8.2).

    A regular beat could fall in with another one of the machine.
    """
    draw = random.Random(1)
    start_ns = clock.monotonic_ns()
    at_ns = 0.0
    number = 0
    while True:
        at_ns += draw.expovariate(rate_per_s) * NS_PER_S
        if at_ns > duration_ns:
            return
        wait_ns = start_ns + at_ns - clock.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / NS_PER_S)
        senders[number % len(senders)].send()
        number += 1

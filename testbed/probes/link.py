"""Link probe: packet captures at the interfaces of a node, by dumpcap (wireshark-common).

Rules:

- One dumpcap per node captures all its interfaces into one pcapng, an interface block each,
  nanosecond stamps, headers only.
- With several interfaces dumpcap has a queue between its rings and its file as well, of 1000
  packets by default, which overflows where CPUs are busy; here it has the room of all rings.
- dumpcap counts what its rings and its queue dropped and writes it into the file when it ends
  (interface statistics block).
- It hands packets on when its buffer is full or 100 ms have passed; what came later is lost when it
  is told to stop. So a marker frame leaves through every interface at the end, and a capture is
  stopped only when its file holds the markers of all its interfaces.

Why dumpcap: it works in a user namespace, where tcpdump fails to change its user, and costs no
Python time.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from testbed.events.link import MARKER_ETHERTYPE, SNAPLEN_BYTES

BUFFER_MIB: Final = 16
"""Most for the ring of an interface: 50 ms at 1 Mpps of 160-byte snaps, or 16 s of the 10 Mbit/s of
a teaching lab.
"""
LEAST_BUFFER_MIB: Final = 2
_ALL_BUFFERS_MIB: Final = 512
"""For all interfaces of a run: the kernel takes a ring's memory at once (packet_mmap)."""
READY_WORD: Final = b"File:"
"""dumpcap prints it on standard error when every interface is open."""


def buffer_mib(interfaces: int) -> int:
    """The ring of each, where so many interfaces are captured in a run."""
    return min(BUFFER_MIB, max(LEAST_BUFFER_MIB, _ALL_BUFFERS_MIB // max(1, interfaces)))


def dumpcap_argv(interfaces: Sequence[str], path: Path, buffer_mib: int = BUFFER_MIB) -> list[str]:
    """The command that captures `interfaces` of the namespace it runs in into `path`.

    Args:
        interfaces: their names.
        path: of the file.
        buffer_mib: ring of each interface; the queue has as much as all of them.
    """
    queue_bytes = len(interfaces) * buffer_mib * 2**20
    argv = ["dumpcap", "-q", "-n", "-p", "-C", str(queue_bytes)]
    for interface in interfaces:
        argv += ["-i", interface, "-s", str(SNAPLEN_BYTES), "-B", str(buffer_mib)]
    return [*argv, "-w", str(path)]


_NEAREST_BRIDGE: Final = bytes.fromhex("0180c200000e")
"""A group address that no bridge forwards (IEEE 802.1Q-2022, table 8-1)."""
_SHORTEST_FRAME_BYTES: Final = 60


def marker_signature(mac: str) -> bytes:
    """What a marker from `mac` is known by: source address and EtherType."""
    return bytes.fromhex(mac.replace(":", "")) + MARKER_ETHERTYPE.to_bytes(2, "big")


def send_markers(macs: Mapping[str, str]) -> None:
    """Sends a marker through each interface; to be called inside the node's network namespace.

    One socket for all of them: closing one takes tens of milliseconds (packet_release waits for
    the kernel's other CPUs).

    Args:
        macs: interface name to its MAC address.

    Raises:
        OSError: an interface is gone or down.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        for interface, mac in macs.items():
            frame = (_NEAREST_BRIDGE + marker_signature(mac)).ljust(_SHORTEST_FRAME_BYTES, b"\0")
            raw.sendto(frame, (interface, MARKER_ETHERTYPE))


class CaptureFile:
    """A capture that is being written, read along for the markers in it."""

    def __init__(self, path: Path, macs: Sequence[str]) -> None:
        self._path = path
        self._missing = {marker_signature(mac) for mac in macs}
        self._position = 0

    def is_up_to_date(self) -> bool:
        """Whether every marker has come; none has where there is no file yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return False
        self._missing = {signature for signature in self._missing if signature not in data}
        # A marker may lie across two readings: the last bytes are looked at again.
        self._position += max(0, len(data) - _SHORTEST_FRAME_BYTES)
        return not self._missing

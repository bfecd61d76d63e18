"""Link probe: packet captures at the interfaces of a node, by dumpcap (wireshark-common).

Rules:

- One dumpcap per node captures all its interfaces into one pcapng, an interface block each,
  nanosecond stamps, headers only.
- dumpcap counts what its ring dropped and writes it into the file when it ends (interface
  statistics block).
- It hands packets on when its buffer is full or 100 ms have passed; what came later is lost when it
  is told to stop. So a capture is stopped only after the network has been quiet for `FLUSH_NS`.

Why dumpcap: it works in a user namespace, where tcpdump fails to change its user, and costs no
Python time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.events.link import SNAPLEN_BYTES

FLUSH_NS: Final = 300_000_000
"""dumpcap's two steps of 100 ms, the kernel's block and its own, and as much to spare."""
BUFFER_MIB: Final = 16
"""Ring of each interface: 50 ms at 1 Mpps of 160-byte snaps, or 16 s of the 10 Mbit/s of a teaching
lab.
"""
READY_WORD: Final = b"File:"
"""dumpcap prints it on standard error when every interface is open."""


def dumpcap_argv(interfaces: Sequence[str], path: Path) -> list[str]:
    """The command that captures `interfaces` of the namespace it runs in into `path`."""
    argv = ["dumpcap", "-q", "-n", "-p"]
    for interface in interfaces:
        argv += ["-i", interface, "-s", str(SNAPLEN_BYTES), "-B", str(BUFFER_MIB)]
    return [*argv, "-w", str(path)]

"""Counters of an interface in the namespace of a node (/proc/net/dev, net/core/net-procfs.c)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from testbed.errors import RunError
from testbed.sandbox.netns import of_node, visiting

RX_PACKETS: Final = 1
TX_DROPPED: Final = 11
"""Places in a line: 8 counters of receiving (bytes, packets ...), then as many of sending."""


def counter(node: str, interface: str, place: int) -> int:
    """One counter of `interface` of `node`.

    Raises:
        RunError: there is no such namespace or interface.
    """
    try:
        with visiting(of_node(node)):
            text = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
    except OSError as error:
        raise RunError(f"cannot read the counters of {node}: {error}", where=node) from error
    for line in text.splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == interface:
            return int(counters.split()[place])
    raise RunError(f"{interface} of {node} is gone", where=f"{node} {interface}")

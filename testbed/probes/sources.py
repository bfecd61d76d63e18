"""What the sampler reads in each node: one small object per source, all of them only copy bytes."""

from __future__ import annotations

import json
import os
import socket
from typing import Protocol

from testbed.probes import netlink
from testbed.scenario.model import IpVersion

KINDS = ("inet_diag", "qdisc", "link_names", "snmp", "netstat", "dev", "snmp6")
"""What `kind` counts in a sampler's segment."""


class Source(Protocol):
    """Something to read again and again."""

    kind: str
    """One of `KINDS`."""

    def read(self) -> bytes:
        """Its state now, as the kernel gave it."""
        ...


class ProcFile:
    """A file of /proc/net, held open; to be made by a thread inside the node's namespace."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._descriptor = os.open(f"/proc/thread-self/net/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """The file's text."""
        parts = []
        offset = 0
        while part := os.pread(self._descriptor, 1 << 16, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


class NetlinkDump:
    """A netlink dump; to be made by a thread inside the node's network namespace."""

    def __init__(self, kind: str, ip: IpVersion = 4) -> None:
        self.kind = kind
        if kind == "inet_diag":
            self._dump = netlink.Dump(netlink.tcp_sockets_request(ip), diagnostics=True)
        else:
            self._dump = netlink.Dump(netlink.qdiscs_request(), diagnostics=False)

    def read(self) -> bytes:
        """The raw reply."""
        return self._dump.read()


def link_names() -> bytes:
    """JSON of index -> name of the interfaces in the calling thread's namespace."""
    return json.dumps({str(index): name for index, name in socket.if_nameindex()}).encode()

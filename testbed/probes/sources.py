"""What the sampler reads in each node: one small object per source, all of them only copy bytes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Final, Protocol

from testbed.probes import netlink
from testbed.scenario.model import IpVersion

KINDS = ("inet_diag", "qdisc", "link_names", "snmp", "netstat", "dev", "snmp6", "descriptors")
"""What `kind` counts in a sampler's segment."""
_OPEN_FILES: Final = "Max open files"


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


class Descriptors:
    """The open file descriptors of a process and its soft limit, as JSON.

    Nothing is read of a process that has ended. Its children are not looked at: each has a limit of
    its own.
    """

    kind = "descriptors"

    def __init__(self, process: str, process_id: int) -> None:
        self._process = process
        self._fd = Path(f"/proc/{process_id}/fd")
        self._limits = Path(f"/proc/{process_id}/limits")

    def read(self) -> bytes:
        """How many there are now; nothing once the process has ended."""
        found: dict[str, object] = {"process": self._process}
        try:
            # Linux 6.2 counts them itself (fs/proc/fd.c, proc_fd_getattr); before, it says 0.
            count = self._fd.stat().st_size or sum(1 for _ in self._fd.iterdir())
            found |= {"open": count, "soft_limit": _soft_limit(self._limits.read_text("ascii"))}
        except (FileNotFoundError, ProcessLookupError):
            return b""
        except OSError as error:
            found["why"] = str(error)
        if found.get("open") == 0:  # a zombie: who lives has its standard streams
            return b""
        return json.dumps(found).encode()


def _soft_limit(limits: str) -> int | None:
    """RLIMIT_NOFILE in /proc/PID/limits; None: there is no limit."""
    line = next(line for line in limits.splitlines() if line.startswith(_OPEN_FILES))
    soft = line.removeprefix(_OPEN_FILES).split()[0]
    return None if soft == "unlimited" else int(soft)


def link_names() -> bytes:
    """JSON of index -> name of the interfaces in the calling thread's namespace."""
    return json.dumps({str(index): name for index, name in socket.if_nameindex()}).encode()

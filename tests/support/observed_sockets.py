"""Sockets of the tests of the syscall probe: plain ones, observed ones, and what was seen."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from testbed.analysis.decode.syscalls import DecodedSyscalls, decode_syscalls
from testbed.probes.syscall import SyscallProbe, open_syscall_probe
from testbed.recording.segments import Segment

Wrap = Callable[[socket.socket], Any]


@dataclass
class Observed:
    """A probe, and what it has seen so far."""

    path: Path
    probe: SyscallProbe

    def decoded(self) -> DecodedSyscalls:
        """Both tables."""
        self.probe.flush()
        segment = Segment(self.path)
        found = decode_syscalls(segment)
        assert found.damage == []
        assert segment.cut_bytes == 0
        return found

    def calls(self, *kinds: str) -> pl.DataFrame:
        """The calls of these kinds; none named: all."""
        table = self.decoded().calls
        return table.filter(pl.col("call").cast(pl.String).is_in(kinds)) if kinds else table

    def sequence(self) -> list[tuple[str, int, str | None]]:
        """Call, bytes and error of all that was seen."""
        return self.calls().select("call", "bytes", "error").rows()


def observed(path: Path) -> Observed:
    """A probe that writes to `path`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return Observed(path, open_syscall_probe(descriptor, process="server", node="h2"))


@contextmanager
def listening(backlog: int = 16) -> Iterator[socket.socket]:
    """A plain socket that listens on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        yield sock


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection over loopback."""
    with listening() as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far

"""What the syscall probe of a process records."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from testbed.events.syscall import (
    CALLS_KIND,
    CONNECTION_KIND,
    SYSCALL_CALLS,
    Call,
    OpenedConnection,
)
from testbed.recording.layout import Layout, create_partial
from testbed.recording.segments import SegmentHeader, SegmentWriter

KINDS = [CONNECTION_KIND, CALLS_KIND]


def syscall_record(
    call: Call,
    connection: int,
    started_ns: int,
    ended_ns: int,
    moved_bytes: int = 0,
    asked_bytes: int = 0,
    error: int = 0,
) -> bytes:
    """One record."""
    return struct.pack(
        "<qqIIIBBxx", started_ns, ended_ns, connection, moved_bytes, asked_bytes,
        SYSCALL_CALLS.index(call), error,
    )  # fmt: skip


def connection(
    number: int,
    role: Literal["client", "server"],
    local: tuple[str, int],
    remote: tuple[str, int] | None = None,
    *,
    at_ns: int = 0,
) -> OpenedConnection:
    """A socket."""
    return OpenedConnection(
        connection=number,
        role=role,
        local_address=local[0],
        local_port=local[1],
        remote_address=remote[0] if remote else None,
        remote_port=remote[1] if remote else None,
        opened_ns=at_ns,
    )


def syscall_segment(
    layout: Layout,
    process: str,
    connections: Sequence[OpenedConnection],
    batches: Sequence[Sequence[tuple[Any, ...]]],
) -> None:
    """The segment of a process, with its partial name; a frame for each batch of calls."""
    header = SegmentHeader(
        layout="frames", source="syscall", process=process, kinds=KINDS, nodes=[process]
    )
    writer = SegmentWriter(create_partial(layout.segment(f"syscall.{process}")), header)
    for opened in connections:
        writer.frame(opened.opened_ns, opened.opened_ns, msgspec.json.encode(opened), kind=0)
    for batch in batches:
        records = b"".join(syscall_record(*call) for call in batch)
        writer.frame(batch[0][2], batch[-1][3], records, kind=1)
    writer.close()

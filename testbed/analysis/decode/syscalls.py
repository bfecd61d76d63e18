"""Syscall segments -> SyscallCall and Connection rows.

Rules:

- Records of one socket are in the order of its streams (see `testbed.probes.syscall`), so that the
  offset of a call is the sum of the bytes before it in its direction.
- Where a part of a segment is unreadable, rows behind it stand, and their offsets are null: what
  was moved in between is not known.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.event_loop import node_of
from testbed.analysis.decode.schema import code_column, from_columns, from_structs
from testbed.errors import RecordingError
from testbed.events.syscall import (
    CALLS_KIND,
    CONNECTION_KIND,
    SYSCALL_CALLS,
    SYSCALL_RECORD,
    Connection,
    OpenedConnection,
    SyscallCall,
)
from testbed.recording.segments import Segment

_RECORD: Final = np.dtype(SYSCALL_RECORD)
_SEND: Final = SYSCALL_CALLS.index("send")
_RECV: Final = SYSCALL_CALLS.index("recv")
_ERRORS: Final = [
    None, *(errno.errorcode.get(code, f"errno {code}") for code in range(1, 256)),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodedSyscalls:
    """What a segment held."""

    calls: pl.DataFrame
    """Of SyscallCall, in the order of the segment."""
    connections: pl.DataFrame
    """Of Connection, likewise."""
    damage: list[str]
    """What of it is unreadable, in words."""


def decode_syscalls(segment: Segment) -> DecodedSyscalls:
    """The calls and sockets of a segment.

    Raises:
        RecordingError: the segment holds no frames.
    """
    if segment.header.layout != "frames":
        raise RecordingError(f"{segment.path.name} holds no frames", where=str(segment.path))
    opened: list[OpenedConnection] = []
    batches: list[npt.NDArray[np.void]] = []
    damaged, damage = 0, []
    whole = count = 0
    decode = msgspec.json.Decoder(OpenedConnection).decode
    try:
        for frame in segment.frames():
            if frame.kind == CONNECTION_KIND:
                try:
                    opened.append(decode(frame.payload))
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    damaged += 1
            elif frame.kind == CALLS_KIND:
                batch, intact = _batch(frame.payload)
                damaged += not intact
                batches.append(batch)
                count += len(batch)
                if not damaged:
                    whole = count
    except RecordingError as error:  # what was before it is kept
        damage.append(str(error))
    if damaged:
        damage.append(f"{segment.path.name}: {damaged} frames are not whole")
    records = np.concatenate(batches) if batches else np.empty(0, _RECORD)
    return DecodedSyscalls(
        calls=_calls(segment, records, whole),
        connections=_connections(segment, opened),
        damage=damage,
    )


def _batch(payload: bytes) -> tuple[npt.NDArray[np.void], bool]:
    """The records of a frame that say something, and whether that is all of it."""
    whole = len(payload) // _RECORD.itemsize
    batch = np.frombuffer(payload, _RECORD, whole)
    known = batch["call"] < len(SYSCALL_CALLS)
    return batch[known], bool(known.all()) and whole * _RECORD.itemsize == len(payload)


def _calls(segment: Segment, records: npt.NDArray[np.void], whole: int) -> pl.DataFrame:
    """Table of SyscallCall; rows from `whole` on have no offsets."""
    count = len(records)
    moves = (records["call"] == _SEND) | (records["call"] == _RECV)
    frame = pl.DataFrame(
        {
            "connection": records["connection"].astype(np.int64),
            "call": records["call"],
            "moved": np.where(moves, records["bytes"], 0).astype(np.int64),
        }
    )
    before = frame.select(
        (pl.col("moved").cum_sum() - pl.col("moved")).over("connection", "call")
    ).to_series()
    placed = pl.Series((frame["moved"].to_numpy() > 0) & (np.arange(count) < whole))
    asked = pl.Series(records["asked_bytes"].astype(np.int64))
    mask = pl.DataFrame({"placed": placed, "moves": pl.Series(moves), "b": before, "a": asked})
    return from_columns(
        SyscallCall,
        {
            "process": pl.repeat(segment.header.process, count, dtype=pl.String, eager=True),
            "node": pl.repeat(node_of(segment), count, dtype=pl.String, eager=True),
            "connection": records["connection"],
            "call": code_column(records["call"], SYSCALL_CALLS),
            "started_ns": records["started_ns"],
            "ended_ns": records["ended_ns"],
            "bytes": records["bytes"],
            "asked_bytes": mask.select(pl.when("moves").then("a")).to_series(),
            "error": pl.Series(_ERRORS, dtype=pl.String).gather(records["error"]),
            "offset_bytes": mask.select(pl.when("placed").then("b")).to_series(),
        },
    )


def _connections(segment: Segment, opened: list[OpenedConnection]) -> pl.DataFrame:
    process, node = segment.header.process, node_of(segment)
    rows = [
        Connection(process=process, node=node, **msgspec.structs.asdict(connection))
        for connection in opened
    ]
    return from_structs(Connection, rows)

"""Loop segments -> LoopInterval rows."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.decode.schema import code_column, from_columns
from testbed.errors import RecordingError
from testbed.events.event_loop import LOOP_KINDS, LOOP_RECORD, LoopInterval
from testbed.recording.segments import Segment

_FIELDS: Final = frozenset(name for name, _ in LOOP_RECORD)


def decode_event_loop(segment: Segment) -> pl.DataFrame:
    """Table of LoopInterval, in the order of the segment.

    Raises:
        RecordingError: the segment holds something else.
    """
    records = segment.records()
    missing = _FIELDS - set(records.dtype.names or ())
    if missing:
        raise RecordingError(
            f"{segment.path.name} has no field {', '.join(sorted(missing))}",
            where=str(segment.path),
        )
    records = records[records["kind"] < len(LOOP_KINDS)]
    waits = records["kind"] == LOOP_KINDS.index("io_wait")
    count = len(records)
    return from_columns(
        LoopInterval,
        {
            "process": pl.repeat(segment.header.process, count, dtype=pl.String, eager=True),
            "node": pl.repeat(node_of(segment), count, dtype=pl.String, eager=True),
            "kind": code_column(records["kind"], LOOP_KINDS),
            "task": np.where(waits, 0, records["task"]),
            "scheduled_ns": np.where(waits, records["started_ns"], records["scheduled_ns"]),
            "started_ns": records["started_ns"],
            "ended_ns": records["ended_ns"],
            "runnable": records["runnable"],
        },
    )


def node_of(segment: Segment) -> str:
    """The node of the process that wrote a segment."""
    return segment.header.nodes[0] if segment.header.nodes else ""

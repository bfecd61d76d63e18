"""The relay's log -> LinkPacket rows."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.schema import code_column, from_columns
from testbed.errors import RecordingError
from testbed.events.link import DIRECTIONS, FATES, REASONS, RELAY_RECORD, LinkPacket
from testbed.recording.segments import Segment

DELIVERED, LOST, HELD, OVERFLOW = range(4)
_FIELDS: Final = frozenset(name for name, _ in RELAY_RECORD)


def link_records(segment: Segment) -> npt.NDArray[np.void]:
    """The records of a link's segment by direction and number.

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
    known = (records["direction"] < len(DIRECTIONS)) & (records["fate"] < len(FATES))
    records = records[known]
    # Departures are nearly in the order of numbers, which timsort makes use of.
    parts = [records[records["direction"] == index] for index in range(len(DIRECTIONS))]
    parts = [part[np.argsort(part["number"], kind="stable")] for part in parts]
    return np.concatenate(parts)


def decode_link(link: str, records: npt.NDArray[np.void]) -> pl.DataFrame:
    """Table of LinkPacket, by direction and number."""
    departure = pl.Series(records["departure_ns"].astype(np.int64))
    return from_columns(
        LinkPacket,
        {
            "link": pl.repeat(link, len(records), dtype=pl.String, eager=True),
            "direction": code_column(records["direction"], DIRECTIONS),
            "number": records["number"].astype(np.int64),
            "size_bytes": records["size_bytes"],
            "digest": records["digest"],
            "arrival_ns": records["arrival_ns"],
            "due_ns": records["due_ns"],
            "departure_ns": departure.replace(0, None),
            "fate": code_column(records["fate"], FATES),
            "reason": code_column(records["reason"], REASONS).fill_null("?"),
        },
    )

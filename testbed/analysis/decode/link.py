"""The relay's log -> LinkPacket rows."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.schema import code_column, from_columns
from testbed.errors import RecordingError
from testbed.events.link import (
    COPY,
    CORRUPTED,
    DIRECTIONS,
    FATES,
    GAVE_UP,
    OVERTAKEN,
    REASONS,
    RELAY_RECORD,
    LinkPacket,
)
from testbed.recording.segments import Segment

DELIVERED, LOST, HELD, OVERFLOW, DROPPED = range(5)
_LATER: Final = ("sent_digest", "flags")
"""Fields that logs of version 0.1 do not have: nothing was copied, corrupted or reordered then."""
_FIELDS: Final = frozenset(name for name, _ in RELAY_RECORD if name not in _LATER)
_LOGGED: Final = np.dtype(RELAY_RECORD)
_PLACED: Final = np.dtype([*RELAY_RECORD, ("place", "<u8")])


def link_records(segment: Segment) -> npt.NDArray[np.void]:
    """The records of a link's segment by direction and number, a packet before its copy.

    They have one field more than in the log, ``place``: where in the log a record was. The log is
    in the order of departure.

    Raises:
        RecordingError: the segment holds something else.
    """
    found = segment.records()
    names = set(found.dtype.names or ())
    missing = _FIELDS - names
    if missing:
        raise RecordingError(
            f"{segment.path.name} has no field {', '.join(sorted(missing))}",
            where=str(segment.path),
        )
    place = _in_order(found)
    records = np.zeros(place.size, _PLACED)
    if found.dtype == _LOGGED:
        # A record at a time, not a field at a time.
        _words(records)[:, : _LOGGED.itemsize // 8] = _words(found).take(place, axis=0)
    else:
        for name in names & set(_PLACED.names or ()) - {"place"}:
            records[name] = found[name][place]
    if "sent_digest" not in names:
        records["sent_digest"] = found["digest"][place]
    records["place"] = place
    return records


def _words(records: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Each record as words of 8 bytes; records of the relay's log are multiples of that long."""
    return records.view(np.uint64).reshape(len(records), records.dtype.itemsize // 8)


def _in_order(found: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """The places in the log of known records, by direction and number, a packet before its copy."""
    direction = found["direction"]
    order = found["number"].astype(np.uint64) * np.uint64(2)
    if "flags" in (found.dtype.names or ()):
        order |= (found["flags"] & COPY) != 0
    known = found["fate"] < len(FATES)
    parts = [np.flatnonzero(known & (direction == index)) for index in range(len(DIRECTIONS))]
    # Departures are nearly in the order of numbers, which timsort makes use of.
    return np.concatenate([part[np.argsort(order[part], kind="stable")] for part in parts])


def decode_link(link: str, records: npt.NDArray[np.void]) -> pl.DataFrame:
    """Table of LinkPacket, by direction and number."""
    departure = pl.Series(records["departure_ns"].astype(np.int64))
    flags = records["flags"]
    return from_columns(
        LinkPacket,
        {
            "link": pl.repeat(link, len(records), dtype=pl.String, eager=True),
            "direction": code_column(records["direction"], DIRECTIONS),
            "number": records["number"].astype(np.int64),
            "size_bytes": records["size_bytes"],
            "digest": records["digest"],
            "sent_digest": records["sent_digest"],
            "arrival_ns": records["arrival_ns"],
            "due_ns": records["due_ns"],
            "departure_ns": departure.replace(0, None),
            "fate": code_column(records["fate"], FATES),
            "reason": code_column(records["reason"], REASONS).fill_null("?"),
            "copy": (flags & COPY) != 0,
            "corrupted": (flags & CORRUPTED) != 0,
            "overtaken": (flags & OVERTAKEN) != 0,
            "gave_up": (flags & GAVE_UP) != 0,
        },
    )

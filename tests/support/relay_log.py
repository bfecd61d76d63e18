"""The relay's log as plain records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from testbed.events.link import DIRECTIONS, FATES, REASONS
from testbed.recording.segments import Segment


class Fate(NamedTuple):
    """What became of one packet."""

    direction: str
    number: int
    fate: str
    reason: str
    size_bytes: int
    digest: int
    arrival_ns: int
    due_ns: int
    departure_ns: int
    sent_digest: int
    flags: int


def read_relay_log(path: Path, direction: str) -> list[Fate]:
    """The packets of one direction, by number."""
    records: Any = Segment(path).records()
    fates = [
        Fate(
            direction=DIRECTIONS[int(r["direction"])],
            number=int(r["number"]),
            fate=FATES[int(r["fate"])],
            reason=REASONS[int(r["reason"])],
            size_bytes=int(r["size_bytes"]),
            digest=int(r["digest"]),
            arrival_ns=int(r["arrival_ns"]),
            due_ns=int(r["due_ns"]),
            departure_ns=int(r["departure_ns"]),
            sent_digest=int(r["sent_digest"]),
            flags=int(r["flags"]),
        )
        for r in records
    ]
    return sorted((fate for fate in fates if fate.direction == direction), key=lambda f: f.number)


def numbers(fates: list[Fate], fate: str) -> list[int]:
    """The numbers of the packets that had this fate, ascending."""
    return [packet.number for packet in fates if packet.fate == fate]

"""What became of packets over several links: which ones are copies, or damaged.

Rules:

- A mark goes with a packet from wire to wire and through every node that passes it on. What a
  packet was when its host sent it (a TCP segment, say) is looked up there: after a bit of it was
  flipped its own headers cannot be relied upon.
- Packets are rows of their node's capture. Where no wire copied or corrupted anything there is
  nothing to follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import Packets
from testbed.analysis.crossings import Passage
from testbed.analysis.evidence import Evidence
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import RST, TCP
from testbed.analysis.transits import Transit

Flags = npt.NDArray[np.bool_]
Marks = dict[str, Flags]
"""By node, a mark for each packet of its capture."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What is known of each captured packet from its whole way."""

    damaged: Marks
    """A wire that it has crossed flipped a bit of it."""
    copy: Marks
    """It comes from the second one of a packet that was duplicated."""
    segment: Marks
    """It was TCP when it was sent, and no reset, as in `streams`."""
    spoiled: Marks
    """A wire that it has yet to cross flips a bit of it."""


def follow(
    evidence: Evidence, passages: Sequence[Passage], transits: Sequence[Transit]
) -> Followed:
    """Follows the packets of all captures."""

    def marks() -> Marks:
        return {n: np.zeros(c.packets.count, np.bool_) for n, c in evidence.captures.items()}

    segment = {name: is_segment(c.packets) for name, c in evidence.captures.items()}
    found = Followed(marks(), marks(), segment, marks())
    touched = any(
        flags is not None and bool(flags.any())
        for passage in passages
        for flags in (passage.wire.copy, passage.wire.corrupted)
    )
    if touched:
        _until_settled(len(passages), lambda: _forwards(found, passages, transits))
        _until_settled(len(passages), lambda: _backwards(found, passages, transits))
    return found


def is_segment(packets: Packets) -> Flags:
    """Whether each packet is TCP and no reset, as in `streams`."""
    segment: Flags = (packets.protocol == TCP) & ((packets.flags & RST) == 0)
    return segment


def _until_settled(most: int, step: Callable[[], bool]) -> None:
    """Takes steps until one changes nothing, one for each link on the longest way at most."""
    for _ in range(most + 1):
        if not step():
            return


def _forwards(found: Followed, passages: Sequence[Passage], transits: Sequence[Transit]) -> bool:
    """Moves marks one link and one node on; whether any changed."""
    changed = False
    for passage in passages:
        wire, rows = passage.wire, passage.receiver_rows
        if wire.origin is None or rows is None or passage.sender_rows is None:
            continue
        sender, receiver = passage.way.settings.sender, passage.way.settings.receiver
        known = wire.origin != NONE
        source = passage.sender_rows[wire.origin[known]]
        for marks, here in ((found.damaged, wire.corrupted), (found.copy, wire.copy)):
            new = np.zeros(rows.size, np.bool_) if here is None else here.copy()
            new[known] |= marks[sender][source]
            changed |= _put(marks[receiver], rows, new)
        changed |= _put(found.segment[receiver], rows[known], found.segment[sender][source])
    for transit in transits:
        for marks in (found.damaged, found.copy, found.segment):
            mine = marks[transit.node]
            changed |= _put(mine, transit.left_row, mine[transit.entered_row])
    return changed


def _backwards(found: Followed, passages: Sequence[Passage], transits: Sequence[Transit]) -> bool:
    """Moves `spoiled` one link and one node back; whether any changed."""
    changed = False
    for passage in passages:
        wire, rows = passage.wire, passage.receiver_rows
        if wire.to_receiver is None or rows is None or passage.sender_rows is None:
            continue
        sender, receiver = passage.way.settings.sender, passage.way.settings.receiver
        came = wire.to_receiver != NONE
        partner = wire.to_receiver[came]
        new = found.spoiled[receiver][rows[partner]]
        if wire.corrupted is not None:
            new = new | wire.corrupted[partner]
        changed |= _put(found.spoiled[sender], passage.sender_rows[came], new)
    for transit in transits:
        mine = found.spoiled[transit.node]
        changed |= _put(mine, transit.entered_row, mine[transit.left_row])
    return changed


def _put(marks: Flags, rows: npt.NDArray[np.integer], new: Flags) -> bool:
    """Writes new marks; whether they differ from those that were there."""
    if bool((marks[rows] == new).all()):
        return False
    marks[rows] = new
    return True

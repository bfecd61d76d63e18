"""The settings of a direction over time: as it was built, then after each change.

Rules:

- A change holds for the packets that come to the wire at its time or later.
- The relay takes a change at one moment. For tc a command takes a while, and whether a packet met
  the old settings or the new ones meanwhile is not known: `Periods.at` says so with UNSURE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.topology import Way
from testbed.recording.manifest import Direction, Manifest

Times = npt.NDArray[np.int64]

UNSURE: Final = -1
"""In an array of periods: one or the other."""
_EVER: Final = np.iinfo(np.int64)
_DEVIATIONS: Final = 4
"""The tables of iproute2 end at so many standard deviations."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which the settings of a direction did not change."""

    start_ns: int
    """CLOCK_MONOTONIC."""
    settled_ns: int
    """From then on all of it was in force on the wire."""
    shaped_ns: int
    """From then on the capacity and the queue were, too."""
    end_ns: int
    """Not part of it."""
    settings: Direction


@dataclass(frozen=True, slots=True)
class Periods:
    """Those of one direction, one after the other without a gap."""

    periods: tuple[Period, ...]

    def at(self, t_ns: Times) -> npt.NDArray[np.int64]:
        """The place of the period of each time, or UNSURE."""
        starts = np.array([period.start_ns for period in self.periods[1:]], np.int64)
        settled = np.array([period.settled_ns for period in self.periods], np.int64)
        place = np.searchsorted(starts, t_ns, side="right")
        return np.where(t_ns < settled[place], UNSURE, place).astype(np.int64)

    def during(self, t_ns: Times) -> Times:
        """The same, with the later one of both instead of UNSURE."""
        starts = np.array([period.start_ns for period in self.periods[1:]], np.int64)
        return np.searchsorted(starts, t_ns, side="right").astype(np.int64)

    def at_arrival(self, t_ns: Times) -> Times:
        """The place of the period in which what came at each time was sent, or UNSURE.

        That is the one whose delay leads back into it; where none or more than one does, it is not
        known.
        """
        found = np.full(t_ns.size, UNSURE, np.int64)
        fits = np.zeros(t_ns.size, np.int64)
        for place, settings in enumerate(self.settings):
            mine = self.at(t_ns - settings.delay_ns) == place
            found[mine] = place
            fits += mine
        return np.where(fits == 1, found, UNSURE).astype(np.int64)

    @property
    def settings(self) -> tuple[Direction, ...]:
        """Of each period."""
        return tuple(period.settings for period in self.periods)

    @property
    def highest_capacity_bit_s(self) -> int | None:
        """The highest capacity there ever was; None: it was never shaped."""
        return max((s.capacity_bit_s for s in self.settings if s.capacity_bit_s), default=None)

    @property
    def longest_delay_ns(self) -> int:
        """What a packet may take at most, a queue before a trace left out."""
        return max(_longest_delay_ns(settings) for settings in self.settings)


def periods_of(manifest: Manifest, way: Way) -> Periods:
    """The periods of one direction of a link."""
    changes = sorted(
        (
            change
            for change in manifest.changes
            if (change.link, change.direction) == (way.link.name, way.name)
        ),
        key=lambda change: change.at_ns,
    )
    at_once = way.link.wire == "relay"
    starts = [_EVER.min, *(change.at_ns for change in changes)]
    settled = [_EVER.min, *(c.at_ns if at_once else max(c.at_ns, c.done_ns) for c in changes)]
    shaped = [_EVER.min, *(max(change.at_ns, change.done_ns) for change in changes)]
    ends = [*starts[1:], _EVER.max]
    settings = [way.settings, *(change.settings for change in changes)]
    return Periods(
        tuple(
            Period(start, whole, rate, end, one)
            for start, whole, rate, end, one in zip(
                starts, settled, shaped, ends, settings, strict=True
            )
        )
    )


def _longest_delay_ns(settings: Direction) -> int:
    variation, reorder = settings.delay_variation, settings.reorder
    spread_ns = 0 if variation is None else _DEVIATIONS * variation.spread_ns
    return settings.delay_ns + spread_ns + (0 if reorder is None else reorder.within_ns)

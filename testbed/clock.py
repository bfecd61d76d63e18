"""The one clock: CLOCK_MONOTONIC in nanoseconds.

Rules:

- Every time in a recording is CLOCK_MONOTONIC nanoseconds. Packet stamps come from the kernel as
  CLOCK_REALTIME (Documentation/networking/timestamping.rst) and are moved to it with an offset that
  is measured at the start and at the end of the run; between the two it is interpolated, because
  NTP may slew one of them.
- All processes of a run see the same clock: no time namespace is used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

monotonic_ns = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC at one moment."""

    at_monotonic_ns: int
    """When it was measured, in CLOCK_MONOTONIC nanoseconds."""
    offset_ns: int
    """What to take from a CLOCK_REALTIME stamp to get a CLOCK_MONOTONIC one."""
    uncertainty_ns: int
    """Half of the time that the reading took."""


def measure_offset(readings: int = 21) -> ClockOffset:
    """The offset between the two clocks, from the tightest of `readings` bracketed readings."""
    best: ClockOffset | None = None
    for _ in range(readings):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        middle = (before + after) // 2
        reading = ClockOffset(middle, real - middle, (after - before + 1) // 2)
        if best is None or reading.uncertainty_ns < best.uncertainty_ns:
            best = reading
    if best is None:
        raise ValueError(f"readings must be at least 1 (got {readings})")
    return best

"""When the requests of an open loop are due (pure).

Rules:

- Times are ns from the start of the load. They do not depend on what becomes of the requests: that
  is what makes the loop open.
- The same rate, seed and process give the same schedule. Gap n of a Poisson process depends on
  nothing but seed, process and n (counter-based), so that a longer schedule begins like a shorter
  one.
- A periodic schedule starts at 0. A Poisson schedule starts with a gap, as the process is defined.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from itertools import count, takewhile
from typing import Final

from testbed.scenario import Load
from testbed.units import NS_PER_S

_STEPS: Final = 1 << 53
"""Distinct values of a uniform draw: as many as a float holds in (0, 1] without rounding."""


def periodic(rate_per_s: float) -> Iterator[int]:
    """Evenly spaced starts in ns, without end; the rounding of one does not add to the next."""
    for number in count():
        yield round(number * NS_PER_S / rate_per_s)


def poisson(rate_per_s: float, *, seed: int, process: str) -> Iterator[int]:
    """Starts of a Poisson process in ns, without end: independent exponential gaps, mean 1/rate."""
    mean_gap_ns = NS_PER_S / rate_per_s
    due_ns = 0
    for number in count():
        key = f"{seed}/{process}/arrivals/{number}".encode()
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 11
        due_ns += round(-math.log((draw + 1) / _STEPS) * mean_gap_ns)
        yield due_ns


def schedule(load: Load, *, seed: int, process: str) -> Iterator[tuple[int, int]]:
    """The requests of an open loop, number and intended start in ns, up to the load's limits.

    Raises:
        ValueError: the load is closed-loop.
    """
    rate_per_s = load.rate_per_s
    if rate_per_s is None:
        raise ValueError("a closed loop has no schedule")
    if load.arrivals == "periodic":
        starts = periodic(rate_per_s)
    else:
        starts = poisson(rate_per_s, seed=seed, process=process)
    duration_ns = load.duration_ns
    if duration_ns is not None:
        starts = takewhile(lambda due_ns: due_ns < duration_ns, starts)
    limit = load.request_limit
    numbers = count() if limit is None else range(limit)
    return zip(numbers, starts, strict=False)

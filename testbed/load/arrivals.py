"""When the requests of an open loop are due (pure).

Rules:

- Times are ns from the start of the load. They do not depend on what becomes of the requests: that
  is what makes the loop open.
- The same rate, seed and host give the same schedule. Gap n of a Poisson process depends on
  nothing but seed, host and n (counter-based), so that a longer schedule begins like a shorter
  one.
- A periodic schedule starts at 0. A Poisson schedule starts with a gap, as the process is defined.
- Request n is due when n requests have become due by the rate: at t with L(t) = n, where L is the
  integral of the rate. For a rate that goes from a to b over T, L(t) = a t + (b - a) t^2 / 2T, and
  so t = 2 n / (a + sqrt(a^2 + 2 n (b - a) / T)). A Poisson process of a changing rate is one of
  rate 1 at L(t) (time change; Lewis and Shedler 1979): its sums of gaps take the place of n.
- A ramp ends with its duration.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import Final

from testbed.scenario import Load
from testbed.scenario.load_notation import Rate
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
    for gap in _unit_gaps(seed, process):
        due_ns += round(gap * mean_gap_ns)
        yield due_ns


def ramp(rate: Rate, duration_ns: int, expected: Iterator[float]) -> Iterator[int]:
    """Starts in ns while the rate goes steadily from its first value to its last.

    Args:
        rate: requests per second.
        duration_ns: how long that takes; it ends the starts.
        expected: how many requests were due before each start: 0, 1, 2 ... is periodic.
    """
    first, change = rate.first_per_s, rate.last_per_s - rate.first_per_s
    duration_s = duration_ns / NS_PER_S
    for due in expected:
        square = first * first + 2 * due * change / duration_s
        if square < 0:  # falling, and no more can be due
            return
        due_ns = round(2 * due / (first + math.sqrt(square)) * NS_PER_S)
        if due_ns >= duration_ns:
            return
        yield due_ns


def schedule(
    load: Load, *, seed: int, process: str, times: Sequence[int] = ()
) -> Iterator[tuple[int, int]]:
    """The requests of an open loop, number and intended start in ns, up to the load's limits.

    Args:
        load: what is asked for.
        seed: of the run.
        process: whose schedule it is: a client host.
        times: of a trace of arrivals, in ns.

    Raises:
        ValueError: the load is closed-loop.
    """
    duration_ns = load.duration_ns
    starts = _starts(load, seed, process, times)
    if duration_ns is not None:
        starts = takewhile(lambda due_ns: due_ns < duration_ns, starts)
    limit = load.request_limit
    numbers = count() if limit is None else range(limit)
    return zip(numbers, starts, strict=False)


def _starts(load: Load, seed: int, process: str, times: Sequence[int]) -> Iterator[int]:
    if load.arrivals_file is not None:
        return iter(times)
    rates = load.rates
    if rates is None:
        raise ValueError("a closed loop has no schedule")
    even = load.arrivals == "periodic"
    if rates.first_per_s != rates.last_per_s and load.duration_ns is not None:
        expected = map(float, count()) if even else _sums(_unit_gaps(seed, process))
        return ramp(rates, load.duration_ns, expected)
    if even:
        return periodic(rates.first_per_s)
    return poisson(rates.first_per_s, seed=seed, process=process)


def _unit_gaps(seed: int, process: str) -> Iterator[float]:
    """Independent exponential numbers, mean 1, without end."""
    for number in count():
        key = f"{seed}/{process}/arrivals/{number}".encode()
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 11
        yield -math.log((draw + 1) / _STEPS)


def _sums(gaps: Iterator[float]) -> Iterator[float]:
    total = 0.0
    for gap in gaps:
        total += gap
        yield total

"""From stamps to numbers. Pure.

The error of windows, and why bits are spread:

- A packet that has come at t occupied the link from t - size / capacity to t. Its bits are spread
  evenly over that time, and a window holds the bits of its part of it. On a link that keeps its
  capacity exactly every window is then exactly full.
- Counting whole packets instead would measure the counting: at 1 Mbit/s a full frame takes 12 ms,
  so that a window of 100 ms holds 8 or 9 of them, which is 3 % below or 9 % above the capacity.
- What is left is what there is to see: a packet that comes d late moves d * capacity bits from one
  window to the next.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from testbed.analysis.metrics.quantiles import nearest_rank
from testbed.calibration.record import Spread
from testbed.units import NS_PER_MS, NS_PER_S

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

WINDOW_NS: Final = 100 * NS_PER_MS
"""Short enough for a round trip to notice, long enough for a timer's lateness to be small."""


class RateError(NamedTuple):
    """Relative errors of a rate."""

    packets: int
    long_run: float
    windows: Float64
    """One for each whole window, with its sign."""


def spread(values: npt.ArrayLike) -> Spread | None:
    """Quantiles of times in ns; None without any."""
    array = np.asarray(values, np.int64)
    if array.size == 0:
        return None
    p50, p99, most = nearest_rank(array, 0.5, 0.99, 1.0)
    return Spread(count=int(array.size), p50_ns=p50, p99_ns=p99, max_ns=most)


def spread_of_sizes(values: Float64) -> tuple[float, float]:
    """Median and greatest of the values' sizes, by nearest rank.

    Raises:
        ValueError: there are none.
    """
    sizes = np.sort(np.abs(values))
    if sizes.size == 0:
        raise ValueError("no windows, so no errors of them")
    return float(sizes[(sizes.size - 1) // 2]), float(sizes[-1])


def rate_error(
    arrivals_ns: Int64, sizes_bytes: Int64, capacity_bit_s: int, window_ns: int = WINDOW_NS
) -> RateError:
    """How far a saturated link is from its capacity.

    Args:
        arrivals_ns: when each packet had come, shape (packets,), ascending.
        sizes_bytes: its size on the wire, shape (packets,).
        capacity_bit_s: what was set.
        window_ns: length of the windows, which begin when the first packet has come.

    Raises:
        ValueError: fewer than two packets, or none of another time.
    """
    if arrivals_ns.size < 2 or arrivals_ns[-1] <= arrivals_ns[0]:
        raise ValueError(f"{arrivals_ns.size} packets make no rate")
    elapsed_ns = int(arrivals_ns[-1] - arrivals_ns[0])
    bits = int(sizes_bytes[1:].sum()) * 8
    count = elapsed_ns // window_ns
    edges = arrivals_ns[0] + window_ns * np.arange(count + 1, dtype=np.int64)
    come = _bits_until(edges, arrivals_ns, sizes_bytes, capacity_bit_s)
    full = capacity_bit_s * window_ns / NS_PER_S
    return RateError(
        packets=int(arrivals_ns.size),
        long_run=bits * NS_PER_S / (elapsed_ns * capacity_bit_s) - 1,
        windows=np.diff(come) / full - 1,
    )


def _bits_until(
    times_ns: Int64, arrivals_ns: Int64, sizes_bytes: Int64, capacity_bit_s: int
) -> Float64:
    """Bits that have come until each time, each packet's spread over its transmission time."""
    bits = sizes_bytes * 8
    lasts_ns = bits * (NS_PER_S / capacity_bit_s)
    longest_ns = int(np.ceil(lasts_ns.max()))
    whole = np.concatenate(([0], np.cumsum(bits)))
    first = np.searchsorted(arrivals_ns, times_ns, side="right")
    last = np.searchsorted(arrivals_ns, times_ns + longest_ns, side="right")
    come = whole[first].astype(np.float64)
    for row, (time_ns, begin, end) in enumerate(zip(times_ns, first, last, strict=True)):
        coming = slice(begin, end)
        left_ns = arrivals_ns[coming] - time_ns
        share = np.clip(1 - left_ns / lasts_ns[coming], 0, 1)
        come[row] += float((share * bits[coming]).sum())
    return come


def delay_errors_ns(
    sent: tuple[Int64, Int64], received: tuple[Int64, Int64], delay_ns: int
) -> Int64:
    """One-way delay (RFC 7679) beyond `delay_ns` of each packet that was seen at both ends.

    Args:
        sent: numbers of packets, each once, and when they were sent.
        received: the same at the receiver; of a number that comes twice the first counts.
        delay_ns: what was set.
    """
    numbers, first = np.unique(received[0], return_index=True)
    stamps = received[1][first]
    if numbers.size == 0:
        return np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(numbers, sent[0]), numbers.size - 1)
    came = numbers[place] == sent[0]
    errors: Int64 = stamps[place[came]] - sent[1][came] - delay_ns
    return errors


def rate_per_s(count: int, elapsed_ns: int) -> float:
    """Events per second."""
    return count * NS_PER_S / elapsed_ns if elapsed_ns > 0 else 0.0

"""Throughput in windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testbed.units import NS_PER_S

PEAK_WINDOW_NS = 100_000_000
"""A tenth of a second: 80 packets at 10 Mbit/s, and well above the 15 KB bursts of HTB at 1 Mbit/s
and more."""


def window_bit_s(
    t_ns: npt.NDArray[np.int64],
    size_bytes: npt.NDArray[np.int64],
    start_ns: int,
    window_ns: int,
    windows: int,
) -> npt.NDArray[np.float64]:
    """Bits per second in each of adjacent windows, shape (windows,).

    What lies outside of them is left out.
    """
    place = (t_ns - start_ns) // window_ns
    inside = (place >= 0) & (place < windows)
    total = np.bincount(place[inside], weights=size_bytes[inside], minlength=windows)
    return np.asarray(total[:windows] * 8 * NS_PER_S / window_ns, np.float64)


def peak_bit_s(t_ns: npt.NDArray[np.int64], size_bytes: npt.NDArray[np.int64]) -> float | None:
    """The highest throughput of a window of PEAK_WINDOW_NS, counted from the first packet.

    None without packets.
    """
    if not t_ns.size:
        return None
    start = int(t_ns.min())
    windows = int((t_ns.max() - start) // PEAK_WINDOW_NS) + 1
    return float(window_bit_s(t_ns, size_bytes, start, PEAK_WINDOW_NS, windows).max())

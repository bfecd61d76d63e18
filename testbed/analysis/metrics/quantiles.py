"""Quantiles by nearest rank: each is a value that occurred."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from testbed.analysis.summary import CountQuantiles, DelayQuantiles, Quantiles


def nearest_rank(values: npt.ArrayLike, *shares: float) -> list[int]:
    """Quantiles by nearest rank (Hyndman and Fan 1996, definition 1).

    The ceil(share * n)-th smallest value.

    Args:
        values: at least one whole number.
        shares: each in 0..1.

    Raises:
        ValueError: there are no values.
    """
    array = np.asarray(values, np.int64)
    if array.size == 0:
        raise ValueError("no values, so no quantiles")
    ranks = [max(0, math.ceil(round(share * array.size, 9)) - 1) for share in shares]
    part = np.partition(array, sorted(set(ranks)))
    return [int(part[rank]) for rank in ranks]


def quantiles(values: npt.ArrayLike) -> Quantiles | None:
    """p50, p90, p99 and the maximum, or None without values."""
    if np.asarray(values).size == 0:
        return None
    p50, p90, p99, most = nearest_rank(values, 0.5, 0.9, 0.99, 1.0)
    return Quantiles(p50=p50, p90=p90, p99=p99, max=most)


def delay_quantiles(values: npt.ArrayLike) -> DelayQuantiles | None:
    """As `quantiles`, with the minimum."""
    if np.asarray(values).size == 0:
        return None
    least, p50, p90, p99, most = nearest_rank(values, 0.0, 0.5, 0.9, 0.99, 1.0)
    return DelayQuantiles(min=least, p50=p50, p90=p90, p99=p99, max=most)


def count_quantiles(values: npt.ArrayLike) -> CountQuantiles | None:
    """As `quantiles`, of numbers of packets."""
    if np.asarray(values).size == 0:
        return None
    p50, p90, p99, most = nearest_rank(values, 0.5, 0.9, 0.99, 1.0)
    return CountQuantiles(p50=p50, p90=p90, p99=p99, max=most)

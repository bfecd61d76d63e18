"""One-way loss: how much, and in what runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


def loss_ratio(lost: Flags) -> float | None:
    """One-way loss ratio (RFC 7680, 4.1: Type-P-One-way-Packet-Loss-Ratio).

    None without packets.
    """
    return float(lost.mean()) if lost.size else None


def loss_distances(lost: Flags) -> npt.NDArray[np.int64]:
    """Loss distance (RFC 3357, 5.4.1): of each lost packet how far back the loss before lies.

    0 for the first.

    Args:
        lost: per packet in the order of sending.
    """
    places = np.flatnonzero(lost)
    return np.diff(places, prepend=places[:1]).astype(np.int64)


def loss_periods(lost: Flags) -> npt.NDArray[np.int64]:
    """Loss period (RFC 3357, 5.4.2): per packet the number of its run of losses, from 1.

    0 where it arrived.
    """
    begins = lost & ~np.concatenate(([False], lost[:-1]))
    return np.where(lost, np.cumsum(begins), 0).astype(np.int64)


def run_lengths(lost: Flags) -> npt.NDArray[np.int64]:
    """Loss period lengths (RFC 3357, 6.3), in order."""
    periods = loss_periods(lost)
    return np.bincount(periods[lost])[1:].astype(np.int64)


def loss_runs(lost: Flags) -> dict[str, int]:
    """How often a run of so many losses occurred (RFC 3357, 6.3).

    Length -> count, shortest first.
    """
    lengths, counts = np.unique(run_lengths(lost), return_counts=True)
    return {
        str(length): count for length, count in zip(lengths.tolist(), counts.tolist(), strict=True)
    }


def mean_run(lost: Flags) -> float | None:
    """Mean loss period length (RFC 3357, 6.3) in packets; None without losses."""
    lengths = run_lengths(lost)
    return float(lengths.mean()) if lengths.size else None


def burst_ratio(lost: Flags) -> float | None:
    """Burst ratio (ITU-T G.107): mean run of losses, times 1 - loss ratio.

    1 when losses are independent.
    """
    lengths = run_lengths(lost)
    ratio = loss_ratio(lost)
    return None if ratio is None or not lengths.size else float(lengths.mean()) * (1 - ratio)

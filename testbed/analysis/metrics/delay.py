"""One-way delay and its variation. Never a bare "jitter" (RFC 3393, 1.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]


def one_way_delays(sent_ns: Times, received_ns: Times, partner: Times) -> Times:
    """One-way delay in ns (RFC 7679) of each packet that arrived, in the order of sending.

    Args:
        sent_ns: when each packet was sent.
        received_ns: when each packet at the other end was received.
        partner: per sent packet its row at the other end, or -1 where it was lost (its delay is
            undefined).
    """
    arrived = partner >= 0
    return received_ns[partner[arrived]] - sent_ns[arrived]


def packet_delay_variation(delays_ns: Times) -> Times:
    """PDV in ns (RFC 5481, 4.2): D(i) - min D."""
    return delays_ns - delays_ns.min() if delays_ns.size else delays_ns

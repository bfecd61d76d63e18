"""The theory, as functions of its quantities. Pure.

Two answers to "what does one TCP flow get at random loss", which between them make the band:

- Mathis, Semke, Mahdavi, Ott, "The macroscopic behavior of the TCP congestion avoidance
  algorithm", CCR 27(3), 1997: additive increase and halving alone, no timeouts. Its constant is
  sqrt(3/2) = 1.22 where losses are evenly spaced and 1.31 where each packet is lost independently
  (their table 1, an ACK for every packet). Linux grows its window by the packets that were
  acknowledged, not by the ACKs (tcp_cong_avoid_ai), so delayed ACKs change nothing.
- Padhye, Firoiu, Towsley, Kurose, "Modeling TCP throughput", SIGCOMM 1998, equation 30: takes all
  losses of a window as one and counts timeouts, with a sender that knows no SACK.

A sender with SACK, tail loss probes and RACK has fewer timeouts than PFTK says: it belongs between
the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final

from testbed.network.queues import FRAME_BYTES
from testbed.units import NS_PER_S

MATHIS_PERIODIC: Final = math.sqrt(3 / 2)
"""Mathis' constant, losses evenly spaced."""
MATHIS_RANDOM: Final = 1.31
"""Mathis' constant, losses independent of one another."""
RTO_MIN_S: Final = 0.2
"""Linux, TCP_RTO_MIN (include/net/tcp.h): a timeout comes this long after a smoothed RTT."""
EVENT_SPREAD: Final = 0.52
"""Standard deviation of the goodput of a flow over N losses, times sqrt(N), relative to its mean.

Of the model that Mathis' constant comes from (each packet lost independently, halving, one packet
more per RTT); tests/unit/test_theory.py simulates it.
"""
SIGMAS: Final = 3.0
"""How many standard deviations a margin is: 99.7 % of normal errors lie within."""
_STUDENT_95: Final = {
    2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26,
}  # fmt: skip
"""Student's t, 97.5 % quantile with n - 1 degrees of freedom, by the number n of values."""


def mathis_bit_s(loss_ratio: float, rtt_s: float, mss_bytes: int, constant: float) -> float:
    """Goodput of a flow without timeouts: C * MSS / (RTT * sqrt(p))."""
    return constant * mss_bytes * 8 / (rtt_s * math.sqrt(loss_ratio))


def pftk_bit_s(loss_ratio: float, rtt_s: float, mss_bytes: int) -> float:
    """Goodput with timeouts (PFTK, equation 30), with b = 1 and T0 = RTT + 200 ms."""
    p = loss_ratio
    halving_s = rtt_s * math.sqrt(2 * p / 3)
    timeouts_s = (rtt_s + RTO_MIN_S) * min(1.0, 3 * math.sqrt(3 * p / 8)) * p * (1 + 32 * p * p)
    return mss_bytes * 8 / (halving_s + timeouts_s)


def mathis_band_bit_s(
    loss_ratio: float, rtt_s: float, mss_bytes: int, losses: int
) -> tuple[float, float]:
    """Where the mean goodput over `losses` independent losses is to lie.

    From PFTK to Mathis with the constant of random losses, each with a margin for the number of
    losses.
    """
    margin = SIGMAS * EVENT_SPREAD / math.sqrt(losses)
    low = pftk_bit_s(loss_ratio, rtt_s, mss_bytes)
    high = mathis_bit_s(loss_ratio, rtt_s, mss_bytes, MATHIS_RANDOM)
    return low * max(0.0, 1 - margin), high * (1 + margin)


def drop_tail_wait_ns(queue_packets: int, capacity_bit_s: int) -> int:
    """The longest wait at a drop-tail bottleneck: (Q + 1) full frames at its capacity.

    Q in the queue and one that is being sent; the packet itself may be one of the Q.
    """
    return (queue_packets + 1) * FRAME_BYTES * 8 * NS_PER_S // capacity_bit_s


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean of independent values and half of its 95 % confidence interval (Student's t).

    No interval for a single value; from eleven values on the one of ten, which is a little wide.
    """
    if len(values) < 2:
        return fmean(values), None
    quantile = _STUDENT_95[min(len(values), max(_STUDENT_95))]
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))

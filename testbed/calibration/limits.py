"""What a machine does faithfully, from what was measured on it. Pure.

Rules:

- The bounds in time are the verdict's own: a run is faithful when packets are late, at p99, by at
  most `NEAR` of the time that one full frame takes at the capacity. So an error in time gives the
  highest capacity at which it would still pass. What counts is the error with a load beside it,
  because a run always has one.
- A capacity that was measured is kept when its rate is right in the long run and in each window,
  and the relay was punctual enough for it meanwhile.
- What is between two capacities that were measured is not known: the limit is one that was measured
  or, below it, the limit in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from testbed.analysis.verdict import FULL_FRAME_BYTES, NEAR
from testbed.analysis.verdict_machine import STOLEN_DEGRADED
from testbed.calibration.record import Backend, Circumstances, Limits, RateMeasure, TcpMeasure
from testbed.units import NS_PER_S, serialisation_ns

LONG_RUN_ERROR: Final = 0.005
"""Most error of a rate in the long run: half of the 1 % by which a throughput is read off."""
WINDOW_ERROR: Final = 0.02
"""Most error of any window of 100 ms: a packet that is 2 ms late."""

SEGMENT_BYTES: Final = 1448
"""What TCP carries in a full frame: MTU 1500 without the headers of IPv4 and TCP with time stamps.
"""


def limits(backend: Backend) -> Limits | None:
    """What `backend` does faithfully; None where the delays were not measured."""
    measured = [delay.error for delay in backend.delays if delay.loaded]
    if not measured:
        return None
    p99_ns = max(error.p99_ns for error in measured)
    late = backend.loaded.relay_lateness if backend.loaded else None
    late_ns = None if late is None else late.p99_ns
    return Limits(
        delay_error_p50_ns=max(error.p50_ns for error in measured),
        delay_error_p99_ns=p99_ns,
        lateness_p99_ns=late_ns,
        capacity_by_time_bit_s=capacity_by_time_bit_s(max(p99_ns, late_ns or 0)),
        capacity_by_rate_bit_s=_kept(backend.rates),
        packets_per_s=_carried_per_s(backend),
    )


def _carried_per_s(backend: Backend) -> float | None:
    """Most full frames that were seen to be carried; None: that was not measured."""
    seen = []
    if backend.carried is not None:
        seen.append(backend.carried.packets_per_s)
    if backend.tcp is not None:
        seen.append(tcp_frames_per_s(backend.tcp))
    return max(seen, default=None)


def tcp_frames_per_s(tcp: TcpMeasure) -> float:
    """Full frames that carried a TCP goodput."""
    return tcp.goodput_bit_s / (SEGMENT_BYTES * 8)


def capacity_by_time_bit_s(error_ns: int) -> int:
    """The highest capacity at which an error in time is still faithful."""
    return int(NEAR * FULL_FRAME_BYTES * 8 * NS_PER_S / max(1, error_ns))


def rate_faults(rate: RateMeasure) -> list[str]:
    """What is wrong with a measured capacity; empty: nothing.

    Where the sender fell behind there is nothing else to say: the link was not filled.
    """
    if rate.sender_ran_dry:
        return ["sender"]
    faults = []
    if abs(rate.long_run_error_ratio) > LONG_RUN_ERROR:
        faults.append("long run")
    if rate.window_error_max_ratio > WINDOW_ERROR:
        faults.append("windows")
    late = rate.circumstances.relay_lateness
    if late is not None:
        bound = NEAR * serialisation_ns(FULL_FRAME_BYTES, rate.capacity_bit_s)
        if late.p99_ns > bound:
            faults.append("lateness")
    if rate.circumstances.relay_overflow_packets:
        faults.append("overflow")
    if rate.capture_missed_packets:
        faults.append("captures")
    return faults


def _kept(rates: Sequence[RateMeasure]) -> int:
    """The highest capacity that was kept, with all below it."""
    kept = 0
    for rate in sorted(rates, key=lambda rate: rate.capacity_bit_s):
        if rate_faults(rate):
            break
        kept = rate.capacity_bit_s
    return kept


def most_stolen(backend: Backend) -> float:
    """The greatest share of stolen CPU time of all measurements."""
    shares = (c.stolen_cpu_ratio for c in _circumstances(backend))
    return max((share for share in shares if share is not None), default=0.0)


def is_disturbed(backend: Backend) -> bool:
    """Whether so much CPU time was stolen that no verdict would call it faithful."""
    return most_stolen(backend) > STOLEN_DEGRADED


def _circumstances(backend: Backend) -> Iterable[Circumstances]:
    for found in (backend.idle, backend.loaded):
        if found is not None:
            yield found
    for measure in (*backend.rates, backend.loss, backend.carried, backend.tcp):
        if measure is not None:
            yield measure.circumstances


def full_frames_per_s(capacity_bit_s: int) -> float:
    """How many full frames a capacity allows."""
    return capacity_bit_s / (FULL_FRAME_BYTES * 8)

"""Whether the machine had time for the experiment: the load generator, the hypervisor, the CPUs.

Rules: those of `testbed.analysis.verdict`, which these checks are part of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from testbed.analysis.summary import Quantiles, Reason
from testbed.analysis.verdict import Status, graded, not_made
from testbed.scaled import duration
from testbed.units import NS_PER_MS

GENERATOR_LATE_NS: Final = 10 * NS_PER_MS
"""Least bound on an open loop's lateness at p99: one beat of the samplers. Latency counts from the
intended start, so lateness is never hidden; beyond this it is the load that is measured, not the
service."""
GENERATOR_LATE_OF_INTERVAL: Final = 0.1
"""The same as a share of the mean time between starts: 10 % bends the arrival process."""
STOLEN_DEGRADED: Final = 0.01
STOLEN_INVALID: Final = 0.05
"""Share of CPU time that the hypervisor took: 1 % is 10 ms in a second, a whole sampling beat; at 5
% stops of the length of an RTT are likely, which no probe of the guest can tell from the
network."""
WAKE_UP_DEGRADED: Final = 0.2
WAKE_UP_INVALID: Final = 0.5
"""Share of the latency at p50, p90 or p99 in which data had come and the process that waited for it
was not running yet. Hosts of a real network do not share CPUs: a fifth is more than a kernel's own
wake-up takes of any latency that a network makes, and of half of it the machine is the cause."""
CPU_WAIT_DEGRADED: Final = 0.5
CPU_WAIT_INVALID: Final = 1.0
"""Share of the time with requests under way in which a server, and a client, was ready to run and
had no CPU; both added. On two CPUs with little else running it was 0.02 to 0.08 for four users over
40 ms and 0.31 for eight users without a delay; with other work, 0.57 for the former beside eight
more that wanted the CPUs, and their p99 was 40 % higher. From 1 on there was, on
average, always one that waited."""


def load_generator(late: Quantiles | None, rate_per_s: float | None) -> Reason | None:
    """Lateness of an open loop's starts at p99.

    A closed loop has no schedule and cannot be late.
    """
    if rate_per_s is None:
        return None
    if late is None:
        return not_made("load generator", "no request was recorded")
    bound = max(GENERATOR_LATE_NS, round(GENERATOR_LATE_OF_INTERVAL * 1e9 / rate_per_s))
    return Reason(
        check="load generator",
        status=graded(late.p99, bound),
        message=f"requests started {duration(late.p99)} late at p99; "
        f"the bound is {duration(bound)}",
        value=late.p99,
        bound=bound,
        unit="ns",
    )


def stolen_cpu(ratio: float | None) -> Reason:
    """CPU time that the hypervisor took away while the load ran."""
    if ratio is None:
        return not_made("stolen CPU", "the share was not recorded")
    status: Status = "faithful"
    if ratio > STOLEN_DEGRADED:
        status = "invalid" if ratio > STOLEN_INVALID else "degraded"
    bound = STOLEN_INVALID if status == "invalid" else STOLEN_DEGRADED
    message = (
        f"{ratio:.1%} of all CPU time was stolen; bounds are {STOLEN_DEGRADED:.0%} and "
        f"{STOLEN_INVALID:.0%}"
    )
    return Reason(
        check="stolen CPU", status=status, message=message, value=ratio, bound=bound, unit="ratio"
    )


def cpu_wait(waited_ns: float, busy_ns: int) -> Reason:
    """How long hosts were ready to run without a CPU, while requests were under way.

    Args:
        waited_ns: by a server and a client; where there are several, on average.
        busy_ns: how long at least one request was under way.
    """
    ratio = waited_ns / busy_ns
    status: Status = "faithful"
    if ratio > CPU_WAIT_DEGRADED:
        status = "invalid" if ratio > CPU_WAIT_INVALID else "degraded"
    bound = CPU_WAIT_INVALID if status == "invalid" else CPU_WAIT_DEGRADED
    return Reason(
        check="CPU wait",
        status=status,
        message=f"server and client waited for a CPU for {ratio:.1%} of the time with requests "
        f"under way, both added; bounds are {CPU_WAIT_DEGRADED:.0%} and {CPU_WAIT_INVALID:.0%}",
        value=ratio,
        bound=bound,
        unit="ratio",
    )


def wake_ups(ratios: Mapping[str, float]) -> Reason:
    """Whether processes ran when data came for them, or hosts waited for each other's CPUs.

    Args:
        ratios: by quantile of the latency the share of it that is waking up.
    """
    where, ratio = max(ratios.items(), key=lambda item: item[1])
    status: Status = "faithful"
    if ratio > WAKE_UP_DEGRADED:
        status = "invalid" if ratio > WAKE_UP_INVALID else "degraded"
    bound = WAKE_UP_INVALID if status == "invalid" else WAKE_UP_DEGRADED
    return Reason(
        check="wake-ups",
        status=status,
        message=f"{ratio:.1%} of the latency at {where} is server and clients that data had come "
        f"for and that had no CPU yet; bounds are {WAKE_UP_DEGRADED:.0%} and {WAKE_UP_INVALID:.0%}",
        value=ratio,
        bound=bound,
        unit="ratio",
    )

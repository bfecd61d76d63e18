"""Pings beside one greedy flow at a drop-tail bottleneck.

    client --------- r1 ========> server         topology single_bottleneck: 10 ms each way
                      1.5 mbit/s, queue of Q

Flow and pings go the same way. However greedy the flow is, no ping can wait longer than Q + 1 full
frames; one that does has met a super-packet or a queue that nobody set up.

The published figures are of a bufferbloat lab with the same numbers on Mininet, as several
universities' network courses set it; their scripts run Reno unless told otherwise. They are for
comparison, not a band: Mininet has netem and the queue in one tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, Literal, TypeAlias

import msgspec

from benchmarks.theory import formulas
from benchmarks.theory.lab import PING_INTERVAL_S, Job
from benchmarks.theory.measure import Measured
from testbed.errors import RunError
from testbed.network.queues import FRAME_BYTES
from testbed.scenario import Link, Scenario, Way
from testbed.units import NS_PER_MS, serialisation_ns

CAPACITY_BIT_S: Final = 1_500_000
RTT_MS: Final = 20.0
"""What the topology's delays make."""
QUEUES: Final = (20, 100)
CONGESTION_CONTROLS: Final = ("reno", "cubic")
SECONDS: Final = 60
PUBLISHED_MS: Final = {20: (124.0, 162.0), 100: (567.0, 761.0)}
"""Median and maximum of the published lab, by queue."""
FILLED_RATIO: Final = 0.8
"""The longest wait is to be at least this share of Q full frames, else the flow never filled the
queue and the bound was not tried.

Not 1: up to one packet in thirteen of the queue is a ping (ten a second beside 124 frames), which
takes a place and next to no time, and none need come at the moment at which it is full.
"""
_IDLE_PINGS: Final = 10
ROUNDING_MS: Final = 0.5
"""ping prints whole milliseconds from 100 ms on."""
Verdict: TypeAlias = Literal["inside", "late", "outside"]
"""inside: the longest ping lies between what fills the queue and the bound. late: it lies above the
bound, by no more than the relay was late. outside: neither.
"""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One flow with its pings."""

    queue_packets: int
    congestion_control: str
    idle_median_ms: float
    """Round trip without the flow: 20 ms and what the testbed adds."""
    pings: int
    lost: int
    median_ms: float
    max_ms: float
    bound_ms: float
    """RTT + (Q + 1) full frames at the capacity."""
    over_bound: int
    """Pings above it by more than ping's rounding."""
    late_ms: float
    """What the relay itself can have added to a round trip: its largest lateness each way."""
    filled_ms: float
    """What the longest ping must reach for the queue to have been filled."""
    published_ms: tuple[float, float] | None
    """Median and maximum of the published lab; None for a queue that it has not."""
    goodput_bit_s: float
    verdict: Verdict


def jobs(
    seed: int,
    *,
    queues: Sequence[int] = QUEUES,
    congestion_controls: Sequence[str] = CONGESTION_CONTROLS,
    seconds: int = SECONDS,
) -> Iterator[Job]:
    """A job for each queue and congestion control."""
    for queue in queues:
        for name in congestion_controls:
            shaped = Way(capacity=f"{CAPACITY_BIT_S}bit", queue=f"{queue}p")
            yield Job(
                name=f"drop-tail-{queue}-{name}",
                scenario=Scenario(
                    topology="single_bottleneck",
                    links={"r1-server": Link(forward=shaped)},
                    congestion_control=name,
                    link_backend="relay",
                ),
                seed=seed,
                seconds=seconds,
                idle_pings=_IDLE_PINGS,
                loaded_pings=round(seconds / PING_INTERVAL_S),
            )


def result(measured: Measured) -> Result:
    """What one measurement of `jobs` says.

    Raises:
        RunError: no ping came back.
    """
    queue = int(str(measured.job.scenario.links["r1-server"].forward.queue).removesuffix("p"))
    idle, loaded = measured.idle, measured.loaded
    if idle is None or loaded is None or not (idle.rtts_ms and loaded.rtts_ms):
        raise RunError("no ping came back", where=measured.job.name)
    bound_ms = RTT_MS + formulas.drop_tail_wait_ns(queue, CAPACITY_BIT_S) / NS_PER_MS
    frame_ms = serialisation_ns(FRAME_BYTES, CAPACITY_BIT_S) / NS_PER_MS
    filled_ms = RTT_MS + FILLED_RATIO * queue * frame_ms
    late_ms = measured.latest_ns() / NS_PER_MS
    return Result(
        queue_packets=queue,
        congestion_control=measured.flow.congestion_control,
        idle_median_ms=median(idle.rtts_ms),
        pings=loaded.sent,
        lost=loaded.sent - len(loaded.rtts_ms),
        median_ms=median(loaded.rtts_ms),
        max_ms=max(loaded.rtts_ms),
        bound_ms=bound_ms,
        over_bound=sum(rtt_ms > bound_ms + ROUNDING_MS for rtt_ms in loaded.rtts_ms),
        late_ms=late_ms,
        filled_ms=filled_ms,
        published_ms=PUBLISHED_MS.get(queue),
        goodput_bit_s=measured.flow.goodput_bit_s,
        verdict=judge(max(loaded.rtts_ms), filled_ms, bound_ms + ROUNDING_MS, late_ms),
    )


def judge(longest_ms: float, filled_ms: float, bound_ms: float, late_ms: float) -> Verdict:
    """What the longest ping says, see `Verdict`."""
    if longest_ms > bound_ms:
        return "late" if longest_ms <= bound_ms + late_ms else "outside"
    return "inside" if longest_ms >= filled_ms else "outside"

"""One Reno flow on a lossy path, held against Mathis and PFTK.

    client ---- 25 ms, loss p ----> server         no capacity anywhere
           <--- 25 ms -------------

Loss is in the direction of the data only: Mathis' p is that of segments, and lost ACKs are
something else. The first seconds are not measured: they are slow start and the way down from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Final

import msgspec

from benchmarks.theory import formulas, path, relay_log
from benchmarks.theory.lab import Job
from benchmarks.theory.measure import Measured
from testbed.errors import RunError
from testbed.scenario import Link, Scenario, Way
from testbed.units import NS_PER_MS, NS_PER_S

ONE_WAY_MS: Final = 25
RTT_NS: Final = 2 * ONE_WAY_MS * NS_PER_MS
RTT_S: Final = RTT_NS / NS_PER_S
CASES: Final = {"0.1%": 60, "1%": 40, "2%": 40}
"""Loss, and the seconds to measure: at least about forty losses a run."""
_OMIT_S: Final = 5
_IDLE_PINGS: Final = 10
_LINK: Final = "client-server"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One flow."""

    seed: int
    goodput_bit_s: float
    mss_bytes: int
    ping_ms: float
    """Median round trip before the flow: 50 ms and what the testbed adds."""
    rtt_ns: int
    """As TCP measured it while the flow ran: with the receiver's delayed ACKs."""
    data_packets: int
    lost_packets: int
    loss_events: int
    """Losses, those within one RTT counted once."""
    late_p50_ns: int
    """Of the relay, both directions summed."""
    late_p99_ns: int
    window_limited_seconds: int
    """Seconds in which the receiver's window was what limits."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All flows of one loss ratio."""

    loss: str
    runs: list[Run]
    mean_bit_s: float
    half_width_bit_s: float | None
    """Half of the 95 % confidence interval of the mean; None with a single run."""
    mathis_periodic_bit_s: float
    mathis_random_bit_s: float
    pftk_bit_s: float
    band_bit_s: tuple[float, float]
    inside: bool
    as_measured_ratio: float
    """Mean goodput over Mathis (random losses) with the loss and the RTT that there really were."""


def scenario(loss: str) -> Scenario:
    """The lossy path."""
    link = Link(delay=f"{ONE_WAY_MS}ms", forward=Way(loss=loss))
    return Scenario(
        topology=f"{path.__file__}:{path.Path.__name__}",
        links={_LINK: link},
        congestion_control="reno",
        link_backend="relay",
    )


def jobs(
    seeds: Sequence[int], *, cases: dict[str, int] = CASES, omit_s: int = _OMIT_S
) -> Iterator[Job]:
    """A job for each loss of `cases` and each seed."""
    for loss, seconds in cases.items():
        for seed in seeds:
            yield Job(
                name=f"mathis-{loss}-{seed}",
                scenario=scenario(loss),
                seed=seed,
                seconds=seconds,
                omit_s=omit_s,
                idle_pings=_IDLE_PINGS,
            )


def results(measured: Sequence[Measured]) -> list[Result]:
    """What the measurements of `jobs` say, by loss."""
    by_loss: dict[str, list[Run]] = {}
    for one in measured:
        by_loss.setdefault(_loss_of(one), []).append(run_of(one))
    return [_result(loss, runs) for loss, runs in by_loss.items()]


def _loss_of(measured: Measured) -> str:
    return str(measured.job.scenario.links[_LINK].forward.loss)


def run_of(measured: Measured) -> Run:
    """The figures of one measurement.

    Raises:
        RunError: no ping came back.
    """
    if measured.idle is None or not measured.idle.rtts_ms:
        raise RunError("no ping came back", where=measured.job.name)
    skip_ns = measured.job.omit_s * NS_PER_S
    data = relay_log.data_loss(measured.layout, _LINK, "forward", skip_ns, RTT_NS)
    late = [
        relay_log.lateness(measured.layout, *way) for way in relay_log.crossings(measured.layout)
    ]
    return Run(
        seed=measured.job.seed,
        goodput_bit_s=measured.flow.goodput_bit_s,
        mss_bytes=measured.flow.mss_bytes,
        ping_ms=median(measured.idle.rtts_ms),
        rtt_ns=measured.flow.rtt_ns,
        data_packets=data.packets,
        lost_packets=data.lost,
        loss_events=data.events,
        late_p50_ns=sum(way.p50_ns for way in late),
        late_p99_ns=sum(way.p99_ns for way in late),
        window_limited_seconds=measured.flow.window_limited_seconds,
    )


def _result(loss: str, runs: list[Run]) -> Result:
    ratio = scenario(loss).links[_LINK].forward.loss_ratio or 0.0
    mss = runs[0].mss_bytes
    mean, half_width = formulas.mean_and_half_width([run.goodput_bit_s for run in runs])
    low, high = formulas.mathis_band_bit_s(ratio, RTT_S, mss, sum(run.loss_events for run in runs))
    lost = sum(run.lost_packets for run in runs) / sum(run.data_packets for run in runs)
    rtt_s = fmean(run.rtt_ns for run in runs) / NS_PER_S
    as_measured = formulas.mathis_bit_s(lost, rtt_s, mss, formulas.MATHIS_RANDOM)
    return Result(
        loss=loss,
        runs=runs,
        mean_bit_s=mean,
        half_width_bit_s=half_width,
        mathis_periodic_bit_s=formulas.mathis_bit_s(ratio, RTT_S, mss, formulas.MATHIS_PERIODIC),
        mathis_random_bit_s=formulas.mathis_bit_s(ratio, RTT_S, mss, formulas.MATHIS_RANDOM),
        pftk_bit_s=formulas.pftk_bit_s(ratio, RTT_S, mss),
        band_bit_s=(low, high),
        inside=low <= mean <= high,
        as_measured_ratio=mean / as_measured,
    )

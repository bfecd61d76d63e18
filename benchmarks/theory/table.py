"""The results as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Final

from benchmarks.theory import drop_tail, formulas, mathis

_MBIT: Final = 1e6
_MS: Final = 1e6


def mathis_table(results: Sequence[mathis.Result]) -> str:
    """Goodput at each loss ratio, and its two formulas."""
    head = [
        "loss", "runs", "goodput Mbit/s", "PFTK", "Mathis 1.22", "Mathis 1.31", "band", "",
        "losses (events)", "ping ms", "TCP's RTT ms", "as measured", "relay late p50/p99 ms",
    ]  # fmt: skip
    text = aligned([head, *map(_mathis_row, results)])
    return (
        f"Mathis: one Reno flow, RTT {mathis.RTT_S * 1000:g} ms, loss towards the receiver only\n"
        f"{text}\n"
        "Beside each formula's Mbit/s: goodput over it. Band: from PFTK to Mathis with 1.31, each "
        f"with {formulas.SIGMAS:g} * {formulas.EVENT_SPREAD:g} / sqrt(loss events) to spare.\n"
        "Ping: round trip before the flow. As measured: goodput over Mathis 1.31 with the loss and "
        "TCP's smoothed RTT that there were; that RTT holds the receiver's delayed ACKs."
    )


def _mathis_row(result: mathis.Result) -> list[str]:
    runs = result.runs
    width = result.half_width_bit_s
    goodput = f"{result.mean_bit_s / _MBIT:.2f}"
    if width is not None:
        goodput += f" +- {width / _MBIT:.2f}"
    formulas_bit_s = (
        result.pftk_bit_s, result.mathis_periodic_bit_s, result.mathis_random_bit_s,
    )  # fmt: skip
    low, high = result.band_bit_s
    lost = sum(run.lost_packets for run in runs)
    share = lost / sum(run.data_packets for run in runs)
    late_ms = (
        max(run.late_p50_ns for run in runs) / _MS, max(run.late_p99_ns for run in runs) / _MS,
    )  # fmt: skip
    return [
        result.loss,
        str(len(runs)),
        goodput,
        *(f"{one / _MBIT:.2f} ({result.mean_bit_s / one:.2f})" for one in formulas_bit_s),
        f"{low / _MBIT:.2f}..{high / _MBIT:.2f}",
        "inside" if result.inside else "OUTSIDE",
        f"{lost} ({sum(run.loss_events for run in runs)}) = {share:.3%}",
        f"{median(run.ping_ms for run in runs):.1f}",
        f"{fmean(run.rtt_ns for run in runs) / _MS:.1f}",
        f"{result.as_measured_ratio:.2f}",
        f"{late_ms[0]:.2f}/{late_ms[1]:.2f}",
    ]


def drop_tail_table(results: Sequence[drop_tail.Result]) -> str:
    """Pings at each queue."""
    head = [
        "queue", "TCP", "idle ms", "pings", "lost", "median ms", "max ms", "bound ms", "over",
        "late ms", "filled ms", "", "published median/max", "goodput Mbit/s",
    ]  # fmt: skip
    text = aligned([head, *map(_drop_tail_row, results)])
    return (
        f"Drop-tail: pings beside one flow, {drop_tail.CAPACITY_BIT_S / _MBIT:g} Mbit/s, base RTT "
        f"{drop_tail.RTT_MS:g} ms\n"
        f"{text}\n"
        "Bound: RTT + (Q + 1) * 1514 * 8 / capacity; over: pings above it by more than ping's "
        "rounding. Late: the relay's largest lateness each way, summed; LATE: over the bound, by "
        "no more than that.\n"
        "Filled: what the longest ping must reach, else the flow never filled the queue. "
        "Published: a bufferbloat lab on Mininet with Reno, for comparison."
    )


def _drop_tail_row(result: drop_tail.Result) -> list[str]:
    published = result.published_ms
    return [
        str(result.queue_packets),
        result.congestion_control,
        f"{result.idle_median_ms:.1f}",
        str(result.pings),
        str(result.lost),
        f"{result.median_ms:.0f}",
        f"{result.max_ms:.0f}",
        f"{result.bound_ms:.1f}",
        str(result.over_bound),
        f"{result.late_ms:.1f}",
        f"{result.filled_ms:.0f}",
        result.verdict if result.verdict == "inside" else result.verdict.upper(),
        "-" if published is None else f"{published[0]:.0f}/{published[1]:.0f}",
        f"{result.goodput_bit_s / _MBIT:.3f}",
    ]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_lines(rows, widths))


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()

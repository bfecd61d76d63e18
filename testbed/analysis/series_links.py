"""What crossed a link over time, as series: throughput, losses and delays of each direction."""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.analysis.metrics.throughput import window_bit_s
from testbed.analysis.periods import periods_of
from testbed.analysis.series import (
    MAX_POINTS,
    THROUGHPUT_WINDOW_NS,
    DelaySeries,
    LossSeries,
    ThroughputSeries,
)
from testbed.analysis.topology import Way
from testbed.recording.manifest import Manifest

_TAIL_NS: Final = 1_000_000_000
"""After the load: connections close, queues drain."""


def _windows(rows: pl.DataFrame, span: tuple[int, int]) -> tuple[int, int, int]:
    """Start (after the origin), width and number of windows: the load and a little more."""
    origin, end = span
    last = rows.select(pl.max_horizontal("sent_ns", "received_ns").max()).item()
    last = min(max(int(last or end), end), end + _TAIL_NS)
    width = THROUGHPUT_WINDOW_NS
    width *= max(1, -(-(last - origin) // (width * MAX_POINTS)))
    return 0, width, max(1, -(-(last - origin + 1) // width))


def capacity_steps(manifest: Manifest, way: Way, origin: int) -> list[tuple[int, int]]:
    """From when on which capacity; nothing where it never changed."""
    steps = [
        (max(period.start_ns, origin) - origin, period.settings.capacity_bit_s)
        for period in periods_of(manifest, way).periods
    ]
    known = [(t_ns, capacity) for t_ns, capacity in steps if capacity is not None]
    return known if len({capacity for _, capacity in known}) > 1 else []


def throughput(
    way: Way, rows: pl.DataFrame, span: tuple[int, int], steps: list[tuple[int, int]]
) -> ThroughputSeries:
    """What arrived, by windows of time.

    Args:
        way: the direction.
        rows: of its packets.
        span: of the load, from and to.
        steps: its capacities, where they changed.
    """
    start, width, count = _windows(rows, span)
    came = rows.filter(pl.col("received_ns").is_not_null())
    values = window_bit_s(
        came["received_ns"].to_numpy() - span[0], came["size_bytes"].to_numpy(), start, width, count
    )
    return ThroughputSeries(
        link=way.link.name,
        direction=way.name,
        window_ns=width,
        t_ns=[start + width * index for index in range(count)],
        bit_s=values.tolist(),
        capacity_bit_s=way.settings.capacity_bit_s,
        bottleneck=way.settings.bottleneck,
        capacity_steps=steps,
    )


def losses(way: Way, rows: pl.DataFrame, origin: int) -> LossSeries:
    """When packets were sent that did not arrive."""
    lost = (rows.filter(pl.col("lost"))["sent_ns"] - origin).sort()
    step = max(1, -(-lost.len() // MAX_POINTS))
    kept = lost.gather_every(step)
    return LossSeries(way.link.name, way.name, kept.to_list(), lost.len() - kept.len())


def delays(way: Way, rows: pl.DataFrame, span: tuple[int, int]) -> list[DelaySeries]:
    """One-way delays, by windows of time; nothing where no packet was seen at both ends."""
    both = rows.filter(
        pl.col("sent_ns").is_not_null() & pl.col("received_ns").is_not_null() & ~pl.col("copy")
    )
    if not both.height:
        return []
    _, width, _ = _windows(rows, span)
    grouped = (
        both.select(
            ((pl.col("sent_ns") - span[0]) // width * width).alias("t_ns"),
            (pl.col("received_ns") - pl.col("sent_ns")).alias("delay"),
        )
        .group_by("t_ns")
        .agg(
            pl.col("delay").quantile(0.5, "nearest").cast(pl.Int64).alias("median"),
            pl.col("delay").max().alias("max"),
        )
        .sort("t_ns")
        .head(MAX_POINTS * 2)
    )
    return [
        DelaySeries(
            link=way.link.name,
            direction=way.name,
            window_ns=width,
            t_ns=grouped["t_ns"].to_list(),
            median_ns=grouped["median"].to_list(),
            max_ns=grouped["max"].to_list(),
            configured_delay_ns=way.settings.delay_ns,
        )
    ]

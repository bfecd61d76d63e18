"""Backpressure in event loops (definition ours, by the template of RFC 6390).

Tasks that could run and had to wait.
"""

from __future__ import annotations

import msgspec
import polars as pl

from testbed.analysis.metrics.quantiles import quantiles
from testbed.analysis.summary import Quantiles


class LoopLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How busy event loops were."""

    steps: int
    longest_step_ns: int
    """While it lasted, no other task of its process could run."""
    longest_step_process: str
    lag_ns: Quantiles
    """From becoming runnable to running, per step."""
    time_runnable_ns: int
    """The same, summed over all steps."""
    peak_runnable_tasks: int
    busy_ratio: dict[str, float]
    """Per process the share of its time that it spent in steps."""


def loop_load(table: pl.DataFrame) -> LoopLoad | None:
    """How busy event loops were; None without a step."""
    steps = table.filter(pl.col("kind") == "step")
    if not steps.height:
        return None
    lag = (steps["started_ns"] - steps["scheduled_ns"]).clip(lower_bound=0)
    length = steps["ended_ns"] - steps["started_ns"]
    longest = int(length.arg_max() or 0)
    lag_quantiles = quantiles(lag.to_numpy())
    assert lag_quantiles is not None
    busy = (
        table.group_by("process", maintain_order=True)
        .agg(
            (pl.col("ended_ns") - pl.col("started_ns"))
            .filter(pl.col("kind") == "step")
            .sum()
            .alias("busy"),
            (pl.col("ended_ns").max() - pl.col("started_ns").min()).alias("whole"),
        )
        .sort("process")
    )
    return LoopLoad(
        steps=steps.height,
        longest_step_ns=int(length[longest]),
        longest_step_process=str(steps["process"][longest]),
        lag_ns=lag_quantiles,
        time_runnable_ns=int(lag.sum()),
        peak_runnable_tasks=int(steps["runnable"].max()),  # type: ignore[arg-type]
        busy_ratio={
            process: busy_ns / max(whole_ns, 1) for process, busy_ns, whole_ns in busy.iter_rows()
        },
    )

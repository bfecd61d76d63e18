"""Wake-ups: data ready -> the process is woken -> a CPU runs it.

Rules:

- The kernel wakes whoever waits for a socket within `sk_data_ready`: the next `sched_waking` of
  that CPU is of it. A process that ran already is not woken, and has no row.
- Kernels before 6.3 have no `sk_data_ready`. `tcp_probe` of a segment with payload stands for it
  there, which comes some microseconds earlier.
- `sched_wakeup` may come on another CPU, the one that is to run it (kernel/sched/core.c,
  ttwu_queue).
- A process is seen to run by the `sched_switch` to it. Where something else of it is seen first,
  the kernel did not tell of that switch, and when it came to run is not known.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.decode.schema import empty, from_columns
from testbed.analysis.tracing.ownership import (
    PROBED,
    READY,
    RECEIVED,
    STACKED,
    SWITCH,
    Names,
    Traced,
)
from testbed.events.tracepoints import WakeUp

WAKING: Final = "sched:sched_waking"
WOKEN: Final = "sched:sched_wakeup"
_NEVER: Final = np.iinfo(np.int64).max


def wake_ups(traced: Traced) -> pl.DataFrame:
    """Table of WakeUp, by the time data was ready."""
    events, names = traced.events, traced.names
    steps = events.filter(pl.col("event").is_in([RECEIVED, STACKED, PROBED, READY, WAKING]))
    steps = steps.sort("cpu", "place").with_columns(
        next_event=pl.col("event").shift(-1).over("cpu"),
        waking=pl.col("place").shift(-1).over("cpu"),
        woken_task=pl.col("subject").shift(-1).over("cpu"),
    )
    ready = pl.col("event") == READY
    if READY in traced.missing:
        ready = (pl.col("event") == PROBED) & (pl.col("length_bytes") > 0)
    woken = steps.filter(
        ready
        & (pl.col("next_event") == WAKING)
        & pl.col("woken_task").is_in(list(names.processes))
        & pl.col("own")
    )
    t_ns = events["t_ns"].to_numpy()
    parts = [
        _of_task(int(str(task)), rows, events, t_ns, names)
        for (task,), rows in woken.group_by("woken_task", maintain_order=True)
    ]
    return pl.concat(parts).sort("ready_ns") if parts else empty(WakeUp)


def _of_task(
    task: int, rows: pl.DataFrame, events: pl.DataFrame, t_ns: np.ndarray, names: Names
) -> pl.DataFrame:
    waking = rows["waking"].to_numpy()
    of_task = pl.col("subject") == task
    woken = _first_after(_places(events, (pl.col("event") == WOKEN) & of_task), waking)
    switched = _first_after(_places(events, (pl.col("event") == SWITCH) & of_task), waking)
    again = _first_after(_places(events, (pl.col("event") == WAKING) & of_task), waking)
    # Whatever happens on top of it: it runs.
    active = _first_after(_places(events, pl.col("task") == task), waking)
    ran = (switched < active) & (switched < again)
    woken = np.where(woken < again, woken, _NEVER)
    running_ns = _times(np.where(ran, switched, _NEVER), t_ns)
    process, node = names.processes[task]
    count = rows.height
    return from_columns(
        WakeUp,
        {
            "node": [node] * count,
            "process": [process] * count,
            "ready_ns": rows["t_ns"],
            "waking_ns": _times(waking, t_ns),
            "woken_ns": _times(woken, t_ns),
            "running_ns": running_ns,
            "wakeup_ns": running_ns - rows["t_ns"],
        },
    )


def _places(events: pl.DataFrame, which: pl.Expr) -> np.ndarray:
    return events.filter(which)["place"].to_numpy()


def _first_after(places: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The first of `places` beyond each of `after`; `_NEVER` where there is none."""
    known = np.concatenate([places, [_NEVER]])
    found: np.ndarray = known[np.searchsorted(places, after, side="right")]
    return found


def _times(places: np.ndarray, t_ns: np.ndarray) -> pl.Series:
    known = places < _NEVER
    times = t_ns[np.where(known, places, 0)] if t_ns.size else places
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(times))).to_series().cast(pl.Int64)

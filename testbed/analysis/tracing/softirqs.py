"""Softirqs of the network: raised, entered, left, and whether they handled packets of the run.

A softirq that is raised while it is pending is not pending twice: it waits from the first time on
(kernel/softirq.c, __raise_softirq_irqoff).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

RAISE, ENTRY, EXIT = "irq:softirq_raise", "irq:softirq_entry", "irq:softirq_exit"
SCHEMA: Final = pl.Schema(
    {
        "cpu": pl.Int64,
        "kind": pl.String,
        "raised": pl.Int64,
        "entry": pl.Int64,
        "exit": pl.Int64,
        "raised_ns": pl.Int64,
        "entry_ns": pl.Int64,
        "own": pl.Boolean,
    }
)
"""`raised`, `entry` and `exit` are places of events; null: it was not seen."""


def softirqs(events: pl.DataFrame) -> pl.DataFrame:
    """Every softirq that was entered, by CPU and time.

    Args:
        events: with `place`, `context` and `packet`, by place.
    """
    raised = events.filter(pl.col("event").is_in([RAISE, ENTRY, EXIT]))
    handled = events.filter(pl.col("packet").is_not_null() & (pl.col("context") == "softirq"))
    t_ns = events["t_ns"].to_numpy()
    parts = []
    for (cpu, kind), rows in raised.group_by("cpu", "reason", maintain_order=True):
        place = {
            name: rows.filter(pl.col("event") == name)["place"].to_numpy()
            for name in (RAISE, ENTRY, EXIT)
        }
        entry = place[ENTRY]
        if not entry.size:
            continue
        before = np.concatenate([[-1], entry[:-1]])
        first = _first_after(place[RAISE], before)
        first = np.where(first < entry, first, -1)
        left = _first_after(place[EXIT], entry)
        mine = handled.filter(pl.col("cpu") == cpu)["place"].to_numpy()
        end = np.where(left < 0, np.iinfo(np.int64).max, left)
        own = np.searchsorted(mine, end) > np.searchsorted(mine, entry)
        parts.append(
            pl.DataFrame(
                {
                    "cpu": np.full(entry.size, cpu),
                    "kind": [str(kind)] * entry.size,
                    "raised": _or_null(first),
                    "entry": entry,
                    "exit": _or_null(left),
                    "raised_ns": _or_null(np.where(first < 0, -1, t_ns[np.maximum(first, 0)])),
                    "entry_ns": t_ns[entry],
                    "own": own,
                },
                schema=SCHEMA,
            )
        )
    return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)


def containing(softirqs: pl.DataFrame, places: np.ndarray, cpus: np.ndarray) -> np.ndarray:
    """The row of the softirq that each of these places of a CPU lies in; -1: in none."""
    rows = softirqs.with_row_index("row")
    found = np.full(places.size, -1, np.int64)
    for (cpu,), mine in rows.group_by("cpu"):
        for (_,), kind in mine.sort("entry").group_by("kind"):
            entry = kind["entry"].to_numpy()
            left = kind["exit"].fill_null(np.iinfo(np.int64).max).to_numpy()
            at = np.flatnonzero(cpus == cpu)
            index = np.searchsorted(entry, places[at], side="right") - 1
            inside = (index >= 0) & (left[np.maximum(index, 0)] > places[at])
            found[at[inside]] = kind["row"].to_numpy()[index[inside]]
    return found


def _first_after(places: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The first of `places` beyond each of `after`; -1: there is none."""
    index = np.searchsorted(places, after, side="right")
    found = np.concatenate([places, [-1]])
    chosen: np.ndarray = found[np.minimum(index, places.size)]
    return chosen


def _or_null(values: np.ndarray) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64).replace(-1, None)

"""System calls on sockets (definitions ours, by the template of RFC 6390).

Rules:

- A wait is no system call: it says how long a task stood still, a call how long it was inside.
- EAGAIN and EINPROGRESS are answers, not failures: "not now", "it goes on". They are counted apart.
- A shutdown() or close() that fails loses nothing: the connection was gone (ENOTCONN, EBADF). Such
  calls count as calls, never as failures.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.events.syscall import WAITS

_WAIT: Final = pl.col("call").cast(pl.String).is_in(WAITS)
_LENGTH: Final = pl.col("ended_ns") - pl.col("started_ns")
_LATER: Final = ("EAGAIN", "EINPROGRESS")
_ENDS: Final = ("shutdown", "close")


def calls_by_kind(table: pl.DataFrame) -> dict[str, int]:
    """How many system calls there were of each kind, in the order of kinds; not the waits."""
    counts = table.filter(~_WAIT).group_by("call").agg(pl.len()).sort("call")
    return {str(call): int(count) for call, count in counts.iter_rows()}


def errors(table: pl.DataFrame) -> dict[str, int]:
    """How often each error was the answer to a call that was to move data or to open."""
    failed = table.filter(
        ~_WAIT
        & ~pl.col("call").cast(pl.String).is_in(_ENDS)
        & pl.col("error").is_not_null()
        & ~pl.col("error").is_in(_LATER)
    )
    counts = failed.group_by("error").agg(pl.len()).sort("error")
    return {str(error): int(count) for error, count in counts.iter_rows()}


def again_calls(table: pl.DataFrame) -> int:
    """Calls that were answered with EAGAIN: nothing there, or no room."""
    return table.filter(~_WAIT & (pl.col("error") == "EAGAIN")).height


def short_writes(table: pl.DataFrame) -> int:
    """Calls of send that took less than they were given: the rest needs another call."""
    return table.filter(
        (pl.col("call") == "send")
        & pl.col("error").is_null()
        & (pl.col("bytes") < pl.col("asked_bytes"))
    ).height


def moved_bytes(table: pl.DataFrame, call: str) -> pl.Series:
    """The bytes of each call of this kind that moved any."""
    return table.filter((pl.col("call") == call) & (pl.col("bytes") > 0))["bytes"]


def time_inside_ns(table: pl.DataFrame) -> int:
    """Time within system calls, from before to after; waits excluded."""
    return int(table.filter(~_WAIT).select(_LENGTH.sum()).item())


def time_waiting_ns(table: pl.DataFrame, wait: str) -> int:
    """Time that tasks stood in a wait of this kind.

    Not a listening socket's: to wait for somebody to connect is no backpressure.
    """
    listening = table.filter(pl.col("call") == "accept").select("process", "connection").unique()
    waits = table.filter(pl.col("call") == wait).join(
        listening, on=["process", "connection"], how="anti"
    )
    return int(waits.select(_LENGTH.sum()).item())


def cancelled_waits(table: pl.DataFrame) -> int:
    """Waits that ended because the task was cancelled: by a timeout, or by the end of the run."""
    return table.filter(_WAIT & (pl.col("error") == "ECANCELED")).height

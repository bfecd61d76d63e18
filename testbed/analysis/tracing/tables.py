"""A trace -> the tables of the recording."""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.analysis.decode.schema import from_columns
from testbed.analysis.decode.tracepoints import Trace
from testbed.analysis.tracing.ownership import Traced, kernel_events, marked, names_of
from testbed.analysis.tracing.receive_path import receive_paths
from testbed.analysis.tracing.wake_ups import wake_ups
from testbed.events.tracepoints import Softirq
from testbed.recording.manifest import Manifest

TABLES: Final = ("kernel_events", "softirqs", "receive_path", "wake_ups")


def trace_tables(trace: Trace, manifest: Manifest) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The tables of `TABLES`, of the run's events alone, and what is to be known about them."""
    traced = marked(trace, names_of(trace, manifest))
    notes = []
    if traced.foreign_packets:
        notes.append(
            f"tracepoints: {traced.foreign_packets} packets at interfaces of the same names were "
            "another run's and are left out; the times of this run have that one's work in them"
        )
    tables = {
        "kernel_events": kernel_events(traced),
        "softirqs": _softirqs(traced),
        "receive_path": receive_paths(traced),
        "wake_ups": wake_ups(traced),
    }
    return tables, notes


def _softirqs(traced: Traced) -> pl.DataFrame:
    own = traced.softirqs.filter("own").sort("entry")
    t_ns = traced.events["t_ns"]
    return from_columns(
        Softirq,
        {
            "cpu": own["cpu"],
            "kind": own["kind"],
            "raised_ns": own["raised_ns"],
            "entry_ns": own["entry_ns"],
            "exit_ns": t_ns.gather(own["exit"]),
            "latency_ns": own["entry_ns"] - own["raised_ns"],
        },
    )

"""The syscall layer: what the sockets of clients and servers asked of the kernel."""

from __future__ import annotations

from typing import Any

import polars as pl

from testbed.analysis.found import Aspects, Found
from testbed.analysis.metrics import syscall
from testbed.analysis.metrics.quantiles import nearest_rank


def syscall_aspects(found: Found) -> Aspects | None:
    """Loss and backpressure of the layer; None where nothing of it is in the recording."""
    table = found.table("syscall")
    if table is None:
        return None
    calls, errors = syscall.calls_by_kind(table), syscall.errors(table)
    pressure: dict[str, Any] = {
        "time_waiting_writable_ns": syscall.time_waiting_ns(table, "wait_writable"),
        "short_writes": syscall.short_writes(table),
        "again_calls": syscall.again_calls(table),
        **_per_request(table, found),
        "time_inside_ns": syscall.time_inside_ns(table),
    }
    for call in ("send", "recv"):
        moved = syscall.moved_bytes(table, call).to_numpy()
        p50, p99 = nearest_rank(moved, 0.5, 0.99) if moved.size else (None, None)
        pressure |= {f"per_{call}_bytes_p50": p50, f"per_{call}_bytes_p99": p99}
    return Aspects(
        {
            "system_calls": sum(calls.values()),
            "failed_calls": sum(errors.values()),
            "errors": errors,
        },
        None,
        pressure
        | {
            "time_waiting_readable_ns": syscall.time_waiting_ns(table, "wait_readable"),
            "time_waiting_connected_ns": syscall.time_waiting_ns(table, "wait_connected"),
            "cancelled_waits": syscall.cancelled_waits(table),
            "calls": calls,
        },
    )


def _per_request(table: pl.DataFrame, found: Found) -> dict[str, float | None]:
    """System calls per request: those of the load processes, and those of accepted connections.

    Connections that an application opens by itself are in neither.
    """
    http, asgi = found.table("http"), found.table("asgi")
    connections = found.table("connections")
    client = server = None
    if http is not None and http.height:
        mine = table.join(http.select("process").unique(), on="process", how="semi")
        client = sum(syscall.calls_by_kind(mine).values()) / http.height
    if asgi is not None and asgi.height and connections is not None:
        served = connections.filter(pl.col("role") == "server")
        mine = table.join(served, on=["process", "connection"], how="semi")
        if mine.height:  # none: a server whose system calls nobody sees
            server = sum(syscall.calls_by_kind(mine).values()) / asgi.height
    return {"client_calls_per_request": client, "server_calls_per_request": server}

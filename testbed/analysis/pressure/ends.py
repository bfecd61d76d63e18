"""Stops at the ends of the way: the client's requests, event loops, the application's calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.found import Found
from testbed.analysis.pressure.seen import Seen, nodes_of
from testbed.analysis.pressure.waits import Waits, between, joined, outside, sampled
from testbed.units import NS_PER_MS

BLOCKED_NS: Final = 10 * NS_PER_MS
"""A step from this length on blocks its loop: nobody else's turn comes meanwhile. asyncio warns
from 100 ms on (loop.slow_callback_duration); a request on this machine takes 1 ms."""


def http_stops(found: Found) -> Iterator[Seen]:
    """In each client: the pool, connecting, the writer, and the wait for the answer."""
    table = found.table("http")
    if table is None:
        return
    for node in nodes_of(found.evidence.manifest, "client"):
        rows = _with_times(table.filter(pl.col("node") == node))
        yield Seen("http", node, "request", "pool", "requests", _of(rows, "started_ns", "taken"))
        new = rows.filter(pl.col("new_connection"))
        yield Seen("http", node, "request", "connect", "requests", _of(new, "taken", "connected"))
        writer = _writer(rows, found.table("tcp"), node)
        if writer is not None:
            yield Seen("http", node, "request", "writer", "requests", writer)
        answered = rows.filter(pl.col("sent") < pl.col("ended_ns"))
        yield Seen("http", node, "response", "await", "requests", _of(answered, "sent", "ended_ns"))


def _with_times(rows: pl.DataFrame) -> pl.DataFrame:
    """The same with when each request had its connection, was connected, and was sent.

    A phase that did not end, for the request failed, lasts to its end.
    """
    end = pl.col("ended_ns")
    rows = rows.with_columns((pl.col("started_ns") + pl.col("pool_wait_ns")).alias("taken"))
    rows = rows.with_columns(pl.col("taken").fill_null(end))
    encrypted = (pl.col("tls_ended_ns").fill_null(end) - pl.col("tls_started_ns")).fill_null(0)
    made = pl.col("connect_ns") + encrypted
    spent = pl.when(pl.col("new_connection")).then(made).otherwise(0)
    rows = rows.with_columns((pl.col("taken") + spent).fill_null(end).alias("connected"))
    return rows.with_columns((pl.col("connected") + pl.col("send_ns")).fill_null(end).alias("sent"))


def _of(rows: pl.DataFrame, start: str, end: str) -> Waits:
    return between(rows[start].to_numpy(), rows[end].to_numpy())


def _writer(rows: pl.DataFrame, tcp: pl.DataFrame | None, node: str) -> Waits | None:
    """When a request was being sent and its socket had nothing left to send."""
    if tcp is None:
        return None
    mine = tcp.filter((pl.col("node") == node) & pl.col("not_sent_bytes").is_not_null())
    columns = mine.select("local_port", "t_ns", "not_sent_bytes").sort("t_ns")
    samples = columns.partition_by("local_port", as_dict=True)
    parts = []
    for (port,), sending in rows.filter(pl.col("local_port").is_not_null()).group_by(
        "local_port", maintain_order=True
    ):
        of_port = samples.get((port,), columns.clear())
        unsent = of_port["not_sent_bytes"].to_numpy()
        t_ns = of_port["t_ns"].to_numpy()
        busy = sampled(t_ns, np.zeros(t_ns.size, np.int64), unsent > 0, unsent)
        parts.append(outside(_of(sending, "connected", "sent"), busy))
    return joined(parts)


def loop_stops(found: Found, role: str) -> Iterator[Seen]:
    """Each event loop of a role: how long it was blocked, and tasks that waited for their turn."""
    table = found.table("event_loop")
    if table is None:
        return
    for node in nodes_of(found.evidence.manifest, role):
        mine = table.filter(pl.col("node") == node)
        if not mine.height:  # the segment of this process is not in the recording
            continue
        steps = mine.filter(pl.col("kind") == "step")
        long = steps.filter(pl.col("ended_ns") - pl.col("started_ns") >= BLOCKED_NS)
        blocked = between(
            long["started_ns"].to_numpy(), long["ended_ns"].to_numpy(), long["runnable"].to_numpy()
        )
        yield Seen("event_loop", node, "both", "blocked", "tasks", blocked)
        late = steps.filter(pl.col("started_ns") > pl.col("scheduled_ns"))
        yield Seen(
            "event_loop", node, "both", "lag", "tasks", _of(late, "scheduled_ns", "started_ns")
        )


def asgi_stops(found: Found) -> Iterator[Seen]:
    """In each server: the application starved in receive(), and pushed back in send()."""
    requests, calls = found.table("asgi"), found.table("asgi_calls")
    if requests is None or calls is None:
        return
    nodes = dict(requests.select("process", "node").unique().iter_rows())
    for node in nodes_of(found.evidence.manifest, "server"):
        mine = calls.filter(pl.col("process").is_in([p for p, n in nodes.items() if n == node]))
        starved = _waiting_for_body(mine.filter(pl.col("call") == "receive"))
        yield Seen("asgi", node, "request", "receive", "requests", starved)
        pushed = mine.filter(pl.col("call") == "send")
        yield Seen(
            "asgi", node, "response", "send", "requests", _of(pushed, "started_ns", "ended_ns")
        )


def _waiting_for_body(calls: pl.DataFrame) -> Waits:
    """The calls of receive() that gave bytes, and the first of each request.

    Any other one waits for the client to leave, as frameworks do while they send.
    """
    first = pl.int_range(pl.len()).over("process", "request_id") == 0
    kept = calls.sort("started_ns").filter((pl.col("body_bytes") > 0) | first)
    return _of(kept, "started_ns", "ended_ns")

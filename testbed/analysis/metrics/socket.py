"""Backpressure at sockets (definition ours, by the template of RFC 6390).

From samples of their memory.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.metrics.intervals import held_ns

FULL_RATIO: Final = 0.9
"""A buffer counts as full from here on: memory is counted in whole packets of up to 2304 bytes
each, so that a full one seldom fills the limit to the last byte."""
_LISTEN: Final = "LISTEN"


def under_load(table: pl.DataFrame, load_started_ns: int | None) -> pl.DataFrame:
    """The samples since the load began.

    Those before are of connections that the testbed makes to see whether a server is ready.
    """
    return table if load_started_ns is None else table.filter(pl.col("t_ns") >= load_started_ns)


def peak_fill_ratio(table: pl.DataFrame, allocated: str, limit: str) -> float | None:
    """The highest share of a buffer in use over all connections and times.

    None without a sample of it.
    """
    ratio = _connections(table).select((pl.col(allocated) / pl.col(limit)).max()).item()
    return None if ratio is None else float(ratio)


def time_full_ns(table: pl.DataFrame, allocated: str, limit: str) -> int:
    """Time that buffers were full, summed over all connections.

    Each sample stands until the next one.
    """
    rows = _connections(table).sort("t_ns")
    full = (rows[allocated] >= rows[limit] * FULL_RATIO) & (rows[limit] > 0)
    return held_ns(rows["t_ns"].to_numpy(), _socket_keys(rows), full.fill_null(False).to_numpy())


def listeners(table: pl.DataFrame) -> pl.DataFrame:
    """The samples of listening sockets."""
    return table.filter(pl.col("state") == _LISTEN)


def peak_accept_queue(table: pl.DataFrame) -> int | None:
    """The most connections that waited for accept(); None where no listener was seen."""
    found = listeners(table)["receive_queue"].max()
    return None if found is None else int(found)  # type: ignore[arg-type]


def accept_queue_full_ns(table: pl.DataFrame) -> int:
    """Time that accept queues were full: beyond the backlog (net/sock.h, sk_acceptq_is_full)."""
    rows = listeners(table).sort("t_ns")
    full = rows["receive_queue"] > rows["send_queue"]
    return held_ns(rows["t_ns"].to_numpy(), _socket_keys(rows), full.to_numpy())


def dropped_packets(table: pl.DataFrame) -> int | None:
    """Packets that sockets dropped (SK_MEMINFO_DROPS), summed over sockets.

    None where not counted.
    """
    last = table.group_by("node", "cookie").agg(pl.col("dropped_packets").max())
    counted = last["dropped_packets"].drop_nulls()
    return int(counted.sum()) if counted.len() else None


def _connections(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter((pl.col("state") != _LISTEN) & pl.col("receive_buffer_bytes").is_not_null())


def _socket_keys(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """A number per socket: cookies are unique in a node only."""
    return rows.select(pl.struct("node", "cookie").rank("dense")).to_series().to_numpy()

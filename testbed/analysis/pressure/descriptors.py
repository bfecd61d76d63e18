"""Where a server has no descriptor left for a connection that waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.found import Found
from testbed.analysis.pressure.seen import Seen, nodes_of
from testbed.analysis.pressure.waits import Waits, between, joined

NO_DESCRIPTOR: Final = ("EMFILE", "ENFILE")
"""Of the process, of the machine (accept(2))."""


def descriptor_stops(found: Found) -> Iterator[Seen]:
    """Each server's listeners: from an accept() that failed for want of a descriptor to the next.

    A connection is there, or accept() would have said EAGAIN; it stays in the accept queue. Where
    no system calls are seen it is the time in which a process had as many descriptors as it may.
    """
    for node in nodes_of(found.evidence.manifest, "server"):
        calls = _accepts(found, node)
        if calls is None:
            if (waits := _at_the_limit(found, node)) is not None:
                yield Seen("syscall", node, "request", "descriptors", "processes", waits)
            continue
        by_listener = calls.group_by("process", "connection", maintain_order=True)
        waits = joined([_waits(mine) for _, mine in by_listener])
        yield Seen("syscall", node, "request", "descriptors", "listeners", waits)


def refused_accepts(found: Found, node: str) -> int:
    """How often accept() of a server failed for want of a descriptor."""
    calls = _accepts(found, node)
    return 0 if calls is None else int(calls["error"].is_in(NO_DESCRIPTOR).sum())


def _at_the_limit(found: Found, node: str) -> Waits | None:
    """When processes of a server had all their descriptors in use, as sampled; None: not seen."""
    table = found.table("descriptors")
    if table is None:
        return None
    mine = table.filter(pl.col("node") == node).drop_nulls("soft_limit").sort("t_ns")
    if not mine.height:
        return None
    parts = []
    for _, process in mine.group_by("process", maintain_order=True):
        t_ns = process["t_ns"].to_numpy()
        full = (process["open_descriptors"] >= process["soft_limit"]).to_numpy()
        parts.append(between(t_ns[full], np.append(t_ns[1:], t_ns[-1:])[full]))
    return joined(parts)


def _accepts(found: Found, node: str) -> pl.DataFrame | None:
    table = found.table("syscall")
    if table is None:
        return None
    mine = table.filter((pl.col("node") == node) & (pl.col("call") == "accept"))
    return mine.sort("started_ns") if mine.height else None


def _waits(calls: pl.DataFrame) -> Waits:
    """Of one listener; the last failure lasts to its own end, for nobody knows more of it."""
    started, ended = calls["started_ns"].to_numpy(), calls["ended_ns"].to_numpy()
    failed = calls["error"].is_in(NO_DESCRIPTOR).fill_null(value=False).to_numpy()
    again = np.append(started[1:], ended[-1:])
    return between(started[failed], again[failed])

"""Stops on the way: the queue of each interface, and the queue before a trace."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from testbed.analysis.found import Found
from testbed.analysis.pressure.seen import Seen, directions
from testbed.analysis.pressure.waits import between, sampled
from testbed.analysis.summary import StopDirection


def way_stops(found: Found, direction: StopDirection) -> Iterator[Seen]:
    """The queues that what goes in one direction has to pass; a node is the one that sends."""
    goes = directions(found.evidence.topology, found.evidence.manifest)
    table = found.table("qdisc")
    for way in found.evidence.topology.ways:
        if goes[way.link.name, way.name] != direction:
            continue
        ends = f"{way.settings.sender} → {way.settings.receiver}"
        if table is not None:
            # A root's backlog holds its children's.
            rows = table.filter(
                (pl.col("node") == way.settings.sender)
                & (pl.col("interface") == way.settings.sender_interface)
                & (pl.col("parent") == "root")
            ).sort("t_ns")
            t_ns, packets = rows["t_ns"].to_numpy(), rows["backlog_packets"].to_numpy()
            waits = sampled(t_ns, np.zeros(t_ns.size, np.int64), packets > 0, packets)
            name = f"queue {ends}"
            yield Seen("qdisc", way.settings.sender, direction, name, "packets", waits)
    for passage in found.passages:
        settings = passage.way.settings
        if goes[passage.way.link.name, passage.way.name] != direction or settings.trace is None:
            continue
        if passage.originals is None:
            continue
        records = passage.originals
        # The wire holds a packet for its delay after the trace has let it through.
        left = records["due_ns"].astype(np.int64) - settings.delay_ns
        came = records["arrival_ns"].astype(np.int64)
        late = left > came
        name = f"queue {settings.sender} → {settings.receiver}"
        waits = between(came[late], left[late])
        yield Seen("link", settings.sender, direction, name, "packets", waits)

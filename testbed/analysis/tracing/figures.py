"""What tracepoints add to the figures of the layers; each None where it was not observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from testbed.analysis.metrics.quantiles import nearest_rank
from testbed.analysis.tracing.drops import DropLayer, drop_reasons
from testbed.analysis.tracing.ownership import (
    DEQUEUED,
    DROPPED,
    ENQUEUED,
    QUEUED,
    RECEIVED,
    SENDING,
)

Figures = dict[str, Any]
_SHARES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}
Tables = Mapping[str, pl.DataFrame]


def drops_in(tables: Tables, missing: Mapping[str, str], layer: DropLayer) -> dict[str, int] | None:
    """Reason -> packets that the kernel dropped in a layer.

    Args:
        tables: of the trace.
        missing: events that were not recorded.
        layer: which one.
    """
    events = tables.get("kernel_events")
    return None if events is None or DROPPED in missing else drop_reasons(events)[layer]


def nic_figures(tables: Tables) -> Figures:
    """Softirqs that handled packets of the run, and the way from the device to the socket."""
    softirqs, paths = tables.get("softirqs"), tables.get("receive_path")
    events = tables.get("kernel_events")
    received: dict[str, int] | None = None
    if events is not None:
        rows = events.filter(pl.col("event") == RECEIVED)
        received = dict(rows["context"].cast(pl.String).value_counts().iter_rows())
    figures: Figures = {
        f"received_in_{context}_packets": None if received is None else received.get(context, 0)
        for context in ("softirq", "process")
    }
    for kind, word in (("NET_RX", "receive"), ("NET_TX", "transmit")):
        waits = None if softirqs is None else softirqs.filter(pl.col("kind") == kind)["latency_ns"]
        figures |= _spread(f"softirq_{word}_latency_ns", waits, "p50", "p99")
    reached = None if paths is None else paths["interrupt_to_socket_ns"]
    return figures | _spread("interrupt_to_socket_ns", reached, "p50", "p99")


def qdisc_figures(tables: Tables) -> Figures:
    """How long packets were in the queues of the run's interfaces."""
    events = tables.get("kernel_events")
    return _spread(
        "sojourn_ns", None if events is None else sojourn_ns(events), "p50", "p99", "max"
    )


def sojourn_ns(events: pl.DataFrame) -> pl.Series:
    """From entering a root queueing discipline to leaving it, each packet that left it again.

    The end is the first of `qdisc_dequeue` and `net_dev_start_xmit`: of several packets that are
    dequeued at once the kernel names only the first (net/sched/sch_generic.c, dequeue_skb). A queue
    that a packet enters after it was sent is a netem in the middle of a link, and its wait is the
    link's delay.

    Args:
        events: a table of KernelEvent.
    """
    steps = events.filter(
        pl.col("event").is_in([QUEUED, ENQUEUED, DEQUEUED, SENDING])
        & pl.col("packet").is_not_null()
    ).with_columns(
        entered=pl.col("event").shift(1).over("packet") == QUEUED,
        next_event=pl.col("event").shift(-1).over("packet"),
        next_ns=pl.col("t_ns").shift(-1).over("packet"),
    )
    left = steps.filter(
        (pl.col("event") == ENQUEUED)
        & pl.col("entered")
        & pl.col("next_event").is_in([DEQUEUED, SENDING])
    )
    return left["next_ns"] - left["t_ns"]


def wakeup_figures(tables: Tables) -> Figures:
    """How long processes that waited for data took to run once it was there."""
    table = tables.get("wake_ups")
    waits = None if table is None else table["wakeup_ns"]
    return _spread("wakeup_ns", waits, "p50", "p99", "max") | {
        "wakeups": None if table is None else table.height,
        "unseen_switches": None if table is None else table["running_ns"].null_count(),
    }


def _spread(name: str, values: pl.Series | None, *quantiles: str) -> Figures:
    known = None if values is None else values.drop_nulls()
    if known is None or not known.len():
        return {f"{name}_{quantile}": None for quantile in quantiles}
    found = nearest_rank(known.to_numpy(), *(_SHARES[quantile] for quantile in quantiles))
    return {f"{name}_{quantile}": one for quantile, one in zip(quantiles, found, strict=True)}

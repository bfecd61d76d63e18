"""The way of received TCP segments: interrupt -> softirq -> stack -> TCP -> receive buffer -> read.

Rules:

- A segment's steps are joined by its packet; what TCP then did with it by being the next event of
  its CPU, because `sk_data_ready` names the socket and not the packet.
- The first step is what there is: a packet that a veth pair hands over was stacked (`netif_rx`) and
  received by the softirq that this raised; a card's was received by the softirq that its interrupt
  raised; what a relay writes to a TAP device is received at once, within the relay's system call.
- Without `sk_data_ready` (kernels before 6.3) it is not known when the payload was in the socket.

Sources: net/core/dev.c (netif_rx, __netif_receive_skb_core), net/ipv4/tcp_input.c
(tcp_rcv_established, tcp_data_ready), drivers/net/tun.c (tun_get_user).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from testbed.analysis.decode.schema import empty, from_columns
from testbed.analysis.tracing.ownership import COPIED, PROBED, READY, RECEIVED, STACKED, Traced
from testbed.analysis.tracing.softirqs import containing
from testbed.events.tracepoints import ReceivePath


def receive_paths(traced: Traced) -> pl.DataFrame:
    """Table of ReceivePath, by the time TCP saw the segment."""
    steps = traced.own.filter(
        pl.col("packet").is_not_null() & pl.col("event").is_in([STACKED, RECEIVED, PROBED, COPIED])
    ).sort("packet", "place")
    event = pl.col("event")
    steps = steps.with_columns(
        _last("place", RECEIVED), _last("t_ns", RECEIVED), _last("cpu", RECEIVED),
        _last("context", RECEIVED), _last("place", STACKED), _last("t_ns", STACKED),
        copied_ns=pl.when(event == COPIED).then("t_ns").backward_fill().over("packet"),
    )  # fmt: skip
    probed = steps.filter(
        (event == PROBED)
        & pl.col(_name("place", RECEIVED)).is_not_null()
        & pl.col("node").is_not_null()
    ).sort("place")
    if not probed.height:
        return empty(ReceivePath)
    raised_ns, entry_ns = _softirq_of(probed, traced.softirqs)
    stacked_ns = pl.Series(probed[_name("t_ns", STACKED)])
    received_ns = probed[_name("t_ns", RECEIVED)]
    table = pl.DataFrame(
        {"stacked": stacked_ns, "raised": raised_ns, "received": received_ns}
    ).select(
        start_ns=pl.coalesce("stacked", "raised", "received"),
        start=pl.when(pl.col("stacked").is_not_null())
        .then(pl.lit("netif_rx"))
        .when(pl.col("raised").is_not_null())
        .then(pl.lit("softirq_raise"))
        .otherwise(pl.lit("netif_receive_skb")),
    )
    socket_ns = _ready_after(probed, traced.events)
    return from_columns(
        ReceivePath,
        {
            **{name: probed[name] for name in ("node", "interface", "local_port", "remote_port")},
            "payload_bytes": probed["length_bytes"],
            "start": table["start"],
            "start_ns": table["start_ns"],
            "softirq_ns": entry_ns,
            "received_ns": received_ns,
            "tcp_ns": probed["t_ns"],
            "socket_ns": socket_ns,
            "copied_ns": probed["copied_ns"],
            "interrupt_to_socket_ns": socket_ns - table["start_ns"],
        },
    )


def _name(column: str, event: str) -> str:
    return f"{column} of {event}"


def _last(column: str, event: str) -> pl.Expr:
    """A column of the last such event of the packet, up to each row."""
    found = pl.when(pl.col("event") == event).then(column).forward_fill().over("packet")
    return found.alias(_name(column, event))


def _softirq_of(probed: pl.DataFrame, softirqs: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """When the softirq that received each segment was raised, and when it began."""
    known = softirqs.filter(pl.col("kind") == "NET_RX")
    rows = containing(
        known,
        probed[_name("place", RECEIVED)].to_numpy(),
        probed[_name("cpu", RECEIVED)].to_numpy(),
    )
    inside = (probed[_name("context", RECEIVED)] == "softirq").to_numpy() & (rows >= 0)
    chosen = pl.Series(np.where(inside, rows, 0)).set(pl.Series(~inside), None)
    return known["raised_ns"].gather(chosen), known["entry_ns"].gather(chosen)


def _ready_after(probed: pl.DataFrame, events: pl.DataFrame) -> pl.Series:
    """When the payload of each segment was ready: the event of its CPU that follows at once.

    What is not the run's counts, too: it ends what could follow.
    """
    others = [RECEIVED, STACKED, PROBED, READY]
    following = (
        events.filter(pl.col("event").is_in(others))
        .sort("cpu", "place")
        .with_columns(
            next_event=pl.col("event").shift(-1).over("cpu"),
            next_ns=pl.col("t_ns").shift(-1).over("cpu"),
            next_sk=pl.col("sk").shift(-1).over("cpu"),
        )
        .select("place", "next_event", "next_ns", "next_sk")
    )
    joined = probed.join(following, on="place", how="left", maintain_order="left")
    same = (pl.col("next_sk") == pl.col("sk")).fill_null(True)
    ready = (pl.col("next_event") == READY) & same & (pl.col("length_bytes") > 0)
    return joined.select(ns=pl.when(ready).then("next_ns"))["ns"]

"""Why the kernel dropped packets, by the layer that each reason belongs to.

The names are those of the kernel that ran (include/net/dropreason-core.h); what they mean to it is
in ``Documentation/networking`` and beside each name there.
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from testbed.analysis.tracing.ownership import (
    COPIED,
    DEQUEUED,
    DROPPED,
    ENQUEUED,
    PROBED,
    QUEUED,
    SENDING,
    SENT,
)

DropLayer = Literal["nic", "qdisc", "ip", "tcp", "socket"]
_NAMED: Final[dict[DropLayer, tuple[str, ...]]] = {
    "nic": (
        "FULL_RING", "CPU_BACKLOG", "OTHERHOST", "TAP_FILTER", "TAP_TXFILTER", "DEV_HDR",
        "DEV_READY", "XDP", "NOMEM", "PFMEMALLOC", "HDR_TRUNC", "UNHANDLED_PROTO", "SKB_CSUM",
        "SKB_GSO_SEG", "PKT_TOO_SMALL", "LOCAL_MAC", "NO_TX_TARGET", "RECURSION_LIMIT",
    ),
    "qdisc": ("CAKE_FLOOD", "DUALPI2_STEP_DROP", "TC_EGRESS", "TC_INGRESS"),
    "ip": (
        "PKT_TOO_BIG", "DUP_FRAG", "INVALID_PROTO", "ICMP_CSUM", "NETFILTER_DROP",
        "UNICAST_IN_L2_MULTICAST", "NO_SOCKET", "XFRM_POLICY",
    ),
    "tcp": (),
    "socket": (
        "PROTO_MEM", "TCP_LISTEN_OVERFLOW", "SKB_UCOPY_FAULT", "PACKET_SOCK_ERROR", "UDP_CSUM",
    ),
}  # fmt: skip
_BEGINNING: Final[dict[str, DropLayer]] = {
    "QDISC_": "qdisc",
    "FQ_": "qdisc",
    "TC_": "qdisc",
    "IP_": "ip",
    "IPV6": "ip",
    "NEIGH_": "ip",
    "FRAG_": "ip",
    "TCP_": "tcp",
    "SOCKET_": "socket",
    "BRIDGE_": "nic",
    "MAC_": "nic",
    "VXLAN_": "nic",
}
_NO_LOSS: Final = ("NOT_SPECIFIED", "QUEUE_PURGE")
"""Freed without a reason; or with the queue of a socket that is gone: a FIN that nobody read. Data
that nobody read are in the ledger (testbed.analysis.ledger_application)."""
_REACHED: Final[dict[str, DropLayer]] = {
    QUEUED: "qdisc",
    ENQUEUED: "qdisc",
    DEQUEUED: "qdisc",
    SENDING: "nic",
    SENT: "nic",
    PROBED: "tcp",
    COPIED: "tcp",
}
"""For reasons that name no layer: where the packet was last seen; on its way up: IP."""


def layer_of(reason: str, last_event: str | None) -> DropLayer:
    """The layer that a drop belongs to.

    Args:
        reason: its name.
        last_event: the event of the packet before.
    """
    for layer, names in _NAMED.items():
        if reason in names:
            return layer
    for beginning, layer in _BEGINNING.items():
        if reason.startswith(beginning):
            return layer
    return _REACHED.get(last_event or "", "ip")


def drop_reasons(events: pl.DataFrame) -> dict[DropLayer, dict[str, int]]:
    """How many packets were dropped for which reason in which layer, most frequent first.

    What the kernel freed without a reason is left out: it is no loss that anybody could tell from
    the last acknowledgement of a connection, which ends like that (net/ipv4/tcp_ipv4.c). So is what
    a socket still held when it was gone (QUEUE_PURGE: a FIN that nobody read), and what a netem in
    the middle of a link drops after the packet was sent: that is the link's loss.

    Args:
        events: a table of KernelEvent.
    """
    drops = (
        events.filter(pl.col("packet").is_not_null())
        .with_columns(before=pl.col("event").shift(1).over("packet"))
        .filter((pl.col("event") == DROPPED) & ~pl.col("reason").is_in(_NO_LOSS))
        .group_by("reason", "before")
        .len()
        .sort("len", "reason", "before", descending=[True, False, False])
    )
    found: dict[DropLayer, dict[str, int]] = {layer: {} for layer in _NAMED}
    for reason, before, count in drops.iter_rows():
        layer = layer_of(reason or "?", before)
        if layer == "qdisc" and before in (SENDING, SENT):
            continue
        named = found[layer]
        named[reason or "?"] = named.get(reason or "?", 0) + count
    return found

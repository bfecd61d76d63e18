"""The TCP layer: from the captures of the hosts, the kernel's counters and TCP_INFO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from testbed.analysis.found import Aspects, Found
from testbed.analysis.hosts import HostStreams
from testbed.analysis.metrics import tcp
from testbed.analysis.tracing.figures import drops_in

_TCP_LOSS: Final = {
    "RetransSegs": "kernel_retransmitted_segments",
    "TCPFastRetrans": "fast_retransmissions",
    "TCPSlowStartRetrans": "slow_start_retransmissions",
    "TCPTimeouts": "timeouts",
    "TCPLossProbes": "loss_probes",
    "TCPLostRetransmit": "lost_retransmissions",
    "TCPSynRetrans": "syn_retransmissions",
    "InErrs": "in_error_segments",
    "InCsumErrors": "checksum_error_segments",
    "TCPRcvQDrop": "receive_queue_dropped_packets",
    "TCPOFODrop": "out_of_order_dropped_packets",
    "TCPBacklogDrop": "backlog_dropped_packets",
    "RcvPruned": "receive_pruned",
}
_TCP_ORDER: Final = {
    "TCPOFOQueue": "kernel_out_of_order_segments",
    "TCPSACKReorder": "sack_reorderings",
    "TCPTSReorder": "timestamp_reorderings",
    "TCPDSACKRecv": "dsacks_received",
    "TCPDSACKOldSent": "dsacks_sent",
    "TCPDSACKUndo": "dsack_undos",
    "TCPSpuriousRTOs": "spurious_timeouts",
}
_TCP_PRESSURE: Final = {
    "TCPToZeroWindowAdv": "zero_windows_advertised",
    "TCPFromZeroWindowAdv": "zero_windows_reopened",
    "TCPWantZeroWindowAdv": "zero_windows_wanted",
    "TCPRcvCollapsed": "receive_collapsed_packets",
    "TCPWinProbe": "window_probes",
}


def tcp_aspects(found: Found) -> Aspects | None:
    """Loss, reordering and backpressure of TCP; None where nothing of it was seen."""
    counters, samples = found.table("tcp_counters"), found.table("tcp")
    if not found.hosts and counters is None and samples is None:
        return None
    loss: dict[str, Any] = {}
    order: dict[str, Any] = {}
    pressure: dict[str, Any] = {}
    why = found.retransmissions
    if why is not None:
        loss |= {
            "retransmitted_segments": why.retransmissions,
            "retransmissions_explained_by_loss": why.explained_by_loss,
            "retransmissions_explained_by_corruption": why.explained_by_corruption,
            "spurious_retransmissions": why.spurious,
            "unexplained_retransmissions": why.unexplained,
        }
        order["spurious_retransmissions_by_reordering"] = why.spurious_by_reordering
        _add_captured(found.hosts, order, pressure)
    for part, names in ((loss, _TCP_LOSS), (order, _TCP_ORDER), (pressure, _TCP_PRESSURE)):
        part |= counted(counters, names)
    loss["drop_reasons"] = drops_in(found.evidence.tables, found.evidence.missing, "tcp")
    if samples is not None and samples.height:
        pressure |= _sampled(samples)
    return Aspects(loss, order, pressure)


def _add_captured(
    hosts: list[HostStreams], order: dict[str, Any], pressure: dict[str, Any]
) -> None:
    order |= {"out_of_order_segments": 0, "duplicate_segments": 0, "duplicate_acks": 0}
    pressure["zero_window_segments"] = 0
    for host in hosts:
        beyond, again = tcp.arrivals(host.received.take(host.received.carries))
        order["out_of_order_segments"] += int(beyond.sum())
        order["duplicate_segments"] += int(again.sum())
        order["duplicate_acks"] += int(tcp.duplicate_acks(host.packets, host.sent).sum())
        pressure["zero_window_segments"] += int(tcp.zero_windows(host.packets, host.sent).sum())


def counted(counters: pl.DataFrame | None, names: Mapping[str, str]) -> dict[str, int | None]:
    """Increase of each kernel counter over the run, summed over nodes.

    None where this kernel has none.
    """
    if counters is None or not counters.height:
        return {}
    plain = counters.with_columns(pl.col("counter").str.replace(r"^.*\.", ""))
    ends = (
        plain.filter(pl.col("counter").is_in(list(names)))
        .sort("t_ns")
        .group_by("node", "counter")
        .agg(pl.col("value").last() - pl.col("value").first())
        .group_by("counter")
        .agg(pl.col("value").sum())
    )
    found = dict(ends.iter_rows())
    return {name: found.get(counter) for counter, name in names.items()}


def _sampled(samples: pl.DataFrame) -> dict[str, Any]:
    last = samples.group_by("node", "cookie").agg(
        pl.col("busy_ns", "receive_window_limited_ns", "send_buffer_limited_ns").max()
    )
    return {
        "busy_ns": _sum(last["busy_ns"]),
        "receive_window_limited_ns": _sum(last["receive_window_limited_ns"]),
        "send_buffer_limited_ns": _sum(last["send_buffer_limited_ns"]),
        "peak_not_sent_bytes": samples["not_sent_bytes"].max(),
    }


def _sum(column: pl.Series) -> int | None:
    known = column.drop_nulls()
    return int(known.sum()) if known.len() else None

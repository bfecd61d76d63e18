"""The ten layers: loss, reordering and backpressure of each, with units in the names.

Rules:

- A layer that the manifest says was not observed is not, with its reason; so is one whose data is
  not in the recording.
- An aspect that a layer does not have by its nature is None, and so is a figure that was not seen;
  0 was seen to be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DELIVERED, DROPPED
from testbed.analysis.found import Aspect, Aspects, Found
from testbed.analysis.layer_syscall import syscall_aspects
from testbed.analysis.layer_tcp import counted, tcp_aspects
from testbed.analysis.links import N_REORDERED, changed_packets, sequence_of
from testbed.analysis.metrics import asgi, http, reordering, socket
from testbed.analysis.metrics.descriptors import nearest_to_limit
from testbed.analysis.metrics.event_loop import loop_load
from testbed.analysis.metrics.intervals import held_ns, peak_overlap
from testbed.analysis.metrics.quantiles import nearest_rank
from testbed.analysis.paths import path_order
from testbed.analysis.summary import Layer
from testbed.analysis.tracing import figures as traced_by
from testbed.analysis.transits import Transit
from testbed.events import LAYERS


def layers(found: Found) -> dict[str, Layer]:
    """A record for each of the ten layers, bottom to top."""
    return {name: _layer(name, found) for name in LAYERS}


def _layer(name: str, found: Found) -> Layer:
    probe = next((p for p in found.evidence.manifest.probes if p.layer == name), None)
    if probe is None:
        return Layer(status="not observed", reason="the run ended before its probes were set up")
    if not probe.observed:
        return Layer(status="not observed", reason=probe.reason)
    read = _READERS.get(name)
    aspects = read(found) if read else None
    if aspects is None:
        why = found.evidence.missing.get(name, f"nothing of the layer {name} is in the recording")
        return Layer(status="not observed", reason=why)
    reasons = [probe.reason]
    if name == "socket" and found.table("descriptors") is None:
        reasons.append(
            f"descriptors in use: {found.evidence.missing.get('descriptors', 'unknown')}"
        )
    return Layer(
        status="observed",
        reason="; ".join(filter(None, reasons)),
        loss=aspects.loss,
        reordering=aspects.reordering,
        backpressure=aspects.backpressure,
    )


def _link(found: Found) -> Aspects | None:
    seen = [(p, s) for p in found.passages if (s := sequence_of(p)) is not None]
    if not seen:
        return None
    sequences = [sequence for _, sequence in seen]
    changed = [changed_packets(passage, sequence) for passage, sequence in seen]
    sent = sum(s.sent_ns.size for s in sequences)
    lost = sum(int(s.lost.sum()) for s in sequences)
    dropped = sum(int((records["fate"] == DROPPED).sum()) for records in traced(found.passages))
    orders = [s.arrival_order for s in sequences]
    late = sum(int(reordering.reordered(order).sum()) for order in orders)
    extents = np.concatenate([reordering.extents(order) for order in orders])
    arrived = sum(order.size for order in orders)
    in_flight = [
        peak_overlap(s.sent_ns[s.partner >= 0], s.received_ns[s.partner[s.partner >= 0]])
        for s in sequences
    ]
    backpressure: dict[str, Any] = {"peak_in_flight_packets": max(in_flight)}
    lateness = relay_lateness_ns(found.passages)
    if lateness.size:
        p50, p99, most = nearest_rank(lateness, 0.5, 0.99, 1.0)
        backpressure |= {
            "relay_late_ns_p50": p50, "relay_late_ns_p99": p99, "relay_late_ns_max": most,
        }  # fmt: skip
    return Aspects(
        loss={
            "sent_packets": sent,
            "lost_packets": lost,
            "lost_ratio": lost / sent if sent else None,
            "queue_dropped_packets": dropped,
            "duplicated_packets": _all(copies for copies, _ in changed),
            "corrupted_packets": _all(corrupted for _, corrupted in changed),
        },
        reordering={
            "reordered_packets": late,
            "reordered_ratio": late / arrived if arrived else None,
            "reordering_extent_packets_max": int(extents.max()) if extents.size else 0,
            "three_reordered_packets": sum(reordering.n_reordered(o, N_REORDERED) for o in orders),
        },
        backpressure=backpressure,
    )


def traced(passages: list[Passage]) -> list[np.ndarray[Any, np.dtype[np.void]]]:
    """The logs of directions whose capacity follows a trace, and so have a queue on the wire."""
    logs = [p.records for p in passages if p.way.settings.trace is not None]
    return [records for records in logs if records is not None]


def _all(counts: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def relay_lateness_ns(passages: list[Passage]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Departure minus due time of every packet that relays delivered."""
    parts = [lateness_ns(p) for p in passages if p.records is not None]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def lateness_ns(passage: Passage) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Departure minus due time of every packet that the relay delivered in one direction."""
    records = passage.records
    if records is None:
        return np.empty(0, np.int64)
    # Columns are subtracted before any row is taken: a row is 60 bytes long.
    late_ns = records["departure_ns"] - records["due_ns"]
    return np.asarray(late_ns[records["fate"] == DELIVERED], np.int64)


def _nic(found: Found) -> Aspects | None:
    table = found.table("nic")
    if table is None or not table.height:
        return None
    total = _increase(table, ["node", "interface"], _NIC)
    names = {
        "rx_dropped": "rx_dropped_packets",
        "tx_dropped": "tx_dropped_packets",
        "rx_errors": "rx_error_packets",
        "tx_errors": "tx_error_packets",
    }
    tables = found.evidence.tables
    loss: dict[str, Any] = {names[name]: total[name] for name in _NIC}
    loss["drop_reasons"] = traced_by.drops_in(tables, found.evidence.missing, "nic")
    return Aspects(loss, None, traced_by.nic_figures(tables))


_NIC: Final = ("rx_dropped", "tx_dropped", "rx_errors", "tx_errors")


def _increase(table: pl.DataFrame, by: list[str], columns: tuple[str, ...]) -> dict[str, int]:
    """Sum over groups of last minus first value."""
    ends = (
        table.sort("t_ns").group_by(by).agg(pl.col(c).last() - pl.col(c).first() for c in columns)
    )
    return {column: int(ends[column].sum()) for column in columns}


def _qdisc(found: Found) -> Aspects | None:
    table = found.table("qdisc")
    if table is not None:
        # netem is the wire, not a queue: what it drops is the link's loss.
        table = table.filter(pl.col("kind") != "netem")
    if table is None or not table.height:
        return None
    last = table.group_by("node", "interface", "handle", "parent").agg(
        pl.col("dropped_packets", "overlimits", "requeues").max()
    )
    # A root's counters contain its children's; overlimits are HTB's own.
    roots = last.filter(pl.col("parent") == "root")
    waiting = table.filter(pl.col("parent") == "root").sort("t_ns")
    key = waiting.select(pl.struct("node", "interface").rank("dense")).to_series().to_numpy()
    sojourn = np.concatenate(
        [t.left_ns - t.entered_ns for t in found.transits] or [np.empty(0, np.int64)]
    )
    backpressure: dict[str, Any] = {
        "peak_queue_packets": int(table["backlog_packets"].max()),  # type: ignore[arg-type]
        "peak_queue_bytes": int(table["backlog_bytes"].max()),  # type: ignore[arg-type]
        "time_waiting_ns": held_ns(
            waiting["t_ns"].to_numpy(), key, (waiting["backlog_packets"] > 0).to_numpy()
        ),
        "overlimits": int(last["overlimits"].sum()),
        "requeues": int(roots["requeues"].sum()),
    }
    if sojourn.size:
        p50, p99, most = nearest_rank(sojourn, 0.5, 0.99, 1.0)
        backpressure |= {
            "node_transit_ns_p50": p50, "node_transit_ns_p99": p99, "node_transit_ns_max": most,
        }  # fmt: skip
    tables = found.evidence.tables
    return Aspects(
        {
            "dropped_packets": int(roots["dropped_packets"].sum()),
            "drop_reasons": traced_by.drops_in(tables, found.evidence.missing, "qdisc"),
        },
        _transit_order(found.transits),
        backpressure | traced_by.qdisc_figures(tables),
    )


def _transit_order(transits: list[Transit]) -> Aspect:
    """Packets that were overtaken between entering a node and leaving it over the same link."""
    if not transits:
        return None
    late = 0
    for transit in transits:
        for way in np.unique(transit.way):
            mine = transit.way == way
            order = np.argsort(transit.left_ns[mine], kind="stable")
            late += int(reordering.reordered(np.flatnonzero(mine)[order]).sum())
    return {"reordered_packets": late}


def _ip(found: Found) -> Aspects | None:
    table = found.table("ip")
    if table is None or not table.height:
        return None
    fields = (
        "in_discards", "out_discards", "in_header_errors", "in_address_errors", "out_no_routes",
        "reassembly_fails",
    )  # fmt: skip
    loss: dict[str, Any] = {
        f"{name}_packets": v for name, v in _increase(table, ["node"], fields).items()
    }
    loss["drop_reasons"] = traced_by.drops_in(found.evidence.tables, found.evidence.missing, "ip")
    loss["in_checksum_error_packets"] = _optional_increase(table, "in_checksum_errors")
    pressure = {"in_ce_packets": _optional_increase(table, "in_ce_packets")}
    return Aspects(loss, path_order(found.hosts), pressure)


def _optional_increase(table: pl.DataFrame, column: str) -> int | None:
    if table[column].null_count() == table.height:
        return None
    return _increase(table.drop_nulls(column), ["node"], (column,))[column]


def _socket(found: Found) -> Aspects | None:
    table = found.table("socket")
    if table is not None:
        table = socket.under_load(table, found.evidence.manifest.load_started_ns)
    if table is None or not table.height:
        return None
    counters = counted(
        found.table("tcp_counters"),
        {
            "ListenOverflows": "accept_queue_overflows",
            "ListenDrops": "listen_dropped_packets",
            "TCPReqQFullDrop": "request_queue_full_drops",
        },
    )
    receive = ("receive_allocated_bytes", "receive_buffer_bytes")
    send = ("send_allocated_bytes", "send_buffer_bytes")
    connections = table.filter(pl.col("state") != "LISTEN")
    use = nearest_to_limit(found.table("descriptors"))
    descriptors: dict[str, Any] = {
        "descriptors_in_use_most": use.open_descriptors if use else None,
        "descriptor_limit": use.soft_limit if use else None,
        "descriptors_in_use_most_process": use.process if use else None,
    }
    return Aspects(
        {
            "dropped_packets": socket.dropped_packets(table),
            **counters,
            "drop_reasons": traced_by.drops_in(
                found.evidence.tables, found.evidence.missing, "socket"
            ),
        },
        None,
        {
            **(descriptors if use and use.is_near else {}),
            "peak_receive_fill_ratio": socket.peak_fill_ratio(table, *receive),
            "time_receive_full_ns": socket.time_full_ns(table, *receive),
            "peak_unread_bytes": connections["receive_queue"].max(),
            "peak_send_fill_ratio": socket.peak_fill_ratio(table, *send),
            "time_send_full_ns": socket.time_full_ns(table, *send),
            "peak_unacknowledged_bytes": connections["send_queue"].max(),
            "peak_accept_queue_connections": socket.peak_accept_queue(table),
            "time_accept_queue_full_ns": socket.accept_queue_full_ns(table),
            **descriptors,
        },
    )


def _syscall(found: Found) -> Aspects | None:
    called = syscall_aspects(found)
    if called is None and found.table("wake_ups") is None:
        return None
    woken = traced_by.wakeup_figures(found.evidence.tables)
    if called is None:
        return Aspects(None, None, woken)
    return Aspects(called.loss, called.reordering, {**(called.backpressure or {}), **woken})


def _event_loop(found: Found) -> Aspects | None:
    table = found.table("event_loop")
    load = None if table is None else loop_load(table)
    if load is None:
        return None
    return Aspects(
        None,
        None,
        {
            "longest_step_ns": load.longest_step_ns,
            "longest_step_process": load.longest_step_process,
            "lag_ns_p50": load.lag_ns.p50,
            "lag_ns_p99": load.lag_ns.p99,
            "lag_ns_max": load.lag_ns.max,
            "time_runnable_ns": load.time_runnable_ns,
            "peak_runnable_tasks": load.peak_runnable_tasks,
            "busy_ratio_max": max(load.busy_ratio.values()),
        },
    )


def _asgi(found: Found) -> Aspects | None:
    requests, calls = found.table("asgi"), found.table("asgi_calls")
    if requests is None or calls is None:
        return None
    pressure: dict[str, Any] = {"peak_in_flight_requests": asgi.peak_in_flight(requests)}
    for call in ("receive", "send"):
        waits = asgi.waits_ns(calls, call)
        pressure[f"{call}_wait_ns"] = int(waits.sum())
        values = nearest_rank(waits.to_numpy(), 0.5, 0.99, 1.0) if waits.len() else [None] * 3
        for share, value in zip(("p50", "p99", "max"), values, strict=True):
            pressure[f"{call}_wait_ns_{share}"] = value
    return Aspects(
        {
            "requests": requests.height,
            "disconnected_requests": int(requests["disconnected"].sum()),
            "failed_requests": requests["exception"].drop_nulls().len(),
            "error_responses": asgi.error_responses(requests),
            "client_error_responses": asgi.client_error_responses(requests),
        },
        None,
        pressure,
    )


def _http(found: Found) -> Aspects | None:
    table = found.table("http")
    if table is None:
        return None
    numbers = http.http_summary(table)
    pressure: dict[str, Any] = {"peak_in_flight_requests": http.peak_in_flight(table)}
    for name in ("pool_wait_ns", "connect_ns", "send_ns", "first_byte_ns", "receive_ns", "late_ns"):
        spread = http.phase(table, name)
        pressure[f"{name}_p50"] = spread.p50 if spread else None
        pressure[f"{name}_p99"] = spread.p99 if spread else None
    return Aspects(
        {
            "requests": numbers.requests,
            "failed_requests": numbers.failed,
            "failures": numbers.failures,
        },
        {"overtaken_responses": http.overtaken_responses(table)},
        pressure,
    )


_READERS: Final[Mapping[str, Callable[[Found], Aspects | None]]] = {
    "link": _link,
    "nic": _nic,
    "qdisc": _qdisc,
    "ip": _ip,
    "tcp": tcp_aspects,
    "socket": _socket,
    "syscall": _syscall,
    "event_loop": _event_loop,
    "asgi": _asgi,
    "http": _http,
}

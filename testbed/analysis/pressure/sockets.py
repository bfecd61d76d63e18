"""Stops in the kernels of both ends: accept queues, socket buffers, what TCP was limited by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import Packets
from testbed.analysis.found import Found
from testbed.analysis.hosts import HostStreams
from testbed.analysis.metrics import tcp
from testbed.analysis.metrics.socket import FULL_RATIO, listeners
from testbed.analysis.metrics.streams import FIN, SYN, Streams
from testbed.analysis.pressure.seen import Seen, nodes_of, receives, sends
from testbed.analysis.pressure.waits import Int64, Waits, between, grown, sampled

_LOCAL: Final = "127."


def accept_stops(found: Found) -> Iterator[Seen]:
    """Each server's accept queue: connections in it, and the times when it was full."""
    table = found.table("socket")
    if table is None:
        return
    for node in nodes_of(found.evidence.manifest, "server"):
        rows = listeners(table.filter(pl.col("node") == node)).sort("t_ns")
        queue = rows["receive_queue"].to_numpy()
        # One more than the backlog fits in (net/sock.h, sk_acceptq_is_full).
        full = queue > rows["send_queue"].to_numpy()
        for what, holds in (("accept queue", queue > 0), ("accept queue full", full)):
            waits = sampled(rows["t_ns"].to_numpy(), _keys(rows), holds, queue)
            yield Seen("socket", node, "request", what, "connections", waits)


def receive_stops(found: Found, role: str) -> Iterator[Seen]:
    """Each host's receive buffers: the closed window, the full buffer, what nobody has read."""
    manifest = found.evidence.manifest
    table = found.table("socket")
    closed = {host.node: zero_windows(host) for host in found.hosts}
    for node in nodes_of(manifest, role):
        direction = receives(manifest, node)
        if node in closed:
            yield Seen("tcp", node, direction, "zero window", "connections", closed[node])
        if table is None:
            continue
        rows = _connections(table, node).filter(pl.col("receive_buffer_bytes").is_not_null())
        t_ns, unread = rows["t_ns"].to_numpy(), rows["receive_queue"].to_numpy()
        limit = rows["receive_buffer_bytes"].to_numpy()
        full = (rows["receive_allocated_bytes"].to_numpy() >= limit * FULL_RATIO) & (limit > 0)
        buffer = sampled(t_ns, _keys(rows), full, unread)
        yield Seen("socket", node, direction, "receive buffer full", "bytes", buffer)
        reader = sampled(t_ns, _keys(rows), unread > 0, unread)
        layer = "http" if role == "client" else "asgi"
        yield Seen(layer, node, direction, "reader", "bytes", reader)


def handshake_stops(found: Found) -> Iterator[Seen]:
    """Each client's connections that were not taken at the first try."""
    for host in found.hosts:
        if host.node in nodes_of(found.evidence.manifest, "client"):
            waits = repeated_handshakes(host)
            yield Seen("tcp", host.node, "request", "handshake", "connections", waits)


def repeated_handshakes(host: HostStreams) -> Waits:
    """From the first SYN of a connection to the first packet of the other side after its SYN.

    Of connections that had to send something of it again: the SYN, its answer, or the first data.
    A full accept queue drops the SYN, or the acknowledgement that ends the handshake
    (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock): the client then takes the connection for open, and
    what it sends is lost until there is room. As in the host's own capture.
    """
    went = _by_connection(host.packets, host.sent, outgoing=True)
    came = _by_connection(host.packets, host.received, outgoing=False)
    answers = came.group_by("connection").agg(
        pl.col("opens").sum().alias("answers"),
        pl.col("t_ns").filter(~pl.col("opens")).min().alias("open_ns"),
    )
    tried = went.join(answers, on="connection", how="left").filter(
        pl.col("open_ns").is_null() | (pl.col("t_ns") < pl.col("open_ns"))
    )
    both = (
        tried.group_by("connection")
        .agg(
            pl.col("opens").sum().alias("asked"),
            pl.col("start").filter("carries").len().alias("carried"),
            pl.col("start").filter("carries").n_unique().alias("distinct"),
            pl.col("t_ns").min().alias("first_ns"),
            pl.col("t_ns").max().alias("last_ns"),
            pl.col("open_ns", "answers").first(),
        )
        .filter(
            (pl.col("asked") > 0)
            & ((pl.col("carried") > pl.col("distinct")) | (pl.col("answers") > 1))
        )
        .sort("first_ns")
    )
    ended = both.select(pl.coalesce("open_ns", "last_ns")).to_series()
    return between(both["first_ns"].to_numpy(), ended.to_numpy())


def _by_connection(packets: Packets, of: Streams, *, outgoing: bool) -> pl.DataFrame:
    """Each packet of streams with its connection as this host sees it."""
    row = of.row
    peer, here, there = packets.destination, packets.source_port, packets.destination_port
    if not outgoing:
        peer, here, there = packets.source, there, here
    return pl.DataFrame(
        {
            "t_ns": packets.t_ns[row],
            "opens": (packets.flags[row] & SYN) > 0,
            "carries": of.carries,
            "start": of.start,
            "peer": peer[row],
            "here": here[row],
            "there": there[row],
        }
    ).select(
        "t_ns", "opens", "carries", "start", pl.struct("peer", "here", "there").alias("connection")
    )


def send_stops(found: Found, role: str) -> Iterator[Seen]:
    """Each host's send buffers: bytes that TCP could not send yet, and by what it was limited."""
    manifest = found.evidence.manifest
    table = found.table("tcp")
    if table is None:
        return
    for node in nodes_of(manifest, role):
        direction = sends(manifest, node)
        rows = _connections(table, node).filter(pl.col("not_sent_bytes").is_not_null())
        t_ns, key, unsent = rows["t_ns"].to_numpy(), _keys(rows), rows["not_sent_bytes"].to_numpy()
        waits = sampled(t_ns, key, unsent > 0, unsent)
        yield Seen("socket", node, direction, "send buffer", "bytes", waits)
        peer, buffer = (
            _total(rows, "receive_window_limited_ns"),
            _total(rows, "send_buffer_limited_ns"),
        )
        if peer is None or buffer is None:
            continue
        always = np.ones(t_ns.size, np.bool_)
        # Busy and limited by neither: by its congestion window, as long as something is unsent.
        own = rows["busy_ns"].fill_null(0).to_numpy() - peer - buffer
        for what, total, holds in (
            ("peer's window", peer, always),
            ("send buffer limit", buffer, always),
            ("congestion window", own, unsent > 0),
        ):
            waits = grown(t_ns, key, total, unsent, holds)
            yield Seen("tcp", node, direction, what, "bytes", waits)


def zero_windows(host: HostStreams) -> Waits:
    """When a host let nobody send: from a window of zero until it told of room again.

    RFC 9293, 3.8.6. As in its own capture; a window that never opens again is closed until the last
    packet of its stream.
    """
    sent, packets = host.sent, host.packets
    plain = np.flatnonzero((packets.flags[sent.row] & (SYN | FIN)) == 0)
    stream, row = sent.stream[plain], sent.row[plain]
    closed = tcp.zero_windows(packets, sent)[plain]
    before = np.zeros(plain.size, np.bool_)
    same = stream[1:] == stream[:-1]
    before[1:] = closed[:-1] & same
    begins = np.flatnonzero(closed & ~before)
    ends = _end_of_each(begins, closed, stream)
    t_ns = packets.t_ns[row]
    return between(t_ns[begins], t_ns[ends])


def _end_of_each(begins: Int64, closed: npt.NDArray[np.bool_], stream: Int64) -> Int64:
    """Per closed stretch the next packet of its stream that is not closed, else its last one."""
    count = closed.size
    place = np.arange(count)
    following = np.where(closed, count, place)
    opened = np.minimum.accumulate(following[::-1])[::-1]
    last = np.searchsorted(stream, stream, side="right") - 1
    return np.minimum(opened, last)[begins]


def _connections(table: pl.DataFrame, node: str) -> pl.DataFrame:
    """A node's connections over the network, by time."""
    return table.filter(
        (pl.col("node") == node)
        & (pl.col("state") != "LISTEN")
        & ~pl.col("local_address").str.starts_with(_LOCAL)
    ).sort("t_ns", maintain_order=True)


def _keys(rows: pl.DataFrame) -> Int64:
    return rows["cookie"].rank("dense").cast(pl.Int64).to_numpy()


def _total(rows: pl.DataFrame, column: str) -> Int64 | None:
    """A counter, or None where this kernel has none."""
    if rows[column].null_count():
        return None
    return rows[column].to_numpy().astype(np.int64)

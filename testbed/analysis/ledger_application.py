"""The ledger's rows above TCP: bytes between applications and captures, requests between both ends.

Rules:

- Connections are joined by their addresses, ports and time, as in journeys; those that no capture
  can have seen (of a host with itself) are left out.
- A reader that closes before it has read all leaves bytes unread: these are held. One that has read
  to the end of the stream has none left.
- A connection that was reset loses what its send buffer still held; these bytes are dropped.
- A server or client that was killed has not written down its last second: these rows say so, and
  are not held against the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.captures import addresses
from testbed.analysis.found import Found
from testbed.analysis.hosts import HostStreams
from testbed.analysis.journey.calls import Connections
from testbed.analysis.ledger_rows import row
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import FIN, SYN, Streams, connection_key, connection_keys
from testbed.analysis.summary import LedgerRow
from testbed.units import NS_PER_MS

_CLOCKS_NS: Final = NS_PER_MS
"""As in testbed.analysis.journey.delivery."""


def application_rows(found: Found) -> list[LedgerRow]:
    """Bytes written and read against those captured, and requests against calls."""
    rows = [*_bytes(found), *_requests(found)]
    killed = [
        process.name
        for process in found.evidence.manifest.processes
        if process.kind in ("server", "load") and (process.exit_code or 0) < 0
    ]
    if not killed:
        return rows
    note = f"{', '.join(killed)} was killed: its last second may lack"
    return [row(one.what, one.entered, None, None, None, note=note) for one in rows]


@dataclass(frozen=True, slots=True)
class Carried:
    """One direction of one connection, as one host's capture has it."""

    began_ns: int
    whole: bool
    """It begins with its SYN."""
    ended: bool
    """Its FIN came, with nothing missing before it."""
    in_order_bytes: int
    """Payload from the first byte up to the first one that is missing."""


class Captured:
    """The streams of one host by the key of their direction."""

    def __init__(self, host: HostStreams, streams: Streams) -> None:
        self._streams: dict[int, list[Carried]] = {}
        if not streams.row.size:
            return
        packets = host.packets
        first = np.flatnonzero(np.diff(streams.stream, prepend=-1))
        keys = connection_keys(packets.take(streams.row[first]))
        for key, start, end in zip(
            keys.tolist(), first, np.append(first[1:], streams.row.size), strict=True
        ):
            rows = streams.row[start:end]
            flags = packets.flags[rows]
            starts, ends = streams.start[start:end], streams.end[start:end]
            reach = in_order_until(starts, ends)
            ended = bool((((flags & FIN) > 0) & (ends <= reach)).any())
            self._streams.setdefault(key, []).append(
                Carried(
                    began_ns=int(packets.t_ns[rows[0]]),
                    whole=bool((flags & SYN).any()),
                    ended=ended,
                    in_order_bytes=reach - 1 - ended,
                )
            )

    def since(self, key: int, opened_ns: int) -> Carried | None:
        """The first stream of a direction that began after the client had made its socket."""
        for one in self._streams.get(key, ()):
            if one.began_ns >= opened_ns - _CLOCKS_NS and one.whole:
                return one
        return None


def in_order_until(start: np.ndarray, end: np.ndarray) -> int:
    """How far a stream goes from 0 without a gap; SYN and FIN take one each.

    Args:
        start: of its segments.
        end: likewise.
    """
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(np.append(0, end[order]))
    gaps = np.flatnonzero(start[order] > reach[:-1])
    return int(reach[gaps[0]] if gaps.size else reach[-1])


def _bytes(found: Found) -> Iterator[LedgerRow]:
    table, calls = found.table("connections"), found.table("syscall")
    if table is None or calls is None or not found.hosts:
        return
    connections = Connections(table)
    opened_ns = _opened_ns(connections)
    numbers = connections.numbers(calls["process"], calls["connection"])
    moved = {kind: _moved(calls, numbers, kind, connections.count) for kind in ("send", "recv")}
    sent = {host.node: Captured(host, host.sent) for host in found.hosts}
    came = {host.node: Captured(host, host.received) for host in found.hosts}
    written, read = Sides(), Sides()
    for number in range(connections.count):
        node = connections.node[number]
        local, local_port, remote, remote_port = connections.ends[number]
        if node not in sent or local == remote or opened_ns[number] == NONE:
            continue
        here, there = (addresses.key(local), local_port), (addresses.key(remote), remote_port)
        out = sent[node].since(connection_key(*here, *there), opened_ns[number])
        into = came[node].since(connection_key(*there, *here), opened_ns[number])
        written.add_written(moved["send"][number], out, cut=out is not None and not out.ended)
        read.add_read(moved["recv"][number], into)
    yield written.row(
        "application to tcp: written bytes", "dropped: in send buffers of reset connections"
    )
    yield read.row("tcp to application: read bytes", "held: unread when the reader closed")


@dataclass(slots=True)
class Sides:
    """The sides of a row, added up over connections."""

    entered: int = 0
    left: int = 0
    dropped: int = 0
    held: int = 0
    unseen: int = 0

    def add_written(self, moved: int, carried: Carried | None, *, cut: bool) -> None:
        """Bytes that an application wrote, and what of them left."""
        if carried is None:
            self.unseen += moved > 0
            return
        self.entered += moved
        self.left += carried.in_order_bytes
        if cut:
            self.dropped += max(0, moved - carried.in_order_bytes)

    def add_read(self, moved: int, carried: Carried | None) -> None:
        """Bytes that came, and what of them an application read."""
        if carried is None:
            self.unseen += moved > 0
            return
        self.entered += carried.in_order_bytes
        self.left += moved
        self.held += max(0, carried.in_order_bytes - moved)

    def row(self, what: str, note: str) -> LedgerRow:
        """The row; not observed where a connection is in no capture."""
        if self.unseen:
            return row(what, self.entered, None, None, None, note="connections were not captured")
        shown = note if self.dropped or self.held else ""
        return row(what, self.entered, self.left, self.dropped, self.held, note=shown)


def _opened_ns(connections: Connections) -> list[int]:
    """When the client's socket of each connection was made; NONE where there is no client."""
    opened = [NONE] * connections.count
    for number, role in enumerate(connections.role):
        if role == "client":
            opened[number] = int(connections.opened_ns[number])
            peer = connections.peer(number)
            if peer != NONE:
                opened[peer] = opened[number]
    return opened


def _moved(calls: pl.DataFrame, numbers: np.ndarray, kind: str, count: int) -> list[int]:
    """Bytes that the calls of a kind moved, by connection."""
    mine = (calls["call"].cast(pl.String) == kind).to_numpy() & (numbers != NONE)
    size = calls["bytes"].fill_null(0).to_numpy()
    sums = np.zeros(count, np.int64)
    np.add.at(sums, numbers[mine], size[mine])
    return [int(value) for value in sums]


def _requests(found: Found) -> Iterator[LedgerRow]:
    http, asgi = found.table("http"), found.table("asgi")
    if http is not None and asgi is not None:
        yield requests_row(http, asgi)


def requests_row(http: pl.DataFrame, asgi: pl.DataFrame) -> LedgerRow:
    """Requests that were written against calls of the application, by their ids.

    Args:
        http: table of HttpRequest.
        asgi: table of AsgiRequest.
    """
    begun = http.filter(pl.col("local_port").is_not_null())
    called = asgi.drop_nulls("request_id")["request_id"].unique()
    met = begun["request_id"].is_in(called.implode())
    dropped = int((~met & begun["failure"].is_not_null()).sum())
    strangers = int((~called.is_in(http["request_id"].implode())).sum())
    return row(
        "http: requests to the application",
        begun.height,
        int(met.sum()),
        dropped,
        0,
        strangers=strangers,
        note="dropped: failed before the application was called" if dropped else "",
    )

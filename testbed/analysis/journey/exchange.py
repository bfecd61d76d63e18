"""The milestones of requests in the applications at both ends; a row per request.

Joined by connection and stream offset: the request's last byte is read by the server in the call
that moved this offset, and the answer's last byte was written by the server in the call that moved
the offset at which the client had read it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.evidence import Evidence
from testbed.analysis.journey.calls import Connections, SystemCalls, Waits
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.tape import Intervals
from testbed.analysis.matching import NONE

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Exchanges:
    """All requests; columns of shape (requests,), NONE where it was not seen."""

    request_id: list[str]
    process: list[str]
    """Of the client."""
    begun_ns: Int64
    """When its journey begins: its intended start; of a retry, the first attempt's."""
    retry: Flags
    intended_ns: Int64
    started_ns: Int64
    pool_until_ns: Int64
    """When a connection became free for it, if that was after it started."""
    stream_until_ns: Int64
    """When its connection had room for its HTTP/2 stream, if that was later still."""
    acquired_ns: Int64
    """When it had a connection, or began to make one."""
    new_connection: Flags
    connect_started_ns: Int64
    connect_ended_ns: Int64
    tls_started_ns: Int64
    tls_ended_ns: Int64
    ended_ns: Int64
    failed: Flags
    gave_up: Flags
    """It failed because the client waited no longer, not because somebody said so."""
    client: Int64
    """The client's end of the connection, a number of `Connections`."""
    server: Int64
    request_start: Int64
    """Stream offset of its first byte."""
    request_end: Int64
    """Stream offset after its last byte."""
    response_end: Int64
    asgi_started_ns: Int64
    asgi_ended_ns: Int64
    server_process: list[str | None]
    multiplexed: bool = False
    """Requests share connections, as HTTP/2 streams."""


def exchanges(evidence: Evidence, connections: Connections | None) -> Exchanges | None:
    """The requests of a recording; None where no client left a record."""
    table = evidence.table("http")
    if table is None or not table.height:
        return None
    asgi = _asgi(evidence, table)
    process = table["process"].to_list()
    number = table["connection"].to_list()
    count = table.height
    client = np.full(count, NONE, np.int64)
    server = np.full(count, NONE, np.int64)
    servers: list[str | None] = asgi["process"].to_list()
    if connections is not None:
        pairs = zip(process, number, strict=True)
        client[:] = [connections.number(name, one) for name, one in pairs]
        peers = np.array([connections.peer(i) for i in range(connections.count)] + [NONE], np.int64)
        server = peers[client]
        names = [*connections.process, None]
        servers = [names[i] or known for i, known in zip(server, servers, strict=True)]
    ended_ns, started_ns = _column(table, "ended_ns"), _column(table, "started_ns")
    acquired_ns, new = _column(table, "acquired_ns"), table["new_connection"].to_numpy()
    pool_until_ns = _pool_until(client, started_ns, ended_ns)
    slot_ns = slot_until(process, started_ns, acquired_ns, ended_ns)
    pool_until_ns = np.where(new & (pool_until_ns == NONE), slot_ns, pool_until_ns)
    streams = Streams(table, client, started_ns, acquired_ns, ended_ns)
    multiplexed = evidence.manifest.scenario.http == "2"
    if multiplexed:
        pool_until_ns = np.where(new, pool_until_ns, streams.connected_ns)
    intended_ns, retry = _column(table, "intended_ns"), table["attempt"].to_numpy() > 0
    in_vain = (table["failure"] == "PoolTimeout").fill_null(False).to_numpy()
    return Exchanges(
        request_id=table["request_id"].to_list(),
        process=process,
        begun_ns=np.where(retry, _column(table, "first_intended_ns"), intended_ns),
        retry=retry,
        intended_ns=intended_ns,
        started_ns=started_ns,
        pool_until_ns=np.where(in_vain, ended_ns, pool_until_ns),
        stream_until_ns=streams.until_ns if multiplexed else np.full(count, NONE, np.int64),
        acquired_ns=acquired_ns,
        new_connection=new,
        connect_started_ns=_column(table, "connect_started_ns"),
        connect_ended_ns=_column(table, "connect_ended_ns"),
        tls_started_ns=_column(table, "tls_started_ns"),
        tls_ended_ns=_column(table, "tls_ended_ns"),
        ended_ns=ended_ns,
        failed=table["failure"].is_not_null().to_numpy(),
        gave_up=(table["failure"] != "ConnectError").fill_null(False).to_numpy(),
        client=client,
        server=server,
        request_start=_column(table, "request_offset_bytes"),
        request_end=_column(table, "request_end_bytes"),
        response_end=_column(table, "response_end_bytes"),
        asgi_started_ns=_column(asgi, "started_ns"),
        asgi_ended_ns=_column(asgi, "ended_ns"),
        server_process=servers,
        multiplexed=multiplexed,
    )


def _column(table: pl.DataFrame, name: str) -> Int64:
    return table[name].fill_null(NONE).to_numpy().astype(np.int64)


def _asgi(evidence: Evidence, http: pl.DataFrame) -> pl.DataFrame:
    """The call of the application for each request; nulls where there is none."""
    table = evidence.table("asgi")
    wanted = http.select("request_id")
    if table is None:
        empty = {
            name: pl.Series([None] * http.height, dtype=pl.Int64)
            for name in ("started_ns", "ended_ns")
        }
        return wanted.with_columns(process=pl.lit(None, pl.String), **empty)
    first = table.drop_nulls("request_id").unique("request_id", keep="first")
    columns = ["request_id", "process", "started_ns", "ended_ns"]
    return wanted.join(first.select(columns), on="request_id", how="left", maintain_order="left")


def _pool_until(client: Int64, started_ns: Int64, ended_ns: Int64) -> Int64:
    """When the connection that a request got became free; NONE: it was free."""
    order = np.lexsort((ended_ns, client))
    until = np.full(client.size, NONE, np.int64)
    mine, before = order[1:], order[:-1]
    waited = (client[mine] == client[before]) & (client[mine] != NONE)
    waited &= ended_ns[before] > started_ns[mine]
    until[mine[waited]] = ended_ns[before[waited]]
    return until


def slot_until(process: list[str], started_ns: Int64, acquired_ns: Int64, ended_ns: Int64) -> Int64:
    """When a pool that was full had room for a new connection; NONE: it had from the start.

    That is the last end of another request of the same pool before the connection was begun.
    """
    until = np.full(started_ns.size, NONE, np.int64)
    names = np.array(process)
    for name in np.unique(names):
        mine = np.flatnonzero((names == name) & (acquired_ns != NONE))
        ends = np.sort(ended_ns[names == name])
        before = np.append(ends, NONE)[np.searchsorted(ends, acquired_ns[mine], side="right") - 1]
        waited = before > started_ns[mine]
        until[mine[waited]] = before[waited]
    return until


class Streams:
    """What requests on HTTP/2 connections wait for before their streams can begin.

    Attributes:
        connected_ns: when the connection was there, if that was after the request started.
        until_ns: when there was room for a stream: httpcore begins with one until it has the
            server's settings, and then another one must end where there are as many as can be.
    """

    def __init__(
        self,
        table: pl.DataFrame,
        client: Int64,
        started_ns: Int64,
        acquired_ns: Int64,
        ended_ns: Int64,
    ) -> None:
        made_ns = np.maximum(_column(table, "connect_ended_ns"), _column(table, "tls_ended_ns"))
        settings_ns = _column(table, "settings_ns")
        self.connected_ns, self.until_ns = (np.full(client.size, NONE, np.int64) for _ in range(2))
        for number in np.unique(client[client != NONE]):
            mine = np.flatnonzero((client == number) & (acquired_ns != NONE))
            if not mine.size:
                continue
            start, begun = started_ns[mine], acquired_ns[mine]
            ends, begins = np.sort(ended_ns[mine]), np.sort(begun)
            open_then = np.searchsorted(begins, start, side="right")
            open_then -= np.searchsorted(ends, start, side="right")
            slot_ns = np.append(ends, NONE)[np.searchsorted(ends, begun, side="right") - 1]
            slot_ns = np.where(open_then >= MOST_STREAMS, slot_ns, NONE)
            told = np.full(mine.size, settings_ns[mine].max())
            for until, found in (
                (self.connected_ns, np.full(mine.size, made_ns[mine].max())),
                (self.until_ns, np.where(told <= begun, np.maximum(told, slot_ns), slot_ns)),
            ):
                waited = (found > start) & (found <= begun)
                until[mine[waited]] = found[waited]


MOST_STREAMS: Final = 100
"""At once on a connection: Hypercorn 0.18's ``h2_max_concurrent_streams``, and httpcore 1.0's."""


def asgi_calls(evidence: Evidence, found: Exchanges, call: str, label: Label) -> Intervals:
    """The calls of receive() or send() as intervals of their requests."""
    table = evidence.table("asgi_calls")
    none = np.empty(0, np.int64)
    if table is None:
        return Intervals(none, none, none, label)
    rows = pl.DataFrame({"request_id": found.request_id}).with_row_index("request")
    mine = table.filter(pl.col("call").cast(pl.String) == call).join(rows, on="request_id")
    return Intervals(
        mine["request"].to_numpy().astype(np.int64),
        mine["started_ns"].to_numpy().astype(np.int64),
        mine["ended_ns"].to_numpy().astype(np.int64),
        label,
    )


def waits_of(calls: SystemCalls, connection: Int64, from_ns: Int64, label: Label) -> Intervals:
    """Waits for a send buffer, each given to the request that its connection was busy with.

    Args:
        calls: all system calls.
        connection: of each request.
        from_ns: when each request had the connection; of two the later one that had begun.
        label: of the intervals.
    """
    waits = calls.waits_writable
    usable = (connection != NONE) & (from_ns != NONE)
    rows = np.flatnonzero(usable)
    order = rows[np.lexsort((from_ns[rows], connection[rows]))]
    if not order.size or not waits.ended_ns.size:
        none = np.empty(0, np.int64)
        return Intervals(none, none, none, label)
    origin = int(from_ns[order].min())
    span = int(max(from_ns[order].max(), waits.ended_ns.max())) - origin + 2
    key = connection[order] * span + (from_ns[order] - origin)
    at = waits.connection * span + np.clip(waits.ended_ns - origin, 0, span - 1)
    place = np.searchsorted(key, at, side="right") - 1
    request = order[np.maximum(place, 0)]
    mine = (place >= 0) & (connection[request] == waits.connection)
    return Intervals(
        request[mine].astype(np.int64), waits.started_ns[mine], waits.ended_ns[mine], label
    )


def shared_waits_of(
    waits: Waits, connection: Int64, from_ns: Int64, to_ns: Int64, label: Label
) -> Intervals:
    """Waits for a socket, each given to all requests that needed it meanwhile.

    For HTTP/2: whoever reads from a connection, or writes to it, does so for all of its streams.

    Args:
        waits: to write, or to read.
        connection: of each request.
        from_ns: when each began to need it.
        to_ns: until when.
        label: of the intervals.
    """
    requests: list[Int64] = [np.empty(0, np.int64)]
    places: list[Int64] = [np.empty(0, np.int64)]
    for number in np.unique(waits.connection):
        theirs = np.flatnonzero(waits.connection == number)
        mine = np.flatnonzero((connection == number) & (from_ns != NONE) & (to_ns != NONE))
        # One task does it at a time, so that waits of a connection follow one another.
        first = np.searchsorted(waits.ended_ns[theirs], from_ns[mine], side="right")
        beyond = np.searchsorted(waits.started_ns[theirs], to_ns[mine], side="left")
        count = np.maximum(beyond - first, 0)
        begins = np.repeat(first - (np.cumsum(count) - count), count)
        requests.append(np.repeat(mine, count))
        places.append(theirs[begins + np.arange(int(count.sum()))])
    place = np.concatenate(places)
    return Intervals(
        np.concatenate(requests), waits.started_ns[place], waits.ended_ns[place], label
    )

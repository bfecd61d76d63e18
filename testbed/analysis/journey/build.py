"""The journeys of all requests of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import addresses
from testbed.analysis.decode.schema import code_column, from_columns
from testbed.analysis.found import Found
from testbed.analysis.journey.calls import Connections, SystemCalls
from testbed.analysis.journey.exchange import Exchanges, asgi_calls, exchanges, waits_of
from testbed.analysis.journey.flight import PATH, PEER, Message, Network
from testbed.analysis.journey.limits import Socket
from testbed.analysis.journey.loops import Loops
from testbed.analysis.journey.reading import read, wake
from testbed.analysis.journey.stage import JourneyStage, Label
from testbed.analysis.journey.tape import Intervals, Stages, Tape
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import connection_key

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SYN_BYTES: Final = 1
"""A SYN takes one sequence number before the first byte of the stream (RFC 9293, 3.4)."""
_FULL: Final = Label("send buffer full", "socket", "backpressure")


@dataclass(frozen=True, slots=True)
class Journeys:
    """Stages of every request."""

    exchanges: Exchanges
    stages: Stages
    missing: str = ""
    """What they cannot be followed through the network without, in words."""


def journeys(found: Found) -> Journeys | None:
    """The journeys of a recording; None where no client left a record."""
    table, calls = found.table("connections"), found.table("syscall")
    connections = None if table is None or calls is None else Connections(table)
    asked = exchanges(found.evidence, connections)
    if asked is None:
        return None
    tape = Tape(asked.intended_ns, asked.ended_ns)
    missing = _missing(found)
    if connections is None or calls is None:
        _by_application_alone(tape, asked)
    else:
        _Builder(found, asked, connections, SystemCalls(connections, calls), tape).build()
    return Journeys(asked, tape.stages(), missing)


def _missing(found: Found) -> str:
    """Which probes would have had to be on, or what of them is not in the recording."""
    lacking = [] if found.table("syscall") is not None else ["system calls"]
    captured = {host.node for host in found.hosts}
    ends = {
        node.name for node in found.evidence.manifest.nodes if node.role in ("client", "server")
    }
    if ends - captured:
        lacking.append("captures at every interface")
    if not lacking:
        return ""
    return f"journeys need {' and '.join(lacking)}, which this run lacks (--probes all has them)"


def _by_application_alone(tape: Tape, asked: Exchanges) -> None:
    _until_connected(tape, asked)
    missing = np.full(tape.count, NONE, np.int64)
    tape.advance(missing, Label("", "tcp", "work"))


def _until_connected(tape: Tape, asked: Exchanges) -> None:
    tape.advance(asked.started_ns, Label("load generator late", "http", "scheduling"))
    tape.advance(
        asked.pool_until_ns,
        Label("waits for a connection of the pool", "http", "queueing"),
        asked.pool_until_ns != NONE,
    )
    tape.advance(asked.acquired_ns, Label("client prepares", "http", "work"))


class _Builder:
    """Lays down the stages of all requests in their order."""

    def __init__(
        self,
        found: Found,
        asked: Exchanges,
        connections: Connections,
        calls: SystemCalls,
        tape: Tape,
    ) -> None:
        self._found, self._asked, self._tape = found, asked, tape
        self._connections, self._calls = connections, calls
        self._network = Network(found)
        self._loops = Loops(found.table("event_loop"))
        names = [*connections.node, ""]
        self._client_node = [names[i] for i in asked.client]
        self._server_node = [names[i] for i in asked.server]
        self._to_server = self._streams(forward=True)
        self._to_client = self._streams(forward=False)
        self._answered = calls.sends.covering(asked.server, _before(asked.response_end))
        self._request_end = self._read_before_the_answer()

    def _read_before_the_answer(self) -> Int64:
        """The stream offset after the last byte of each request that its answer waited for.

        An application may answer before it has read all of a request, or without reading it.
        """
        asked = self._asked
        read_bytes = self._calls.receives.moved_by(asked.server, self._answered.started_ns)
        early = (self._answered.started_ns != NONE) & (read_bytes > asked.request_start)
        early &= read_bytes < asked.request_end
        return np.where(early, read_bytes, asked.request_end)

    def _streams(self, *, forward: bool) -> Int64:
        """Per request the stream of its connection in the capture of the host that sends."""
        by_connection: dict[int, int] = {}
        for number in np.unique(self._asked.client):
            if number == NONE:
                continue
            local, local_port, remote, remote_port = self._connections.ends[number]
            peer = self._connections.peer(int(number))
            node = self._connections.node[number if forward or peer == NONE else peer]
            if node not in self._network.deliveries or (not forward and peer == NONE):
                continue
            here = (addresses.key(str(local)), int(local_port))
            there = (addresses.key(str(remote)), int(remote_port))
            key = connection_key(*here, *there) if forward else connection_key(*there, *here)
            opened_ns = int(self._connections.opened_ns[number])
            by_connection[int(number)] = self._network.deliveries[node].stream_since(key, opened_ns)
        return np.array([by_connection.get(int(i), NONE) for i in self._asked.client], np.int64)

    def build(self) -> None:
        """All stages, from the intended start to the end."""
        asked, tape = self._asked, self._tape
        everything = np.ones(tape.count, np.bool_)
        _until_connected(tape, asked)
        tape.part = "connect"
        self._connect(asked.new_connection & (asked.connect_started_ns != NONE))
        tape.part = "request"
        self._request(everything)
        tape.part = "server"
        self._serve()
        tape.part = "response"
        self._answer(everything)
        tape.advance(
            np.where(asked.failed, NONE, asked.ended_ns),
            self._at(self._client_node, Label("client takes the answer", "http", "work")),
        )

    def _at(self, nodes: list[str], label: Label) -> Int64:
        return self._tape.codes(label, nodes)

    def _connect(self, new: Flags) -> None:
        asked, tape = self._asked, self._tape
        none = np.full(tape.count, NONE, np.int64)
        syn = np.full(tape.count, SYN_BYTES, np.int64)
        prepares = Label("client prepares", "http", "work")
        tape.advance(asked.connect_started_ns, prepares, new)
        tape.advance(self._calls.connect_ns(asked.client), prepares, new)
        there = Message(self._client_node, self._to_server, syn, none, none, handshake=True)
        self._network.fly(tape, there, new)
        back = Message(self._server_node, self._to_client, syn, none, none, handshake=True)
        came_ns = self._network.fly(tape, back, new)
        wait = self._calls.waits_connected.last_before(asked.client, asked.connect_ended_ns)
        process, node = list(asked.process), self._client_node
        wake(tape, self._loops, wait, process, node, np.where(new, came_ns, NONE), wait.ended_ns)
        tape.advance(
            asked.connect_ended_ns,
            self._at(node, Label("connect returns", "syscall", "work")),
            new,
        )
        encrypted = asked.tls_started_ns != NONE
        tape.advance(asked.tls_started_ns, Label("client prepares", "http", "work"), encrypted)
        tape.advance(asked.tls_ended_ns, Label("TLS handshake", "http", "work"), encrypted)

    def _request(self, everything: Flags) -> None:
        """From the first byte written to the last one read by the server."""
        asked, tape, calls = self._asked, self._tape, self._calls
        first = calls.sends.covering(asked.client, asked.request_start)
        last = calls.sends.covering(asked.client, _before(self._request_end))
        client = self._client_node
        tape.advance(
            first.started_ns, self._at(client, Label("client writes headers", "http", "work"))
        )
        waits = waits_of(calls, asked.client, asked.started_ns, _FULL)
        full = self._full(waits, asked.client, client, self._to_server)
        tape.cover(last.started_ns, Label("client writes the body", "http", "work"), full)
        message = Message(
            client, self._to_server, _shifted(self._request_end), last.started_ns, last.ended_ns
        )
        came_ns = self._network.fly(tape, message, everything)
        opened = np.append(self._connections.opened_ns, NONE)[asked.server]
        late = (opened > came_ns) & (came_ns != NONE) & (opened != NONE)
        tape.advance(
            opened,
            self._at(self._server_node, Label("in the accept queue", "socket", "queueing")),
            late,
        )
        read(
            tape,
            calls,
            self._loops,
            connection=asked.server,
            process=asked.server_process,
            node=self._server_node,
            came_ns=np.maximum(came_ns, np.where(late, opened, NONE)),
            end=self._request_end,
        )

    def _serve(self) -> None:
        """From the last byte read to the last byte of the answer written."""
        asked, tape, calls = self._asked, self._tape, self._calls
        nodes = self._server_node
        tape.advance(
            asked.asgi_started_ns, self._at(nodes, Label("server parses, calls", "asgi", "work"))
        )
        last = self._answered
        waits = waits_of(calls, asked.server, asked.asgi_started_ns, _FULL)
        sends = asgi_calls(self._found.evidence, asked, "send", Label("in send()", "asgi", "work"))
        tape.cover(
            last.started_ns,
            Label("handler", "asgi", "work"),
            [*self._full(waits, asked.server, nodes, self._to_client), sends],
        )

    def _full(
        self, waits: Intervals, connection: Int64, nodes: list[str], streams: Int64
    ) -> list[Intervals]:
        """Waits for a send buffer by node, and by what held it full."""
        ends = self._connections.ends
        sockets: list[Socket | None] = []
        for request in waits.request:
            _, local_port, remote, remote_port = ends[connection[request]]
            sockets.append((nodes[request], local_port, addresses.key(remote), remote_port))
        by_peer = self._network.limits.most(sockets, waits.started_ns, waits.ended_ns)
        names = np.array(nodes)[waits.request]
        labels = [
            _FULL._replace(where=node, note=PEER if peer else PATH)
            for node, peer in zip(names.tolist(), by_peer.tolist(), strict=True)
        ]
        for node in np.unique(names[~by_peer]).tolist():
            mine = np.where((names == node) & ~by_peer, streams[waits.request], NONE)
            found = self._network.recovering(node, mine, waits.started_ns, waits.ended_ns)
            for place, recovery in found:
                labels[place] = recovery
        return [
            waits.take(np.array([one == label for one in labels], np.bool_), label)
            for label in dict.fromkeys(labels)
        ]

    def _answer(self, everything: Flags) -> None:
        """From the last byte written to the last one read by the client."""
        asked, tape, calls = self._asked, self._tape, self._calls
        last = self._answered
        message = Message(
            self._server_node,
            self._to_client,
            _shifted(asked.response_end),
            last.started_ns,
            last.ended_ns,
        )
        came_ns = self._network.fly(tape, message, everything)
        read(
            tape,
            calls,
            self._loops,
            connection=asked.client,
            process=list(asked.process),
            node=self._client_node,
            came_ns=came_ns,
            end=asked.response_end,
        )


def _before(end: Int64) -> Int64:
    """The offset of a message's last byte."""
    return np.where(end == NONE, NONE, end - 1)


def _shifted(end: Int64) -> Int64:
    """A place among bytes as a place among sequence numbers."""
    return np.where(end == NONE, NONE, end + SYN_BYTES)


def journey_table(found: Journeys) -> pl.DataFrame:
    """Table of JourneyStage, by request in the order of events/http.parquet."""
    stages = found.stages
    labels = stages.labels
    ids = pl.Series(found.exchanges.request_id, dtype=pl.String)
    first = np.flatnonzero(np.diff(stages.request, prepend=-1))
    begins = np.zeros(stages.request.size, np.int64)
    begins[first] = first
    place = np.arange(stages.request.size) - np.maximum.accumulate(begins)
    return from_columns(
        JourneyStage,
        {
            "request_id": ids.gather(stages.request),
            "place": place,
            **{
                name: code_column(stages.code, [getattr(label, name) for label in labels])
                for name in Label._fields
            },
            "started_ns": stages.started_ns,
            "ended_ns": stages.ended_ns,
            "duration_ns": stages.ended_ns - stages.started_ns,
        },
    )

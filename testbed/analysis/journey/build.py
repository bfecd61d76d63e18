"""The journeys of all requests of a recording."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import addresses
from testbed.analysis.found import Found
from testbed.analysis.journey.calls import Call, Connections, SystemCalls
from testbed.analysis.journey.connecting import PREPARES, SYN_BYTES, Connecting
from testbed.analysis.journey.exchange import (
    Exchanges,
    asgi_calls,
    exchanges,
    shared_waits_of,
    waits_of,
)
from testbed.analysis.journey.flight import PATH, PEER, Ends, Message, Network
from testbed.analysis.journey.journeys import Journeys
from testbed.analysis.journey.limits import Socket
from testbed.analysis.journey.loops import Loops
from testbed.analysis.journey.reading import read
from testbed.analysis.journey.stage import Kind, Label
from testbed.analysis.journey.tape import Intervals, Tape
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import connection_key

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_TRIED: Final = Label("earlier attempts and back-off", "http", "recovery")
_FULL: Final = Label("send buffer full", "socket", "backpressure")


def journeys(found: Found) -> Journeys | None:
    """The journeys of a recording; None where no client left a record."""
    table, calls = found.table("connections"), found.table("syscall")
    connections = None if table is None or calls is None else Connections(table)
    asked = exchanges(found.evidence, connections)
    if asked is None:
        return None
    tape = Tape(asked.begun_ns, asked.ended_ns)
    tape.advance(asked.intended_ns, _TRIED, asked.retry)
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
    tape.advance(
        asked.stream_until_ns,
        Label("waits for a stream", "http", "queueing"),
        asked.stream_until_ns != NONE,
    )
    tape.advance(asked.acquired_ns, PREPARES)


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
        self._owner = found.evidence.topology.owner
        self._server_node = [
            names[server] or self._server_of(client)
            for client, server in zip(asked.client.tolist(), asked.server.tolist(), strict=True)
        ]
        self._to_server = self._streams(forward=True)
        self._to_client = self._streams(forward=False)
        self._connecting = Connecting(
            tape,
            asked,
            Ends(self._client_node, self._server_node, self._to_server, self._to_client),
            connections=connections,
            calls=calls,
            loops=self._loops,
            network=self._network,
        )
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

    def _server_of(self, client: int) -> str:
        """The node that a client's connection goes to, by its address; empty: not known."""
        if client == NONE:
            return ""
        return self._owner(addresses.key(self._connections.ends[client][2]))

    def _streams(self, *, forward: bool) -> Int64:
        """Per request the stream of its connection in the capture of the host that sends."""
        by_connection: dict[int, int] = {}
        nodes = dict(
            zip(
                self._asked.client.tolist(),
                self._client_node if forward else self._server_node,
                strict=True,
            )
        )
        for number in np.unique(self._asked.client):
            if number == NONE:
                continue
            local, local_port, remote, remote_port = self._connections.ends[number]
            node = nodes[int(number)]
            if node not in self._network.deliveries:
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
        self._connecting.lay(asked.new_connection & (asked.connect_started_ns != NONE))
        self._shake_hands(asked.tls_started_ns != NONE)
        tape.part = "request"
        self._request(everything)
        tape.part = "server"
        self._serve()
        tape.part = "response"
        self._answer(everything)
        self._take()

    def _at(self, nodes: list[str], label: Label) -> Int64:
        return self._tape.codes(label, nodes)

    def _shake_hands(self, encrypted: Flags) -> None:
        """TLS: the client's last message before the server's flight, that flight, and the end.

        In TLS 1.3 that is all there is (RFC 8446, 2). What came before, of TLS 1.2 or after a
        HelloRetryRequest, is in the first stage.
        """
        asked, tape, calls = self._asked, self._tape, self._calls
        until_ns = np.where(asked.tls_ended_ns == NONE, asked.ended_ns, asked.tls_ended_ns)
        flight_end = calls.receives.moved_by(asked.client, until_ns)
        flight = calls.receives.covering(asked.client, _before(flight_end))
        asked_ns = np.where(flight.started_ns == NONE, until_ns, flight.started_ns)
        hello_end = calls.sends.moved_by(asked.client, asked_ns)
        hello = calls.sends.covering(asked.client, _before(hello_end))
        handshake = Label("TLS handshake", "http", "work")
        tape.advance(asked.tls_started_ns, PREPARES, encrypted)
        tape.advance(hello.started_ns, self._at(self._client_node, handshake), encrypted)
        self._arrive(hello, hello_end, encrypted)
        answer = calls.sends.covering(asked.server, _before(flight_end))
        tape.advance(answer.started_ns, self._at(self._server_node, handshake), encrypted)
        self._return(answer, flight_end, encrypted)
        tape.advance(asked.tls_ended_ns, self._at(self._client_node, handshake), encrypted)

    def _request(self, everything: Flags) -> None:
        """From the first byte written to the last one read by the server."""
        asked, tape, calls = self._asked, self._tape, self._calls
        first = calls.sends.covering(asked.client, asked.request_start)
        last = calls.sends.covering(asked.client, _before(self._request_end))
        client = self._client_node
        tape.advance(
            first.started_ns, self._at(client, Label("client writes headers", "http", "work"))
        )
        if asked.multiplexed:
            waits = shared_waits_of(
                calls.waits_writable, asked.client, first.started_ns, last.started_ns, _FULL
            )
        else:
            waits = waits_of(calls, asked.client, asked.started_ns, _FULL)
        full = self._full(waits, asked.client, client, self._to_server)
        tape.cover(last.started_ns, Label("client writes the body", "http", "work"), full)
        self._arrive(last, self._request_end, everything)

    def _arrive(self, call: Call, end: Int64, applies: Flags) -> None:
        """From the client's call that wrote a message's last byte until the server has read it."""
        asked, tape = self._asked, self._tape
        message = Message(
            self._client_node, self._to_server, _shifted(end), call.started_ns, call.ended_ns
        )
        came_ns = self._network.fly(tape, message, applies)
        accepted_ns = self._connecting.wait_to_be_accepted(came_ns, applies)
        read(
            tape,
            self._calls,
            self._loops,
            connection=asked.server,
            process=asked.server_process,
            node=self._server_node,
            came_ns=np.maximum(came_ns, accepted_ns),
            end=end,
            applies=applies,
        )

    def _serve(self) -> None:
        """From the last byte read to the last byte of the answer written."""
        asked, tape, calls = self._asked, self._tape, self._calls
        nodes = self._server_node
        tape.advance(
            asked.asgi_started_ns, self._at(nodes, Label("server parses, calls", "asgi", "work"))
        )
        last = self._answered
        work: Kind = "queueing" if asked.multiplexed else "work"
        sends = asgi_calls(self._found.evidence, asked, "send", Label("in send()", "asgi", work))
        if not asked.multiplexed:
            waits = waits_of(calls, asked.server, asked.asgi_started_ns, _FULL)
            full = self._full(waits, asked.server, nodes, self._to_client)
            tape.cover(last.started_ns, Label("handler", "asgi", "work"), [*full, sends])
            return
        # What applications send lies with the server until it is the stream's turn.
        ends_ns = np.where(asked.asgi_ended_ns == NONE, last.started_ns, asked.asgi_ended_ns)
        left_ns = np.where(last.started_ns == NONE, NONE, np.minimum(ends_ns, last.started_ns))
        waits = shared_waits_of(
            calls.waits_writable, asked.server, asked.asgi_started_ns, last.started_ns, _FULL
        )
        full = self._full(waits, asked.server, nodes, self._to_client)
        tape.cover(
            left_ns,
            Label("handler", "asgi", "work"),
            [*(part.during(sends) for part in full), sends],
        )
        tape.cover(last.started_ns, Label("waits for its turn", "asgi", "queueing"), full)

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

    def _by_node(self, waits: Intervals, nodes: list[str]) -> list[Intervals]:
        """Intervals with the nodes that they were seen at."""
        names = np.array(nodes)[waits.request]
        return [
            waits.take(names == node, waits.label._replace(where=node))
            for node in np.unique(names).tolist()
        ]

    def _answer(self, everything: Flags) -> None:
        """From the last byte written to the last one read by the client."""
        self._return(self._answered, self._asked.response_end, everything)

    def _take(self) -> None:
        """From the last byte read until the client has the answer.

        httpcore's streams take turns at reading: one that waits for its answer keeps those waiting
        whose answers it has read already.
        """
        asked, tape = self._asked, self._tape
        done_ns = np.where(asked.failed, NONE, asked.ended_ns)
        takes = Label("client takes the answer", "http", "work")
        if not asked.multiplexed:
            tape.advance(done_ns, self._at(self._client_node, takes))
            return
        others = Label("another stream reads", "http", "queueing")
        waits = shared_waits_of(
            self._calls.waits_readable, asked.client, tape.cursor_ns, done_ns, others
        )
        tape.cover(done_ns, takes, self._by_node(waits, self._client_node))

    def _return(self, call: Call, end: Int64, applies: Flags) -> None:
        """From the server's call that wrote a message's last byte until the client has read it."""
        asked = self._asked
        message = Message(
            self._server_node, self._to_client, _shifted(end), call.started_ns, call.ended_ns
        )
        read(
            self._tape,
            self._calls,
            self._loops,
            connection=asked.client,
            process=list(asked.process),
            node=self._client_node,
            came_ns=self._network.fly(self._tape, message, applies),
            end=end,
            applies=applies,
        )


def _before(end: Int64) -> Int64:
    """The offset of a message's last byte."""
    return np.where(end == NONE, NONE, end - 1)


def _shifted(end: Int64) -> Int64:
    """A place among bytes as a place among sequence numbers."""
    return np.where(end == NONE, NONE, end + SYN_BYTES)

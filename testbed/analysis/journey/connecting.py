"""How requests got their connections: TCP's handshake, also one that was given up."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures import addresses
from testbed.analysis.journey.calls import Connections, SystemCalls
from testbed.analysis.journey.exchange import Exchanges
from testbed.analysis.journey.flight import Ends, Message, Network
from testbed.analysis.journey.loops import Loops
from testbed.analysis.journey.reading import wake
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.tape import Tape
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import connection_key

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SYN_BYTES: Final = 1
"""A SYN takes one sequence number before the first byte of the stream (RFC 9293, 3.4)."""
PREPARES: Final = Label("client prepares", "http", "work")
_DROPPED: Final = Label("accept queue full, SYN dropped", "socket", "backpressure")
_LAST_DROPPED: Final = Label("accept queue full, last ACK dropped", "socket", "backpressure")
_QUEUED: Final = Label("in the accept queue", "socket", "queueing")
_REFUSED: Final = Label("connection refused", "tcp", "work")


class Connecting:
    """Lays down the stages of handshakes."""

    def __init__(
        self,
        tape: Tape,
        asked: Exchanges,
        ends: Ends,
        *,
        connections: Connections,
        calls: SystemCalls,
        loops: Loops,
        network: Network,
    ) -> None:
        self._tape, self._asked, self.ends = tape, asked, ends
        self._connections, self._calls, self._loops = connections, calls, loops
        self._network = network
        roles = zip(connections.node, connections.role, strict=True)
        accepting = [node for node, role in roles if role == "server"]
        self._accepting = np.isin(np.array(ends.server), accepting)

    def lay(self, new: Flags) -> None:
        """The handshakes of new connections, until connect returns or is given up."""
        asked, tape, network = self._asked, self._tape, self._network
        tape.advance(asked.connect_started_ns, PREPARES, new)
        tape.advance(self._calls.connect_ns(asked.client), PREPARES, new)
        there, back = self._syns()
        known = self.ends.to_server != NONE
        in_vain = new & known & asked.failed & (asked.connect_ended_ns == NONE)
        self._in_vain(there, back, in_vain)
        new = new & ~in_vain
        came_ns = network.fly(tape, there, new)
        self._dropped(there, back, new, came_ns)
        came_ns = network.fly(tape, back, new)
        wait = self._calls.waits_connected.last_before(asked.client, asked.connect_ended_ns)
        process, node = list(asked.process), self.ends.client
        wake(tape, self._loops, wait, process, node, np.where(new, came_ns, NONE), wait.ended_ns)
        tape.advance(
            asked.connect_ended_ns,
            tape.codes(Label("connect returns", "syscall", "work"), node),
            new,
        )

    def _syns(self) -> tuple[Message, Message]:
        none = np.full(self._tape.count, NONE, np.int64)
        syn = np.full(self._tape.count, SYN_BYTES, np.int64)
        ends = self.ends
        return (
            Message(ends.client, ends.to_server, syn, none, none, handshake=True),
            Message(ends.server, ends.to_client, syn, none, none, handshake=True),
        )

    def _dropped(self, there: Message, back: Message, mine: Flags, came_ns: Int64) -> None:
        """The time from the first SYN that came to the one that was answered."""
        taken_ns = self._network.handshake_taken(there, back)
        dropped = mine & (came_ns != NONE) & (taken_ns > came_ns)
        self._tape.advance(taken_ns, self._tape.codes(_DROPPED, self.ends.server), dropped)

    def _in_vain(self, there: Message, back: Message, mine: Flags) -> None:
        """Handshakes that were refused or given up.

        A packet that came after the end was on its way until then. Of a server that cannot be seen,
        nothing is said.
        """
        tape, network, asked = self._tape, self._network, self._asked
        until_ns, server = asked.ended_ns, self.ends.server
        arrived = mine & (network.came_ns(there) != NONE)
        network.lose(tape, there, until_ns, mine & ~arrived)
        came_ns = network.fly(tape, there, arrived)
        reset = self._resets(arrived)
        refused = reset != NONE
        network.refuse(tape, server, np.where(refused, reset, NONE), tape.codes(_REFUSED, server))
        answered = arrived & ~refused & (network.first_sent_ns(back) != NONE)
        silent = arrived & ~refused & ~answered & asked.gave_up & network.sees(server)
        tape.advance(until_ns, tape.codes(_DROPPED, server), silent)
        self._dropped(there, back, answered, came_ns)
        returned = answered & (network.came_ns(back) != NONE)
        network.lose(tape, back, until_ns, answered & ~returned)
        network.fly(tape, back, returned)

    def wait_to_be_accepted(self, came_ns: Int64, applies: Flags) -> Int64:
        """From the coming of a message until the server had accepted its connection.

        Or until the client gave it up, where that server accepted others and never this one.

        Args:
            came_ns: when the message came to the server's host, or NONE.
            applies: requests.

        Returns:
            When the connections of these requests were accepted, if that was after it; else NONE.
        """
        asked, network, server = self._asked, self._network, self.ends.server
        opened_ns = np.append(self._connections.opened_ns, NONE)[asked.server]
        came = applies & (came_ns != NONE)
        late = came & (opened_ns > came_ns)
        never = came & asked.failed & (asked.server == NONE) & (came_ns < asked.ended_ns)
        never &= self._accepting & network.sees(server)
        waited = late | never
        if not waited.any():
            return np.full(came_ns.size, NONE, np.int64)
        answered_ns = network.answered_ns(self.ends, waited)
        taken_ns = network.established_ns(self.ends, answered_ns)
        ignored = never & ((answered_ns == NONE) | (answered_ns > asked.ended_ns))
        taken_ns = np.where(ignored, asked.ended_ns, taken_ns)
        codes = self._tape.codes(_LAST_DROPPED, server)
        self._tape.advance(taken_ns, codes, waited & (taken_ns > came_ns))
        until_ns = np.where(late, opened_ns, asked.ended_ns)
        self._tape.advance(until_ns, self._tape.codes(_QUEUED, server), waited)
        return np.where(late, opened_ns, NONE)

    def _resets(self, mine: Flags) -> Int64:
        """Per request the row, in the server's capture, of what refused its connection; or NONE."""
        rows = np.full(mine.size, NONE, np.int64)
        asked, ends = self._asked, self._connections.ends
        for place in np.flatnonzero(mine).tolist():
            deliveries = self._network.deliveries.get(self.ends.server[place])
            if deliveries is None:
                continue
            number = int(asked.client[place])
            local, local_port, remote, remote_port = ends[number]
            key = connection_key(
                addresses.key(remote), remote_port, addresses.key(local), local_port
            )
            opened_ns = int(self._connections.opened_ns[number])
            rows[place] = deliveries.reset_since(key, opened_ns, int(asked.ended_ns[place]))
        return rows

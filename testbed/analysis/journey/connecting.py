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

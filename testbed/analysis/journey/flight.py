"""From the system call that wrote a message's last byte to its arrival at the other host.

Hold at the sender, recovery if the first transmission did not come, then link by link: the relay's
or netem's wire, and in each node the queue and the transmission at the next link's capacity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.found import Found
from testbed.analysis.journey.delivery import Deliveries, Delivery
from testbed.analysis.journey.limits import PeerLimits
from testbed.analysis.journey.recovery import (
    HANDSHAKE,
    UNKNOWN,
    Recoveries,
    label,
    lost_where,
    socket_of,
)
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.tape import Tape
from testbed.analysis.journey.ways import Leg, Ways
from testbed.analysis.matching import NONE
from testbed.units import NS_PER_S

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PEER: Final = "by the peer's window"
PATH: Final = "by the path"
"""What holds data back in a send buffer: the peer does not make room, or the path does not take
more (the congestion window, pacing, and what lies before it in the buffer)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of each request, on its way; shape (requests,)."""

    node: list[str]
    """The sender, empty where it is not known."""
    stream: Int64
    """Of the sender's capture, or NONE."""
    end: Int64
    """Place in the stream after its last byte, SYN counted."""
    written_ns: Int64
    """When the system call that wrote its last byte began, or NONE for a handshake's."""
    returned_ns: Int64
    """When that call returned, or NONE."""
    handshake: bool = False


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of each request's connection; shape (requests,)."""

    client: list[str]
    server: list[str]
    """Its node, empty where it is not known."""
    to_server: Int64
    """The stream of what the client sent in its capture, or NONE."""
    to_client: Int64


class Network:
    """What flights are looked up in, of a whole run."""

    def __init__(self, found: Found) -> None:
        self.ways = Ways(found.evidence, found.passages, found.transits)
        self.deliveries = {host.node: Deliveries(host) for host in found.hosts}
        self._captures = found.evidence.captures
        samples = found.table("tcp")
        self.limits = PeerLimits(samples)
        self._recoveries = {host.node: Recoveries(host, samples) for host in found.hosts}

    def fly(self, tape: Tape, message: Message, applies: Flags) -> Int64:
        """Lays down the stages of one message; returns when each came, NONE: not seen."""
        came_ns = np.full(tape.count, NONE, np.int64)
        for _, deliveries, mine in self._by_sender(message, applies):
            stream = np.where(mine, message.stream, NONE)
            found = deliveries.lookup(stream, message.end)
            self._lay(tape, message, mine, deliveries, found)
            came_ns[mine] = found.came_ns[mine]
        unknown = applies & ~np.isin(np.array(message.node), list(self.deliveries))
        tape.advance(np.full(tape.count, NONE, np.int64), Label("", "tcp", "work"), unknown)
        return came_ns

    def lose(self, tape: Tape, message: Message, until_ns: Int64, applies: Flags) -> None:
        """Lays down the stages of a segment that never came, until somebody gives it up.

        Where it was not sent either, nothing.
        """
        for node, deliveries, mine in self._by_sender(message, applies):
            row_of, sent_ns = deliveries.first(np.where(mine, message.stream, NONE), message.end)
            sent = mine & (row_of != NONE) & (sent_ns < until_ns)
            tape.advance(sent_ns, Label("TCP sends", "tcp", "work", node), sent)
            rows = np.flatnonzero(sent)
            legs = self.ways.walk(node, row_of[rows])
            codes = np.zeros(tape.count, np.int64)
            how = HANDSHAKE if message.handshake else UNKNOWN
            for place, row in enumerate(rows):
                codes[row] = tape.code(label(how, lost_where(legs, self.ways, place)))
            tape.advance(until_ns, codes, sent)

    def refuse(self, tape: Tape, node: list[str], row: Int64, label: Int64) -> None:
        """Lays down the way of resets, from the coming of what they answer.

        Args:
            tape: is written to.
            node: that sent each.
            row: of its capture, or NONE.
            label: of the time until it was sent.
        """
        nodes = np.array(node)
        for name, deliveries in self.deliveries.items():
            mine = (row != NONE) & (nodes == name)
            if mine.any():
                rows = np.where(mine, row, NONE)
                sent_ns = np.append(deliveries.host.packets.t_ns, NONE)[rows]
                tape.advance(sent_ns, label, mine)
                for leg in self.ways.walk(name, rows):
                    self._cross(tape, leg, mine)

    def sees(self, node: list[str]) -> Flags:
        """Whether all that these nodes sent was captured."""
        whole = [name for name in self.deliveries if self._captures[name].whole]
        return np.isin(np.array(node), whole)

    def answered_ns(self, ends: Ends, applies: Flags) -> Int64:
        """When each server sent its first segment after its SYN-ACKs; NONE: not seen."""
        found = np.full(applies.size, NONE, np.int64)
        for place in np.flatnonzero(applies).tolist():
            server = self.deliveries.get(ends.server[place])
            if server is not None:
                found[place] = server.first_after_syn_ns(int(ends.to_client[place]))
        return found

    def established_ns(self, ends: Ends, answered_ns: Int64) -> Int64:
        """When what finally made each connection came to its server.

        While its accept queue is full, a server drops the last ACK of the handshake and the data
        that come after it (tcp_v4_syn_recv_sock, net/ipv4/tcp_ipv4.c), and they come again. It has
        the connection from what came last before its first segment without SYN.

        Args:
            ends: of the connections.
            answered_ns: when the server sent that, or NONE.

        Returns:
            NONE where it was the first to come, or was not seen.
        """
        found = np.full(answered_ns.size, NONE, np.int64)
        for place in np.flatnonzero(answered_ns != NONE).tolist():
            client = self.deliveries.get(ends.client[place])
            if client is not None:
                came_ns = client.repeated_until_ns(
                    int(ends.to_server[place]), int(answered_ns[place])
                )
                found[place] = came_ns
        return found

    def came_ns(self, message: Message) -> Int64:
        """When each message came; NONE: not seen."""
        times = np.full(message.stream.size, NONE, np.int64)
        for _, deliveries, mine in self._by_sender(message, message.stream != NONE):
            stream = np.where(mine, message.stream, NONE)
            times[mine] = deliveries.lookup(stream, message.end).came_ns[mine]
        return times

    def first_sent_ns(self, message: Message) -> Int64:
        """When each message was sent first, also if it never came; NONE: not seen."""
        times = np.full(message.stream.size, NONE, np.int64)
        for _, deliveries, mine in self._by_sender(message, message.stream != NONE):
            stream = np.where(mine, message.stream, NONE)
            times[mine] = deliveries.first(stream, message.end)[1][mine]
        return times

    def _by_sender(
        self, message: Message, applies: Flags
    ) -> Iterator[tuple[str, Deliveries, Flags]]:
        nodes = np.array(message.node)
        for name, deliveries in self.deliveries.items():
            mine = applies & (nodes == name)
            if mine.any():
                yield name, deliveries, mine

    def _lay(
        self, tape: Tape, message: Message, mine: Flags, source: Deliveries, found: Delivery
    ) -> None:
        node = source.host.node
        tape.advance(found.first_sent_ns, self._holds(tape, message, mine, source, found), mine)
        again = mine & (found.row != found.first_row)
        tape.advance(found.sent_ns, self._recovered(tape, message, again, node, found), again)
        rows = np.where(mine, found.row, NONE)
        for leg in self.ways.walk(node, rows):
            self._cross(tape, leg, mine)

    def _holds(
        self, tape: Tape, message: Message, mine: Flags, source: Deliveries, found: Delivery
    ) -> Int64:
        """Per request the label of the time until its last byte first left the sender."""
        node = source.host.node
        codes = np.full(tape.count, tape.code(Label("TCP sends", "tcp", "work", node)))
        if message.handshake:
            return codes
        late = mine & (found.first_sent_ns > message.returned_ns) & (message.returned_ns != NONE)
        codes[late] = tape.code(Label("in the send buffer", "tcp", "queueing", node, PATH))
        start = np.where(message.written_ns == NONE, tape.cursor_ns, message.written_ns)
        stream = np.where(late, found.stream, NONE)
        again = np.zeros(tape.count, np.bool_)
        for row, one in self.recovering(node, stream, start, found.first_sent_ns):
            codes[row], again[row] = tape.code(one), True
        held = np.flatnonzero(late & ~again)
        packets, rows = source.host.packets, found.first_row[held]
        sockets = [socket_of(node, packets, int(row)) for row in rows]
        by_peer = self.limits.most(sockets, start[held], found.first_sent_ns[held])
        codes[held[by_peer]] = tape.code(
            Label("in the send buffer", "tcp", "backpressure", node, PEER)
        )
        return codes

    def handshake_taken(self, there: Message, back: Message) -> Int64:
        """When the SYN came that was answered, where others had come before it; else NONE."""
        taken_ns = np.full(there.stream.size, NONE, np.int64)
        clients, servers = np.array(there.node), np.array(back.node)
        for client, server in {*zip(there.node, back.node, strict=True)}:
            if client in self.deliveries and server in self.deliveries:
                mine = (clients == client) & (servers == server)
                stream = np.where(mine, back.stream, NONE)
                answered_ns = self.deliveries[server].lookup(stream, back.end).first_sent_ns
                stream = np.where(mine, there.stream, NONE)
                taken_ns[mine] = self.deliveries[client].syn_before(stream, answered_ns)[mine]
        return taken_ns

    def recovering(
        self, node: str, stream: Int64, started_ns: Int64, ended_ns: Int64
    ) -> Iterator[tuple[int, Label]]:
        """Those of many times in which a segment of the stream was being brought back mostly.

        Args:
            node: the sender.
            stream: of its capture, of each time; NONE: not known.
            started_ns: of each time.
            ended_ns: likewise.

        Returns:
            The place of the time, and the stage of its recovery.
        """
        if node not in self.deliveries:
            return
        first, again = self.deliveries[node].brought_back(stream, started_ns, ended_ns)
        legs = self.ways.walk(node, first)
        for place in np.flatnonzero(again != NONE):
            how = self._recoveries[node].how(int(first[place]), int(again[place]), handshake=False)
            yield int(place), label(how, lost_where(legs, self.ways, int(place)))

    def _recovered(
        self, tape: Tape, message: Message, again: Flags, node: str, found: Delivery
    ) -> Int64:
        codes = np.zeros(tape.count, np.int64)
        rows = np.flatnonzero(again)
        if not rows.size:
            return codes
        legs = self.ways.walk(node, found.first_row[rows])
        recoveries = self._recoveries[node]
        for place, row in enumerate(rows):
            how = recoveries.how(
                int(found.first_row[row]), int(found.row[row]), handshake=message.handshake
            )
            codes[row] = tape.code(label(how, lost_where(legs, self.ways, place)))
        return codes

    def _cross(self, tape: Tape, leg: Leg, mine: Flags) -> None:
        """One link, and the node behind it if there is one that passes packets on."""
        there = mine & (leg.passage != NONE)
        for number in np.unique(leg.passage[there]):
            way = self.ways.passages[int(number)].way
            name = f"{way.settings.sender}-{way.settings.receiver}"
            here = there & (leg.passage == number)
            if way.link.wire == "relay":
                tape.advance(leg.read_ns, Label("relay reads", "link", "scheduling", name), here)
                tape.advance(leg.due_ns, self._wire_label(int(number), name), here)
                tape.advance(leg.received_ns, Label("relay late", "link", "scheduling", name), here)
            else:
                tape.advance(leg.received_ns, self._wire_label(int(number), name), here)
        self._pass_on(tape, leg, there & (leg.left_ns != NONE))

    def _wire_label(self, number: int, name: str) -> Label:
        passage = self.ways.passages[number]
        if passage.way.settings.trace is not None:
            return Label("on the wire, its queue included", "link", "queueing", name)
        return Label("on the wire", "link", "propagation", name)

    def _pass_on(self, tape: Tape, leg: Leg, there: Flags) -> None:
        for number in np.unique(leg.next_passage[there]):
            here = there & (leg.next_passage == number)
            if number == NONE:
                tape.advance(leg.left_ns, Label("forwarded", "ip", "work"), here)
                continue
            settings = self.ways.passages[int(number)].way.settings
            name = f"{settings.sender}-{settings.receiver}"
            sending_ns = self._transmission_ns(int(number), leg, here)
            # Quicker than its bits take: it did not wait for the shaper, whose bucket had tokens.
            paced = here & (sending_ns > 0) & (leg.left_ns - leg.received_ns >= sending_ns)
            tape.advance(
                leg.left_ns, Label("forwarded", "ip", "work", settings.sender), here & ~paced
            )
            begun = np.where(paced, leg.left_ns - sending_ns, NONE)
            tape.advance(begun, Label("in the queue", "qdisc", "queueing", name), paced)
            tape.advance(leg.left_ns, Label("sent bit by bit", "link", "transmission", name), paced)

    def _transmission_ns(self, number: int, leg: Leg, here: Flags) -> Int64:
        """How long each packet's bits take at the capacity of its next link; 0: not shaped."""
        periods = self.ways.passages[number].periods
        found = np.zeros(here.size, np.int64)
        at = periods.during(np.where(here, leg.left_ns, 0))
        for place, settings in enumerate(periods.settings):
            if settings.capacity_bit_s and settings.trace is None:
                mine = here & (at == place)
                found[mine] = leg.size_bytes[mine] * 8 * NS_PER_S // settings.capacity_bit_s
        return found

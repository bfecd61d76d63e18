"""Rule: a connection that may still send keeps the network from being quiet; one in TIME_WAIT, a
listener and a closed socket do not.
"""

from __future__ import annotations

import struct

from testbed.live.drain import _SILENT, _longest_way_ns, _states
from testbed.network.topology import Topo
from tests.support.data import pasted
from tests.unit.plans import MS, plan_of

LISTEN, ESTABLISHED, CLOSE_WAIT, FIN_WAIT2, TIME_WAIT, CLOSE = 10, 1, 8, 5, 6, 7
"""include/net/tcp_states.h"""
SOCK_DIAG_BY_FAMILY, NLMSG_DONE = 20, 3
REPLY = bytes.fromhex(pasted("inet_diag_server.txt"))


def message(kind: int, body: bytes) -> bytes:
    padding = b"\0" * (-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body + padding


def test_a_real_reply_has_the_state_of_each_socket_in_its_order() -> None:
    assert _states(REPLY) == [LISTEN, ESTABLISHED, ESTABLISHED, CLOSE_WAIT, FIN_WAIT2, ESTABLISHED]


def test_an_empty_reply_has_none() -> None:
    assert _states(message(NLMSG_DONE, b"\0" * 4)) == []


def test_messages_of_any_length_are_passed_over() -> None:
    reply = b"".join(
        [
            message(SOCK_DIAG_BY_FAMILY, bytes([2, TIME_WAIT]) + b"\0" * 71),
            message(0x1234, b"\x01\x01\x01"),
            message(SOCK_DIAG_BY_FAMILY, bytes([2, ESTABLISHED]) + b"\0" * 70),
            message(NLMSG_DONE, b"\0" * 4),
        ]
    )
    assert _states(reply) == [TIME_WAIT, ESTABLISHED]


def test_a_reply_that_was_cut_ends_where_it_was_cut() -> None:
    # The last message here is NLMSG_DONE (20 bytes); the one before is the sixth socket.
    assert _states(REPLY[: -20 - 460 + 17]) == [
        LISTEN, ESTABLISHED, ESTABLISHED, CLOSE_WAIT, FIN_WAIT2,
    ]  # fmt: skip


def test_only_what_cannot_send_any_more_is_silent() -> None:
    assert {LISTEN, TIME_WAIT, CLOSE} == _SILENT


def test_the_longest_way_has_two_links_of_hosts_at_most() -> None:
    def build(topo: Topo) -> None:
        topo.addSwitch("s1")
        topo.addSwitch("s2")
        topo.addLink("s1", "s2", delay="100ms")
        for number in range(1, 6):
            topo.addHost(f"h{number}")
            topo.addLink(f"h{number}", "s1", forward=f"delay {number}ms")

    assert _longest_way_ns(plan_of(build)) == (2 * 100 + 4 + 5) * MS

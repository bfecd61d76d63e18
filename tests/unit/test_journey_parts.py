"""What journeys are looked up in: calls by offset, loops by time, deliveries by place."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from testbed.analysis.captures import addresses
from testbed.analysis.journey.calls import Call, Connections, SystemCalls, Transfers, Waits
from testbed.analysis.journey.delivery import Deliveries
from testbed.analysis.journey.exchange import MOST_STREAMS, Streams, shared_waits_of, slot_until
from testbed.analysis.journey.limits import PeerLimits
from testbed.analysis.journey.loops import Loops
from testbed.analysis.journey.recovery import FAST, PROBE, TIMEOUT, UNKNOWN, judge
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.tape import Intervals
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import connection_key, connection_keys
from testbed.units import NS_PER_MS
from tests.builders import frames as f
from tests.builders.captures import columns
from tests.builders.tcp_streams import A, B, host, packet

Int64 = npt.NDArray[np.int64]


def array(*values: int) -> Int64:
    return np.array(values, np.int64)


class TestCalls:
    def test_the_call_that_moved_a_byte(self) -> None:
        found = Transfers(
            array(1, 0, 0), array(0, 100, 0), array(50, 20, 100),
            Call(array(30, 20, 10), array(35, 25, 15)),
        )  # fmt: skip
        asked = found.covering(array(0, 0, 0, 0, 1, NONE, 0), array(0, 99, 100, 120, 49, 0, NONE))
        assert asked.started_ns.tolist() == [10, 10, 20, NONE, 30, NONE, NONE]
        assert asked.ended_ns.tolist() == [15, 15, 25, NONE, 35, NONE, NONE]

    def test_how_far_a_connection_was_by_a_time(self) -> None:
        found = Transfers(
            array(1, 0, 0), array(0, 100, 0), array(50, 20, 100),
            Call(array(30, 20, 10), array(35, 25, 15)),
        )  # fmt: skip
        asked = found.moved_by(array(0, 0, 0, 0, 1, 2, NONE), array(14, 15, 24, 99, 35, 99, 9))
        assert asked.tolist() == [NONE, 100, 100, 120, 50, NONE, NONE]

    def test_no_call_moved_anything(self) -> None:
        nothing = array()
        found = Transfers(nothing, nothing, nothing, Call(nothing, nothing))
        assert found.covering(array(0, 1), array(0, 5)).started_ns.tolist() == [NONE, NONE]

    def test_the_last_wait_before_a_time(self) -> None:
        waits = Waits(array(0, 1, 0), Call(array(10, 15, 30), array(20, 25, 40)))
        asked = waits.last_before(array(0, 0, 0, 1, 2, NONE), array(19, 20, 99, 25, 50, 50))
        assert asked.ended_ns.tolist() == [NONE, 20, 40, 25, NONE, NONE]
        assert asked.started_ns.tolist() == [NONE, 10, 30, 15, NONE, NONE]

    def test_the_peer_of_a_connection(self) -> None:
        rows = [
            ("client", "client", 1, "10.0.0.1", 4000, "10.0.0.2", 80, 100),
            ("server", "server", 7, "10.0.0.2", 80, "10.0.0.1", 4000, 140),
            ("server", "server", 8, "10.0.0.2", 80, "10.0.0.1", 4000, 900),
            ("client", "client", 2, "10.0.0.1", 4000, "10.0.0.2", 80, 800),
            ("client", "client", 3, "10.0.0.1", 4001, "10.0.0.2", 80, 100),
            ("client", "client", 4, "10.0.0.1", 4000, "10.0.0.2", 80, 300),
            ("client", "client", 5, "10.0.0.1", 4000, "10.0.0.2", 80, 950),
            ("server", "server", 1, "0.0.0.0", 80, None, None, 1),
        ]  # fmt: skip
        names = ("process", "role", "connection", "local_address", "local_port", "remote_address",
                 "remote_port", "opened_ns")  # fmt: skip
        table = pl.DataFrame(rows, schema=names, orient="row").with_columns(node="process")
        found = Connections(table)
        assert found.count == 7, "a listener is none"
        assert found.peer(found.number("client", 1)) == found.number("server", 7)
        assert found.peer(found.number("client", 2)) == found.number("server", 8)
        assert found.peer(found.number("client", 3)) == NONE
        assert found.peer(found.number("client", 4)) == NONE, "the next one was"
        assert found.peer(found.number("client", 5)) == NONE, "the one before was"
        assert found.number("client", None) == NONE

    def test_when_connect_was_called_first(self) -> None:
        names = ("process", "connection", "call", "started_ns", "ended_ns", "bytes", "offset_bytes")
        rows = [
            ("client", 1, "connect", 10, 12, 0, None), ("client", 1, "connect", 20, 22, 0, None),
            ("client", 2, "send", 30, 35, 5, 0),
        ]  # fmt: skip
        ends = ("local_address", "local_port", "remote_address", "remote_port", "opened_ns")
        sockets = pl.DataFrame(
            [("client", "client", number, "a", number, "b", 80, 1) for number in (1, 2)],
            schema=("process", "role", "connection", *ends),
            orient="row",
        ).with_columns(node="process")
        schema = dict.fromkeys(names, pl.Int64) | {"process": pl.String, "call": pl.String}
        calls = SystemCalls(Connections(sockets), pl.DataFrame(rows, schema=schema, orient="row"))
        assert calls.connect_ns(array(0, 1, NONE)).tolist() == [10, NONE, NONE]


class TestPool:
    """Three requests of one process over one slot, and one of another process."""

    process: ClassVar = ["a", "a", "a", "b"]

    def test_a_request_waits_until_the_one_before_it_has_ended(self) -> None:
        until = slot_until(
            self.process, array(0, 10, 20, 20), array(1, 101, 205, 21), array(100, 200, 300, 22)
        )
        assert until.tolist() == [NONE, 100, 200, NONE]

    def test_with_room_in_the_pool_nobody_waits(self) -> None:
        until = slot_until(
            self.process, array(0, 10, 150, 20), array(1, 11, 151, NONE), array(100, 200, 300, 400)
        )
        assert until.tolist() == [NONE, NONE, NONE, NONE]


class TestStreams:
    """What requests that share an HTTP/2 connection wait for before theirs can begin."""

    @staticmethod
    def made(**columns: list[int | None]) -> pl.DataFrame:
        names = ("connect_ended_ns", "tls_ended_ns", "settings_ns")
        size = len(next(iter(columns.values())))
        return pl.DataFrame(
            {name: pl.Series(columns.get(name, [None] * size), dtype=pl.Int64) for name in names}
        )

    def test_they_wait_for_the_connection_and_then_for_the_settings(self) -> None:
        table = self.made(
            connect_ended_ns=[40, None, None],
            tls_ended_ns=[80, None, None],
            settings_ns=[120, None, None],
        )
        found = Streams(
            table, array(5, 5, 5), array(0, 1, 300), array(2, 121, 301), array(130, 160, 340)
        )
        assert found.connected_ns.tolist() == [NONE, 80, NONE]
        assert found.until_ns.tolist() == [NONE, 120, NONE]

    def test_another_connection_is_nothing_to_them(self) -> None:
        table = self.made(connect_ended_ns=[40, None], settings_ns=[60, None])
        found = Streams(table, array(5, NONE), array(0, 1), array(2, 50), array(100, 100))
        assert found.connected_ns.tolist() == found.until_ns.tolist() == [NONE, NONE]

    def test_beyond_the_most_at_once_one_waits_for_the_end_of_another(self) -> None:
        others = MOST_STREAMS
        started, acquired = [0] * others + [10], [1] * others + [51]
        ended = [50, *[200] * (others - 1), 300]
        connection = array(*[7] * (others + 1))
        found = Streams(
            self.made(settings_ns=[None] * (others + 1)),
            connection, array(*started), array(*acquired), array(*ended),
        )  # fmt: skip
        assert found.until_ns.tolist() == [NONE] * others + [50]


class TestSharedWaits:
    waits = Waits(array(1, 1, 2), Call(array(10, 30, 10), array(20, 40, 20)))
    label = Label("send buffer full", "socket", "backpressure")

    def test_each_is_every_requests_that_needed_the_socket_meanwhile(self) -> None:
        found = shared_waits_of(
            self.waits, array(1, 1, 1, 2, NONE, 1), array(0, 15, 20, 0, 0, NONE),
            array(50, 35, 30, 9, 50, 50), self.label,
        )  # fmt: skip
        pairs = zip(found.request.tolist(), found.started_ns.tolist(), strict=True)
        assert sorted(pairs) == [(0, 10), (0, 30), (1, 10), (1, 30)]
        assert found.label == self.label

    def test_without_waits_there_are_none(self) -> None:
        empty = Waits(array(), Call(array(), array()))
        found = shared_waits_of(empty, array(1), array(0), array(9), self.label)
        assert found.request.size == found.started_ns.size == 0

    def test_what_of_them_lies_in_others_of_the_same_request(self) -> None:
        waits = Intervals(array(0, 0, 1), array(10, 30, 10), array(20, 40, 20), self.label)
        sends = Intervals(array(0, 0, 2), array(5, 18, 0), array(12, 35, 99), self.label)
        found = waits.during(sends)
        spans = zip(found.request, found.started_ns, found.ended_ns, strict=True)
        assert sorted(spans) == [(0, 10, 12), (0, 18, 20), (0, 30, 35)]


class TestLoops:
    @pytest.fixture
    def loops(self) -> Loops:
        rows = [("s", "io_wait", 10, 20), ("s", "step", 20, 30), ("s", "io_wait", 30, 50)]
        names = ("process", "kind", "started_ns", "ended_ns")
        return Loops(pl.DataFrame(rows, schema=names, orient="row"))

    def test_the_next_poll(self, loops: Loops) -> None:
        poll = loops.next_poll(["s", "s", "s", "x", None], array(15, 25, 51, 15, 15))
        assert poll.started_ns.tolist() == [10, 30, NONE, NONE, NONE]
        assert poll.ended_ns.tolist() == [20, 50, NONE, NONE, NONE]

    def test_idle_time(self, loops: Loops) -> None:
        since, to = array(0, 15, 12, 22, 40, 0), array(100, 45, 14, 28, NONE, 5)
        idle = loops.idle_ns(["s"] * 6, since, to)
        assert idle.tolist() == [30, 20, 2, 0, NONE, 0]

    def test_without_a_probe(self) -> None:
        assert Loops(None).idle_ns(["s"], array(0), array(9)).tolist() == [NONE]


class TestPeerLimits:
    def test_most_of_a_time(self) -> None:
        names = ("node", "local_port", "remote_address", "remote_port", "t_ns",
                 "receive_window_limited_ns")  # fmt: skip
        rows = [
            ("s", 80, "10.0.0.1", 4000, 0, 0), ("s", 80, "10.0.0.1", 4000, 100, 60),
            ("s", 80, "10.0.0.1", 4000, 200, 60),
            ("s", 80, "10.0.0.2", 4000, 0, 0), ("s", 80, "10.0.0.2", 4000, 200, 0),
        ]  # fmt: skip
        limits = PeerLimits(pl.DataFrame(rows, schema=names, orient="row"))
        socket, other = (("s", 80, addresses.key(f"10.0.0.{n}"), 4000) for n in (1, 2))
        found = limits.most([socket, socket, None, ("s", 80, 0, 1), other], *(
            array(*x) for x in ((0, 100, 0, 0, 0), (100, 200, 100, 100, 100))
        ))  # fmt: skip
        assert found.tolist() == [True, False, False, False, False], "clients share ports by chance"


class TestDeliveries:
    def test_a_byte_is_there_when_all_before_it_are(self, tmp_path: Path) -> None:
        # SYN, 0..100, 100..200 (lost), 200..300, and 100..200 again.
        packets = columns(
            tmp_path,
            [packet(9, 0, flags=f.SYN), *(packet(10 + at, 100) for at in (0, 100, 200, 100))],
        )
        found = Deliveries(host(packets, [15, 25, NONE, 35, 95], [10, 20, 21, 22, 80]))
        at = found.lookup(array(0, 0, 0, 0, 0, NONE), array(1, 101, 102, 201, 301, 1))
        assert at.came_ns.tolist() == [15, 25, 95, 95, 95, NONE]
        assert at.row.tolist() == [0, 1, 4, 4, 4, NONE]
        assert at.first_row.tolist() == [0, 1, 2, 2, 2, NONE]
        assert at.sent_ns.tolist() == [10, 20, 80, 80, 80, NONE]
        assert at.first_sent_ns.tolist() == [10, 20, 21, 21, 21, NONE]

    def test_what_never_came_is_not_delivered_nor_is_what_follows(self, tmp_path: Path) -> None:
        packets = columns(tmp_path, [packet(10, 100), packet(110, 100), packet(210, 100)])
        found = Deliveries(host(packets, [15, NONE, 35], [10, 20, 30]))
        at = found.lookup(array(0, 0, 0), array(100, 101, 300))
        assert at.came_ns.tolist() == [15, NONE, NONE]

    def test_nothing_was_sent_there(self, tmp_path: Path) -> None:
        packets = columns(tmp_path, [packet(10, 100)])
        found = Deliveries(host(packets, [15], [10]))
        at = found.lookup(array(0, 3), array(500, 1))
        assert at.came_ns.tolist() == [NONE, NONE]

    def test_the_stream_of_a_connection(self, tmp_path: Path) -> None:
        frames = [packet(9, 0, flags=f.SYN), packet(10, 100), packet(900, 0, flags=f.SYN)]
        packets = columns(tmp_path, frames)
        ms = NS_PER_MS
        found = Deliveries(host(packets, [15, 25, 35], [10 * ms, 20 * ms, 50 * ms]))
        key = int(connection_keys(packets)[0])
        assert key == connection_key(*(int(x) for x in (
            packets.source[0], A, packets.destination[0], B,
        )))  # fmt: skip
        assert found.stream_since(key, 10 * ms) == 0
        assert found.stream_since(key, 30 * ms) == 1
        assert found.stream_since(key, 60 * ms) == NONE
        assert found.stream_since(key + 1, 0) == NONE

    def test_the_syn_that_was_answered(self, tmp_path: Path) -> None:
        syn = packet(9, 0, flags=f.SYN)
        packets = columns(tmp_path, [syn, syn, syn, packet(900, 0, flags=f.SYN)])
        found = Deliveries(host(packets, [15, 25, 35, 45], [10, 20, 30, 40]))
        asked = found.syn_before(array(0, 0, 0, 0, 1, NONE), array(14, 24, 99, NONE, 99, 99))
        assert asked.tolist() == [NONE, 15, 35, NONE, NONE, NONE]

    def test_what_was_being_brought_back_for_most_of_a_time(self, tmp_path: Path) -> None:
        packets = columns(tmp_path, [packet(10, 100), packet(110, 100), packet(10, 100)])
        found = Deliveries(host(packets, [NONE, 25, 95], [10, 20, 80]))
        first, again = found.brought_back(
            array(0, 0, 0, 0, NONE), array(15, 81, 0, 70, 0), array(90, 99, 30, 91, 99)
        )
        assert first.tolist() == [0, NONE, 0, NONE, NONE]
        assert again.tolist() == [2, NONE, 2, NONE, NONE]

    def test_what_came_before_it_was_sent_again_needed_no_recovery(self, tmp_path: Path) -> None:
        packets = columns(tmp_path, [packet(10, 100), packet(110, 100), packet(10, 100)])
        found = Deliveries(host(packets, [90, 25, 95], [10, 20, 80]))
        first, _ = found.brought_back(array(0), array(15), array(90))
        assert first.tolist() == [NONE]


def sample(state: str = "Open", total_rto: int | None = 0) -> dict[str, object]:
    return {"congestion_state": state, "total_rto": total_rto}


@pytest.mark.parametrize(
    ("before", "after", "acked", "expected"),
    [
        pytest.param(sample(), sample("Loss", 1), False, TIMEOUT, id="counted"),
        pytest.param(None, sample("Open", 1), True, TIMEOUT, id="counted, the first sample"),
        pytest.param(sample("Open", 1), sample("Recovery", 1), False, FAST, id="an earlier one"),
        pytest.param(sample("Open", None), sample("Loss", None), False, TIMEOUT, id="not counted"),
        pytest.param(sample("Loss", 1), sample("Loss", 1), False, TIMEOUT, id="after the first"),
        pytest.param(sample("Loss", 1), sample("Open", 1), True, TIMEOUT, id="the last after it"),
        pytest.param(sample(), sample("Open"), True, FAST, id="SACK had come"),
        pytest.param(sample(), sample("Open"), False, PROBE, id="nothing had come"),
        pytest.param(None, None, True, FAST, id="no sample, SACK"),
        pytest.param(None, None, False, UNKNOWN, id="no sample"),
    ],
)
def test_how_a_segment_was_brought_back(
    before: dict[str, object] | None, after: dict[str, object] | None, acked: bool, expected: str
) -> None:
    assert judge(before, after, acked) == expected

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.captures import Packets
from testbed.analysis.metrics.streams import Streams, streams
from testbed.analysis.metrics.tcp import (
    CORRUPTED,
    Explained,
    Stretches,
    arrivals,
    duplicate_acks,
    explain,
    overtaken,
    retransmitted,
    zero_windows,
)
from tests.builders import frames as f
from tests.builders.captures import columns

MSS = 100


def packet(sequence: int, payload: int = MSS, *, port: int = 1000, **tcp: object) -> bytes:
    content = f.tcp(port, 80, sequence, payload=bytes(payload), **tcp)  # type: ignore[arg-type]
    ip = f.ipv4("10.0.0.1", "10.0.0.2", 6, content)
    return f.ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, ip)


def segments(*places: tuple[int, int], stream: int = 0) -> Streams:
    """Segments from (start, end) in the order given."""
    numbers = np.array(places, np.int64).reshape(-1, 2)
    rows = np.arange(len(numbers))
    return Streams(rows, np.full(len(numbers), stream), numbers[:, 0], numbers[:, 1])


def fates(*arrived: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(arrived, np.int64)


class TestStreams:
    def test_offsets_survive_the_wrap_of_sequence_numbers(self, tmp_path: Path) -> None:
        first = 2**32 - 150
        found = streams(columns(tmp_path, [packet(first + n * MSS) for n in range(5)]))
        assert found.start.tolist() == [0, 100, 200, 300, 400]
        assert found.end.tolist() == [100, 200, 300, 400, 500]

    def test_syn_and_fin_take_a_number_and_resets_are_left_out(self, tmp_path: Path) -> None:
        found = streams(
            columns(
                tmp_path,
                [
                    packet(9, 0, flags=f.SYN),
                    packet(10),
                    packet(110, 0),
                    packet(110, 0, flags=f.FIN | f.ACK),
                    packet(0, 0, flags=f.RST),
                ],
            )
        )
        assert found.row.tolist() == [0, 1, 2, 3]
        assert found.start.tolist() == [0, 1, 101, 101]
        assert found.carries.tolist() == [True, True, False, True]

    def test_ports_that_are_used_again_begin_a_new_stream(self, tmp_path: Path) -> None:
        packets = [
            packet(100, 0, flags=f.SYN),
            packet(100, 0, flags=f.SYN),  # the same handshake, sent again
            packet(101),
            packet(5, port=2000),
            packet(90_000, 0, flags=f.SYN),  # another one
            packet(90_001),
        ]
        found = streams(columns(tmp_path, packets))
        by_row = dict(zip(found.row.tolist(), found.stream.tolist(), strict=True))
        assert by_row[0] == by_row[1] == by_row[2]
        assert by_row[4] == by_row[5] != by_row[0]
        assert by_row[3] not in (by_row[0], by_row[4])
        assert retransmitted(found.take(found.carries)).sum() == 1

    def test_only_the_marked_rows(self, tmp_path: Path) -> None:
        packets = columns(tmp_path, [packet(0), packet(100), packet(200)])
        found = streams(packets, np.array([True, False, True]))
        assert found.row.tolist() == [0, 2]
        assert streams(packets, np.zeros(3, np.bool_)).row.size == 0


class TestExplain:
    def test_each_kind(self) -> None:
        sent = segments((0, 100), (100, 200), (200, 300), (0, 100), (100, 200), (200, 300))
        found = explain(sent, fates(0, 1, -1, 1, 1, 1))
        assert found == Explained(3, explained_by_loss=1, spurious=1, unexplained=1)

    def test_a_lost_retransmission_explains_the_next_one(self) -> None:
        sent = segments((0, 100), (0, 100), (0, 100), (0, 100))
        assert explain(sent, fates(0, 0, 1, 1)) == Explained(3, 2, 1, 0)

    def test_one_big_retransmission_of_a_lost_and_an_arrived_segment(self) -> None:
        sent = segments((0, 100), (100, 200), (0, 200))
        assert explain(sent, fates(1, 0, 1)) == Explained(1, 1, 0, 0)
        assert explain(sent, fates(1, 1, 1)) == Explained(1, 0, 1, 0)

    def test_new_bytes_at_the_end_of_a_retransmission_explain_nothing(self) -> None:
        sent = segments((0, 100), (50, 150))
        assert explain(sent, fates(1, 0)) == Explained(1, 0, 1, 0)

    def test_streams_do_not_mix(self) -> None:
        one, two = segments((0, 100), (100, 200)), segments((0, 100), (100, 200), stream=1)
        both = Streams(
            *(
                np.concatenate((getattr(one, n), getattr(two, n)))
                for n in ("row", "stream", "start", "end")
            )
        )
        assert explain(both, fates(0, 1, 1, 1)).retransmissions == 0

    def test_nothing(self) -> None:
        assert explain(segments(), fates()) == Explained(0, 0, 0, 0)

    def test_a_corrupted_segment_never_arrived(self) -> None:
        sent = segments((0, 100), (100, 200), (0, 100), (100, 200))
        found = explain(sent, fates(CORRUPTED, 0, 1, 1))
        assert found == Explained(2, 1, 0, 0, explained_by_corruption=1)

    def test_of_spurious_ones_those_of_overtaken_segments_are_told(self) -> None:
        sent = segments((0, 100), (100, 200), (0, 100), (100, 200))
        late = np.array([True, False, False, False])
        found = explain(sent, fates(1, 1, 1, 1), late)
        assert found == Explained(2, 0, 2, 0, spurious_by_reordering=1)

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.booleans()), max_size=20))
    def test_overtaken_against_pairs(self, sent: list[tuple[int, int, bool]]) -> None:
        sent = sorted(sent, key=lambda one: one[0])
        stream, when, came = (
            (np.array(column) for column in zip(*sent, strict=True))
            if sent
            else (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
        )
        nothing = np.zeros(len(sent), np.int64)
        found = overtaken(Streams(nothing, stream, nothing, nothing), when, came)
        expected = [
            arrived
            and any(
                other == mine and there and then < time for other, then, there in sent[place + 1 :]
            )
            for place, (mine, time, arrived) in enumerate(sent)
        ]
        assert found.tolist() == expected

    @given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from([0, 1]))))
    def test_against_byte_by_byte(self, sent: list[tuple[int, int, int]]) -> None:
        places = [(start, start + length) for start, length, _ in sent]
        retransmissions = by_loss = 0
        highest = None
        for index, (start, end) in enumerate(places):
            if highest is not None and start < highest:
                retransmissions += 1
                earlier = [
                    (b, arrived)
                    for (a, z), (_, _, arrived) in zip(places[:index], sent, strict=False)
                    for b in range(a, z)
                ]
                old = {b for b in range(start, end) if any(b == x for x, _ in earlier)}
                by_loss += any((b, 1) not in earlier for b in old)
            highest = end if highest is None else max(highest, end)
        found = explain(segments(*places), fates(*(arrived for _, _, arrived in sent)))
        # A segment below the highest that fills a gap was never sent before: nothing to explain.
        assert found.retransmissions == retransmissions
        assert found.explained_by_loss == by_loss
        assert found.unexplained == 0


class TestArrivals:
    def test_23_segments_behind_a_hole(self) -> None:
        came = [(0, 10)] + [(10 * n, 10 * n + 10) for n in range(2, 25)] + [(10, 20), (250, 260)]
        beyond, again = arrivals(segments(*came))
        assert beyond.sum() == 23
        assert again.sum() == 0
        assert not beyond[-2:].any()

    def test_duplicates(self) -> None:
        beyond, again = arrivals(segments((0, 10), (0, 10), (10, 30), (10, 20), (20, 30), (25, 35)))
        assert again.tolist() == [False, True, False, True, True, False]
        assert not beyond.any()

    def test_nothing(self) -> None:
        assert [part.size for part in arrivals(segments())] == [0, 0]

    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=30))
    def test_against_byte_by_byte(self, came: list[tuple[int, int]]) -> None:
        places = [(0, 1)] + [(start, start + length) for start, length in came]
        have: set[int] = set()
        expected_beyond, expected_again = [], []
        for start, end in places:
            mine = set(range(start, end))
            expected_beyond.append(any(byte not in have for byte in range(start)))
            expected_again.append(mine <= have)
            have |= mine
        beyond, again = arrivals(segments(*places))
        assert again.tolist() == expected_again
        assert beyond.tolist() == expected_beyond


class TestAcknowledgements:
    def ack(self, number: int, port: int = 1000, **tcp: object) -> bytes:
        return packet(7, 0, port=port, acknowledgement=number, **tcp)

    def found(self, tmp_path: Path, *frames: bytes) -> tuple[Packets, Streams]:
        packets = columns(tmp_path, list(frames))
        return packets, streams(packets)

    def test_23_duplicate_acks(self, tmp_path: Path) -> None:
        packets, of = self.found(tmp_path, *[self.ack(100)] * 24, self.ack(200), self.ack(300))
        assert duplicate_acks(packets, of).sum() == 23

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param({"number": 101}, id="another number"),
            pytest.param({"number": 100, "window": 1}, id="a window update"),
            pytest.param({"number": 100, "flags": f.FIN | f.ACK}, id="a FIN"),
            pytest.param({"number": 100, "port": 9}, id="another connection"),
        ],
    )
    def test_what_is_no_duplicate(self, tmp_path: Path, second: dict[str, int]) -> None:
        packets, of = self.found(tmp_path, self.ack(100), self.ack(**second))
        assert not duplicate_acks(packets, of).any()

    def test_data_is_no_duplicate_ack(self, tmp_path: Path) -> None:
        packets, of = self.found(tmp_path, packet(0, 10), packet(10, 10))
        assert not duplicate_acks(packets, of).any()

    def test_23_zero_windows(self, tmp_path: Path) -> None:
        closed = [self.ack(n, window=0) for n in range(23)]
        reset = self.ack(1, window=0, flags=f.SYN | f.ACK)
        packets, of = self.found(tmp_path, *closed, self.ack(5, window=1), reset)
        assert zero_windows(packets, of).sum() == 23


def test_of_no_segments_no_byte_was_ever_sent() -> None:
    nothing = Stretches(segments())
    assert nothing.place(np.array([0, 1]), np.array([1, 100])).tolist() == [-1, -1]


def test_many_streams_at_once(tmp_path: Path) -> None:
    """Shuffled together, each stream has what it has alone."""
    draw = random.Random(23)
    flows = {port: [packet(100 * n, port=port) for n in range(20)] for port in range(1000, 1005)}
    for port in flows:
        flows[port].append(packet(100 * (port - 1000), port=port))
    frames = []
    while any(flows.values()):
        port = draw.choice([p for p, rest in flows.items() if rest])
        frames.append(flows[port].pop(0))
    found = streams(columns(tmp_path, frames))
    assert np.unique(found.stream).size == 5
    assert retransmitted(found).sum() == 5
    beyond, again = arrivals(found)
    assert (beyond.sum(), again.sum()) == (0, 5)

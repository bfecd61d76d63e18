from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.matching import (
    NONE,
    End,
    Keys,
    Log,
    datagram_keys,
    frame_keys,
    inverse,
    match_occurrences,
    match_wire,
)
from tests.builders import frames as f
from tests.builders.captures import columns


def keys(*numbers: int) -> npt.NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


def end(*numbers: int, start: int = 0) -> End:
    times = np.arange(len(numbers), dtype=np.int64) + start
    return End(times, np.full(len(numbers), 100, np.uint32), keys(*numbers))


def log(of: Keys, delivered: list[bool], departure: list[int]) -> Log:
    nothing = np.zeros(of.size, np.bool_)
    return Log(
        keys=of,
        sent_keys=of,
        delivered=np.array(delivered),
        copy=nothing,
        corrupted=nothing,
        place=np.array(departure, np.int64),
        number=np.arange(of.size),
    )


def test_the_kth_there_is_the_kth_here() -> None:
    found = match_occurrences(keys(5, 7, 5, 9, 5), keys(5, 5, 7, 8))
    assert found.tolist() == [0, 2, 1, NONE, NONE]
    assert inverse(found, 4).tolist() == [0, 2, 1, NONE]


def test_nothing_matches_nothing() -> None:
    assert match_occurrences(keys(), keys(1)).tolist() == []
    assert match_occurrences(keys(1), keys()).tolist() == [NONE]


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_against_counting(first: list[int], second: list[int]) -> None:
    expected = []
    for index, key in enumerate(first):
        places = [place for place, other in enumerate(second) if other == key]
        rank = first[:index].count(key)
        expected.append(places[rank] if rank < len(places) else NONE)
    assert match_occurrences(keys(*first), keys(*second)).tolist() == expected


def test_23_lost_packets() -> None:
    sent = list(range(1000, 1400))
    lost = set(sent[3::17])
    assert len(lost) == 24
    came = [key for key in sent if key not in lost or key == sent[3]]
    wire = match_wire(end(*sent), end(*came))
    assert wire.lost is not None
    assert wire.lost.sum() == 23
    assert wire.to_relay is None


def test_equal_packets_are_told_apart_by_the_relays_log() -> None:
    """Of three equal packets the first is lost: only the log knows that it was not the last."""
    known = log(keys(4, 4, 4), [False, True, True], [0, 50, 60])
    plain = match_wire(end(4, 4, 4), end(4, 4, start=100))
    assert plain.to_receiver is not None
    assert plain.to_receiver.tolist() == [0, 1, NONE]
    logged = match_wire(end(4, 4, 4), end(4, 4, start=100), known)
    assert logged.to_receiver is not None
    assert logged.to_receiver.tolist() == [NONE, 0, 1]


def test_a_relay_that_reorders() -> None:
    known = log(keys(1, 2, 3), [True, True, True], [30, 10, 20])
    wire = match_wire(end(1, 2, 3), end(2, 3, 1), known)
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [2, 0, 1]


def test_a_log_that_is_cut_is_not_relied_upon() -> None:
    wire = match_wire(end(1, 2, 3), end(1, 2, 3), log(keys(1, 2), [True, True], [1, 2]))
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0, 1, 2]
    assert wire.to_relay is not None
    assert wire.to_relay.tolist() == [0, 1, NONE]


def test_an_end_that_was_not_captured() -> None:
    known = log(keys(1, 2), [True, False], [5, 0])
    wire = match_wire(None, end(1), known)
    assert wire.to_receiver is None
    assert wire.lost is None
    assert wire.relay_to_receiver is not None
    assert wire.relay_to_receiver.tolist() == [0, NONE]
    assert match_wire(end(1, 2), None, known).relay_to_receiver is None


def test_a_router_leaves_the_datagram_key_and_a_retransmission_does_not(tmp_path: Path) -> None:
    def frame(ttl: int, source_mac: str, identification: int, stamp: int) -> bytes:
        tcp = f.tcp(1, 2, 3, 4, payload=b"abc", options=f.timestamps(stamp, 1))
        ip = f.ipv4("10.0.0.1", "10.0.1.1", 6, tcp, ttl=ttl, identification=identification)
        return f.ethernet(source_mac, "02:00:00:00:00:09", 0x0800, ip)

    first, second = "02:00:00:00:00:01", "02:00:00:00:00:02"
    arp = f.ethernet(first, second, 0x0806, b"\1" * 28)
    packets = columns(
        tmp_path,
        [
            frame(64, first, 7, 5),
            frame(63, second, 7, 5),
            frame(64, first, 8, 5),
            frame(64, first, 7, 6),
            arp,
        ],
    )
    found = datagram_keys(packets)
    assert found[0] == found[1]
    assert len({int(key) for key in found[[0, 2, 3]]}) == 3
    assert found[4] == 0
    whole = frame_keys(packets.digest, packets.size)
    assert whole[0] != whole[1]

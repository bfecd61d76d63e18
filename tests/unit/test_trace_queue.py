"""Rule: a packet leaves with the opportunities of the trace, in the order it came, and the queue
before them holds no more than its limit.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.network.relay.config import TraceConfig
from testbed.network.relay.trace import TraceQueue

MS: Final = 1_000_000
FULL: Final = 1514
"""A full frame: one opportunity."""


def queue(*times_ms: int, packets: int | None = None, size: int | None = None) -> TraceQueue:
    trace = TraceConfig(opportunities_ms=times_ms, queue_packets=packets, queue_bytes=size)
    return TraceQueue(trace, 0)


def test_each_full_packet_takes_an_opportunity() -> None:
    trace = queue(2, 5, 5, 9)
    assert [trace.enqueue(FULL, 0) for _ in range(4)] == [2 * MS, 5 * MS, 5 * MS, 9 * MS]


def test_the_trace_begins_again_after_its_last() -> None:
    trace = queue(2, 5, 9)
    left = [trace.enqueue(FULL, 0) for _ in range(7)]
    assert left == [n * MS for n in (2, 5, 9, 11, 14, 18, 20)]


def test_what_nobody_waits_for_is_gone() -> None:
    trace = queue(2, 5, 9)
    assert trace.enqueue(FULL, 5 * MS + 1) == 9 * MS
    assert trace.enqueue(FULL, 100 * MS) == 101 * MS  # 11 periods of 9 ms, and 2 ms
    assert trace.enqueue(FULL, 108 * MS) == 108 * MS  # the end of a period is its last time


def test_small_packets_share_an_opportunity() -> None:
    trace = queue(2, 5, 9)
    # 500 bytes of IP each: three in one of 1500.
    assert [trace.enqueue(514, 0) for _ in range(4)] == [2 * MS, 2 * MS, 2 * MS, 5 * MS]


def test_a_packet_may_need_what_is_left_of_one_and_another() -> None:
    trace = queue(2, 5, 9)
    assert [trace.enqueue(size, 0) for size in (1014, 1014, 1014)] == [2 * MS, 5 * MS, 5 * MS]


def test_who_comes_late_finds_no_rest() -> None:
    trace = queue(2, 5, 9)
    assert trace.enqueue(514, 0) == 2 * MS
    assert trace.enqueue(514, 3 * MS) == 5 * MS


def test_a_full_queue_drops() -> None:
    trace = queue(10, packets=2)
    assert [trace.enqueue(FULL, 0) for _ in range(3)] == [10 * MS, 20 * MS, None]
    assert trace.enqueue(FULL, 10 * MS) == 30 * MS  # one has left


def test_a_limit_in_bytes() -> None:
    trace = queue(10, size=3000)
    assert [trace.enqueue(size, 0) for size in (1514, 1514, 1400)] == [10 * MS, None, 20 * MS]


def test_the_load_begins_the_trace_anew() -> None:
    trace = queue(2, 5, 9)
    trace.enqueue(FULL, 0)
    trace.restart(1000 * MS)
    assert trace.enqueue(FULL, 1000 * MS) == 1002 * MS


@given(
    times=st.lists(st.integers(0, 50), min_size=1, max_size=20).map(sorted),
    packets=st.lists(
        st.tuples(st.integers(60, 1514), st.integers(0, 10 * MS)), min_size=1, max_size=100
    ),
)
def test_nothing_leaves_early_out_of_order_or_above_the_capacity(
    times: list[int], packets: list[tuple[int, int]]
) -> None:
    times[-1] += 1
    trace = queue(*times)
    now_ns, before_ns, carried = 0, 0, 0
    for size, gap in packets:
        now_ns += gap
        left_ns = trace.enqueue(size, now_ns)
        assert left_ns is not None
        assert left_ns >= max(now_ns, before_ns)
        before_ns = left_ns
        carried += size - 14
    periods, within = divmod(before_ns // MS, times[-1])
    seen = (periods + 1) * len(times) if within == 0 else 0
    so_far = max(seen, periods * len(times) + sum(time <= within for time in times))
    assert carried <= 1500 * so_far


@pytest.mark.parametrize("start_ns", [0, 7, 1_234_567_890])
def test_opportunities_are_at_whole_milliseconds_of_the_trace(start_ns: int) -> None:
    trace = TraceQueue(TraceConfig(opportunities_ms=(3,)), start_ns)
    assert trace.enqueue(FULL, start_ns) == start_ns + 3 * MS

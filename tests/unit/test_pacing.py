"""A paced connection: never faster than its rate, whatever the clock does."""

from __future__ import annotations

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.load.pacing import Pace, paced
from testbed.units import NS_PER_MS, NS_PER_S


def test_without_a_rate_the_backend_is_left_alone() -> None:
    backend = httpcore.AsyncMockBackend([])
    assert paced(backend, None, None) is backend


@pytest.mark.parametrize(
    ("rate_bit_s", "piece_bytes"),
    [(1, 1), (100_000, 250), (1_000_000, 2500), (10**9, 2_500_000)],
)
def test_a_piece_is_what_20_ms_give(rate_bit_s: int, piece_bytes: int) -> None:
    assert Pace(rate_bit_s).piece_bytes == piece_bytes


def test_the_first_piece_need_not_wait() -> None:
    assert Pace(1000).wait_ns(5 * NS_PER_S) == 0


def test_a_piece_waits_for_the_one_before() -> None:
    pace = Pace(1_000_000)
    pace.moved(2500, 5 * NS_PER_S)
    # 20 ms for the piece, less the 20 ms by which a timer may have been late.
    assert pace.wait_ns(5 * NS_PER_S) == 0
    pace.moved(2500, 5 * NS_PER_S)
    assert pace.wait_ns(5 * NS_PER_S) == 20 * NS_PER_MS


@given(
    rate_bit_s=st.integers(1, 10**9),
    moves=st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1)), min_size=1, max_size=50),
)
def test_no_faster_than_the_rate_over_any_time(
    rate_bit_s: int, moves: list[tuple[int, float]]
) -> None:
    pace = Pace(rate_bit_s)
    now_ns = 10 * NS_PER_S
    begun_ns, moved_bytes, last_bytes = now_ns, 0, 0
    for idle_ns, share in moves:
        now_ns += pace.wait_ns(now_ns) + idle_ns
        last_bytes = max(1, round(share * pace.piece_bytes))
        pace.moved(last_bytes, now_ns)
        moved_bytes += last_bytes
    before_last_ns = (moved_bytes - last_bytes) * 8 * NS_PER_S // rate_bit_s
    # Each piece's time is rounded down to whole nanoseconds.
    assert now_ns - begun_ns >= before_last_ns - 20 * NS_PER_MS - len(moves)

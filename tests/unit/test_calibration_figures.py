"""Rule: a link that keeps its capacity has no error in any window, whatever the size of its
packets; a packet that is late moves exactly the bits of that time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.calibration.figures import (
    WINDOW_NS,
    delay_errors_ns,
    rate_error,
    rate_per_s,
    spread,
    spread_of_sizes,
)

MBIT = 10**6
S = 1_000_000_000
MS = 1_000_000
Int64 = npt.NDArray[np.int64]


def on_time(capacity_bit_s: int, sizes: Int64) -> Int64:
    """When packets have come that follow one another without a gap."""
    return np.round(np.cumsum(sizes) * 8 * S / capacity_bit_s).astype(np.int64) + 5 * S


def full_frames(capacity_bit_s: int, seconds: float = 1.5) -> Int64:
    count = int(seconds * capacity_bit_s / (1514 * 8))
    return np.full(count, 1514, np.int64)


@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_a_link_that_keeps_its_capacity_has_no_error(mbit: int) -> None:
    sizes = full_frames(mbit * MBIT)
    found = rate_error(on_time(mbit * MBIT, sizes), sizes, mbit * MBIT)
    assert found.packets == sizes.size
    assert found.windows.size == 14
    # Stamps are whole nanoseconds: half of one in 100 ms, at both ends.
    assert abs(found.long_run) < 1e-8
    assert np.abs(found.windows).max() < 2e-8


def test_whole_packets_would_be_counted_wrong_by_what_a_packet_is_of_a_window() -> None:
    # What the spreading is for: 8 or 9 full frames at 1 Mbit/s come in 100 ms.
    sizes = full_frames(MBIT)
    arrivals = on_time(MBIT, sizes)
    counts = np.histogram(arrivals, np.arange(arrivals[0], arrivals[-1], WINDOW_NS))[0]
    errors = counts * 1514 * 8 / (MBIT * 0.1) - 1
    assert set(counts.tolist()) == {8, 9}
    assert (errors.min(), errors.max()) == pytest.approx((-0.031, 0.090), abs=0.001)


@given(st.lists(st.integers(60, 1514), min_size=200, max_size=400), st.sampled_from([1, 7, 40]))
def test_sizes_do_not_matter(sizes: list[int], mbit: int) -> None:
    array = np.array(sizes, np.int64)
    found = rate_error(on_time(mbit * MBIT, array), array, mbit * MBIT, 10 * MS)
    assert abs(found.long_run) < 1e-6
    assert np.abs(found.windows).max(initial=0.0) < 1e-6


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_a_link_of_another_rate_is_off_by_that_in_every_window(share: float) -> None:
    sizes = full_frames(10 * MBIT)
    found = rate_error(on_time(round(10 * MBIT * share), sizes), sizes, 10 * MBIT)
    assert found.long_run == pytest.approx(share - 1, rel=1e-3)
    # At the wrong rate packets overlap or leave gaps: a packet's part, 1 % of 1.2 ms, at each edge.
    assert found.windows == pytest.approx(share - 1, abs=3e-4)


def test_a_late_packet_moves_the_bits_of_its_time() -> None:
    sizes = full_frames(10 * MBIT)
    arrivals = on_time(10 * MBIT, sizes)
    edge = arrivals[0] + WINDOW_NS
    # All packets that end within 2 ms around the edge come 2 ms late.
    late = (arrivals > edge - 2 * MS) & (arrivals <= edge + 2 * MS)
    found = rate_error(np.sort(arrivals + 2 * MS * late), sizes, 10 * MBIT)
    assert found.windows[0] == pytest.approx(-0.02, abs=1e-6)
    assert found.windows[1] == pytest.approx(0.02, abs=1e-6)
    assert np.abs(found.windows[2:]).max() < 1e-6
    assert abs(found.long_run) < 1e-6


def test_a_gap_empties_its_windows() -> None:
    sizes = full_frames(10 * MBIT)
    arrivals = on_time(10 * MBIT, sizes)
    arrivals[arrivals > arrivals[0] + 300 * MS] += 200 * MS
    windows = rate_error(arrivals, sizes, 10 * MBIT).windows
    assert windows[:2] == pytest.approx(0, abs=1e-6)
    # The packet under way when the gap begins comes after it: up to 1.2 ms of 100 ms.
    assert -0.0122 < windows[2] <= 0
    assert windows[3] == pytest.approx(-1, abs=1e-6)
    assert windows[4] == pytest.approx(-1, abs=0.0122)
    assert windows[6:] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("arrivals", [[], [7], [7, 7]], ids=["none", "one", "at once"])
def test_what_makes_no_rate(arrivals: list[int]) -> None:
    with pytest.raises(ValueError, match="make no rate"):
        rate_error(np.array(arrivals, np.int64), np.full(len(arrivals), 1514), MBIT)


def test_delays_are_matched_by_key_whatever_the_order() -> None:
    keys = np.array([9, 4, 7, 1], np.int64)
    sent = np.array([100, 200, 300, 400], np.int64)
    # 7 was lost; 1 overtook 4; 9 came twice; 5 is nobody's.
    came = np.array([9, 1, 4, 9, 5], np.int64)
    stamps = np.array([1103, 1405, 1211, 1999, 1500], np.int64)
    assert delay_errors_ns((keys, sent), (came, stamps), 1000).tolist() == [3, 11, 5]


def test_nothing_came() -> None:
    none = np.empty(0, np.int64)
    assert delay_errors_ns((np.array([1]), np.array([5])), (none, none), 0).size == 0
    assert spread([]) is None


def test_quantiles_are_values_that_occurred() -> None:
    found = spread(range(1, 101))
    assert found is not None
    assert (found.count, found.p50_ns, found.p99_ns, found.max_ns) == (100, 50, 99, 100)


def test_errors_of_windows_count_by_size() -> None:
    assert spread_of_sizes(np.array([0.01, -0.03, 0.02])) == (0.02, 0.03)
    with pytest.raises(ValueError, match="no windows"):
        spread_of_sizes(np.empty(0))


def test_a_rate_of_no_time_is_none() -> None:
    assert rate_per_s(5, 0) == 0
    assert rate_per_s(5, S // 2) == 10

"""Rule: what is to be expected of unequal paths follows from their delays and the sending times, as
the derivation says, and the general form, the form for two paths in turn and the form for random
times agree.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.metrics.multipath import Path, arrivals_ns, poisson_ratio, reordered_in_turn
from testbed.analysis.metrics.reordering import reordered

MS = 1_000_000


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def count(sent_ns: np.ndarray, path: np.ndarray, paths: list[Path]) -> int:
    sizes = np.full(sent_ns.size, 1500, np.int64)
    arrived = arrivals_ns(sent_ns, sizes, path, paths)
    return int(reordered(np.argsort(arrived, kind="stable")).sum())


def test_a_path_alone_keeps_the_order_and_sends_one_after_the_other() -> None:
    # 1500 bytes at 12 Mbit/s take 1 ms.
    arrived = arrivals_ns(
        ints(0, 0, 5 * MS), ints(1500, 1500, 1500), ints(0, 0, 0), [Path(10 * MS, 12_000_000)]
    )
    assert arrived.tolist() == [11 * MS, 12 * MS, 16 * MS]


def test_a_packet_of_the_longer_path_is_overtaken_within_the_difference_only() -> None:
    paths = [Path(10 * MS), Path(30 * MS)]
    in_turn = ints(0, 1, 0, 1, 0)
    # Sent 19 ms, then 21 ms before the next one.
    sent = ints(0, 1 * MS, 20 * MS, 21 * MS, 42 * MS)
    assert count(sent, in_turn, paths) == 1
    assert reordered_in_turn(sent, 20 * MS) == 1


def test_a_queue_on_the_shorter_path_turns_it_round() -> None:
    # 1500 bytes at 1 Mbit/s take 12 ms: from the second on the short path takes longer.
    sent, path = np.arange(20, dtype=np.int64), np.arange(20, dtype=np.int64) % 2
    sizes = np.full(20, 1500, np.int64)
    late = []
    for short in (Path(10 * MS), Path(10 * MS, 1_000_000)):
        arrived = arrivals_ns(sent, sizes, path, [short, Path(30 * MS)])
        order = np.argsort(arrived, kind="stable")
        late.append(sorted(order[reordered(order)].tolist()))
    assert late == [list(range(1, 19, 2)), list(range(2, 20, 2))]


@given(
    st.lists(st.integers(0, 50 * MS), min_size=1, max_size=60),
    st.integers(0, 20 * MS),
    st.integers(0, 40 * MS),
    st.integers(0, 1),
)
def test_the_form_for_two_paths_in_turn_is_the_general_one(
    gaps: list[int], delay: int, difference: int, first: int
) -> None:
    sent = np.cumsum(np.array(gaps, np.int64))
    path = (np.arange(sent.size) + 1 - first) % 2
    paths = [Path(delay), Path(delay + difference)]
    assert count(sent, path, paths) == reordered_in_turn(sent, difference, first)


@pytest.mark.parametrize(("rate_per_s", "difference_ms"), [(20, 20), (100, 20), (5, 100)])
def test_random_sending_times_give_the_ratio_of_the_formula(
    rate_per_s: float, difference_ms: int
) -> None:
    packets = 200_000
    random = np.random.default_rng(23)
    gaps = random.exponential(1e9 / rate_per_s, packets).astype(np.int64)
    found = reordered_in_turn(np.cumsum(gaps), difference_ms * MS) / packets
    wanted = poisson_ratio(rate_per_s, difference_ms * MS)
    # Half of the packets are drawn with 2 * wanted each: five standard deviations.
    p = 2 * wanted
    assert abs(found - wanted) < 5 * math.sqrt(p * (1 - p) / (packets / 2)) / 2

"""Waits: unions, peaks, samples and windows, by hand and against a count one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.pressure.waits import Waits, between, grown, joined, outside, sampled


def array(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def waits(*pairs: tuple[int, int]) -> Waits:
    return between(array(*(a for a, _ in pairs)), array(*(b for _, b in pairs)))


def test_two_that_wait_at_once_count_once() -> None:
    found = waits((0, 10), (5, 15), (20, 30))
    assert (found.total_ns, found.count, found.longest_ns, found.peak) == (25, 3, 10, 2)


def test_one_that_ends_as_the_next_begins_does_not_overlap_it() -> None:
    assert waits((0, 10), (10, 20)).peak == 1


def test_nothing_waited() -> None:
    found = waits()
    assert (found.total_ns, found.count, found.longest_ns, found.peak) == (0, 0, 0, 0)
    waited, peaks = found.per_window(array(0, 10, 20))
    assert (waited.tolist(), peaks.tolist()) == ([0, 0], [0, 0])


def test_only_the_load_counts() -> None:
    found = waits((0, 10), (15, 25), (30, 40)).within(5, 20)
    assert (found.total_ns, found.count, found.longest_ns) == (10, 2, 5)


def test_a_sample_stands_until_the_next_of_its_kind() -> None:
    found = sampled(
        array(0, 1, 10, 11, 20, 30),
        array(7, 8, 7, 8, 7, 7),
        np.array([True, True, True, False, False, True]),
        array(100, 5, 50, 0, 0, 70),
    )
    # 7 from 0 to 20 in one wait, 8 from 1 to 11; the last sample of each stands for nothing.
    assert (found.total_ns, found.count, found.longest_ns, found.peak) == (20, 2, 20, 105)


def test_an_increase_lies_before_its_sample() -> None:
    found = grown(
        array(0, 10, 20, 30),
        array(1, 1, 1, 1),
        array(0, 4, 4, 40),
        array(9, 8, 7, 6),
        np.ones(4, np.bool_),
    )
    # 4 of the first 10; none; and of 36 in the last 10 no more than these.
    assert list(zip(found.started_ns.tolist(), found.ended_ns.tolist(), strict=True)) == [
        (6, 10),
        (20, 30),
    ]
    assert (found.count, found.peak) == (2, 8)


def test_counters_of_different_sockets_are_not_compared() -> None:
    found = grown(array(0, 10), array(1, 2), array(0, 5), array(1, 1), np.ones(2, np.bool_))
    assert found.count == 0


def test_the_parts_in_which_nothing_else_goes_on() -> None:
    found = outside(waits((0, 100), (200, 210)), waits((10, 20), (15, 30), (90, 205)))
    assert list(zip(found.started_ns.tolist(), found.ended_ns.tolist(), strict=True)) == [
        (0, 10),
        (30, 90),
        (205, 210),
    ]
    assert (found.count, found.longest_ns) == (3, 60)


def test_waits_of_several_lists_stay_apart() -> None:
    found = joined([waits((0, 10)), waits(), waits((5, 15), (20, 21))])
    assert (found.count, found.peak, found.total_ns) == (3, 2, 16)
    assert joined([]).count == 0


INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 5)), max_size=8
)


@given(intervals=INTERVALS)
def test_as_counted_one_by_one(intervals: list[tuple[int, int, int]]) -> None:
    starts = array(*(start for start, _, _ in intervals))
    ends = array(*(start + length for start, length, _ in intervals))
    found = between(starts, ends, array(*(amount for _, _, amount in intervals)))
    level = np.zeros(100, np.int64)
    for start, length, amount in intervals:
        level[start : start + length] += amount
    assert found.total_ns == (level > 0).sum()
    assert found.peak == level.max()
    edges = np.arange(0, 101, 10)
    waited, peaks = found.per_window(edges)
    assert waited.tolist() == [int((part > 0).sum()) for part in level.reshape(10, 10)]
    assert peaks.tolist() == [int(part.max()) for part in level.reshape(10, 10)]


@given(intervals=INTERVALS, others=INTERVALS)
def test_outside_as_counted_one_by_one(
    intervals: list[tuple[int, int, int]], others: list[tuple[int, int, int]]
) -> None:
    def marked(parts: list[tuple[int, int, int]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        flags = np.zeros(100, np.bool_)
        for start, length, _ in parts:
            flags[start : start + length] = True
        return flags

    found = outside(
        waits(*((s, s + length) for s, length, _ in intervals)),
        waits(*((s, s + length) for s, length, _ in others)),
    )
    assert found.total_ns == (marked(intervals) & ~marked(others)).sum()


@pytest.mark.parametrize("windows", [1, 3, 120])
def test_windows_add_up_to_the_whole(windows: int) -> None:
    found = waits((3, 40), (50, 77), (60, 99))
    waited, _ = found.per_window(np.linspace(0, 120, windows + 1).astype(np.int64))
    assert waited.sum() == found.total_ns

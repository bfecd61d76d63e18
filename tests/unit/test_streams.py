"""Rule: a random number depends on seed, link, direction, impairment and packet number, and on
nothing else: not on the order of access, not on other links, not on time.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.network.relay.streams import Stream, below, threshold

KEY = (7, "r1-server", "forward", "loss")
FIRST_NUMBERS = [
    154375527141152298,
    13415070095004670674,
    6928311729693230336,
    13177292922991368418,
    2856301572618792208,
    13413451931512733379,
]
BLOCK_EDGE = 1024
"""Numbers are made in blocks of this size: the edge is where an error of indexing would show."""


def test_the_numbers_of_a_key_never_change() -> None:
    # Written down once: a recording must be repeatable with any later version.
    stream = Stream(*KEY)
    assert [stream.at(n) for n in (0, 1, 2, 4095, 4096, 100_000)] == FIRST_NUMBERS


@given(st.lists(st.integers(0, 5 * BLOCK_EDGE), min_size=1, max_size=30))
def test_the_order_of_access_does_not_matter(indices: list[int]) -> None:
    forwards = Stream(*KEY)
    in_order = {index: forwards.at(index) for index in sorted(indices)}
    anyhow = Stream(*KEY)
    assert [anyhow.at(index) for index in indices] == [in_order[index] for index in indices]


def test_no_number_comes_twice_at_the_edge_of_a_block() -> None:
    stream = Stream(*KEY)
    numbers = [stream.at(n) for n in range(2 * BLOCK_EDGE + 10)]
    # Among 8202 random 64-bit numbers a pair is equal with probability 2e-12.
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((8, "r1-server", "forward", "loss"), id="seed"),
        pytest.param((7, "client-r1", "forward", "loss"), id="link"),
        pytest.param((7, "r1-server", "reverse", "loss"), id="direction"),
        pytest.param((7, "r1-server", "forward", "duplication"), id="impairment"),
        pytest.param((7, "r1-serverforward", "", "loss"), id="parts of a key do not run together"),
    ],
)
def test_a_key_that_differs_in_one_part_has_other_numbers(other: tuple[int, str, str, str]) -> None:
    one, two = Stream(*KEY), Stream(*other)
    equal = sum(one.at(n) == two.at(n) for n in range(1000))
    assert equal == 0


@given(first=st.integers(0, 3 * BLOCK_EDGE), count=st.integers(0, 300))
def test_a_slice_is_the_numbers_one_by_one(first: int, count: int) -> None:
    stream = Stream(*KEY)
    assert stream.slice(first, count).tolist() == [stream.at(first + n) for n in range(count)]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.0, 0), (0.5, 2**63), (1.0, 2**64)],
)
def test_the_bound_for_a_ratio(ratio: float, expected: int) -> None:
    assert threshold(ratio) == expected


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_what_falls_below_a_ratio_is_what_is_below_its_bound(ratio: float) -> None:
    numbers = Stream(*KEY).slice(0, 10_000)
    expected = [number < threshold(ratio) for number in numbers.tolist()]
    assert below(numbers, ratio).tolist() == expected

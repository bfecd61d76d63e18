"""Schedules of the open loop: exact where periodic, repeatable where random."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest

from testbed.load.arrivals import periodic, poisson, schedule
from testbed.scenario import Load


def test_periodic_starts_at_zero_and_is_evenly_spaced() -> None:
    assert list(islice(periodic(200.0), 4)) == [0, 5_000_000, 10_000_000, 15_000_000]


def test_periodic_rounding_does_not_add_up() -> None:
    starts = list(islice(periodic(3.0), 30_001))
    assert starts[1] == 333_333_333
    assert starts[30_000] == 10_000 * 10**9


def test_poisson_is_the_same_for_the_same_seed_and_process() -> None:
    first = list(islice(poisson(100.0, seed=7, process="client"), 50))
    again = list(islice(poisson(100.0, seed=7, process="client"), 50))
    assert first == again


def test_poisson_differs_by_seed_and_by_process() -> None:
    schedules = {
        tuple(islice(poisson(100.0, seed=seed, process=process), 5))
        for seed in (7, 8)
        for process in ("c1", "c2")
    }
    assert len(schedules) == 4


def test_poisson_gaps_are_positive_and_exponential() -> None:
    rate, number = 1000.0, 20_000
    starts = [0, *islice(poisson(rate, seed=1, process="client"), number)]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 0
    # The seed is fixed, so this cannot flicker. Mean: 4 standard errors of 1/sqrt(n), 2.8 %.
    assert sum(gaps) / number == pytest.approx(1e9 / rate, rel=4 / math.sqrt(number))
    # P(gap > mean) = 1/e; 4 standard errors of a share, 0.014.
    longer = sum(gap > 1e9 / rate for gap in gaps) / number
    assert longer == pytest.approx(1 / math.e, abs=4 * math.sqrt(0.25 / number))


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        pytest.param(
            Load(rate="100/s", arrivals="periodic", requests=3),
            [(0, 0), (1, 10_000_000), (2, 20_000_000)],
            id="requests",
        ),
        pytest.param(
            Load(rate="100/s", arrivals="periodic", duration="20ms"),
            [(0, 0), (1, 10_000_000)],
            id="duration, its end excluded",
        ),
        pytest.param(
            Load(rate="100/s", arrivals="periodic", duration="1s", requests=1),
            [(0, 0)],
            id="whichever ends first",
        ),
    ],
)
def test_schedule_ends_with_its_limits(load: Load, expected: list[tuple[int, int]]) -> None:
    assert list(schedule(load, seed=1, process="client")) == expected


def test_schedule_without_limits_makes_the_default_number_of_requests() -> None:
    assert len(list(schedule(Load(rate="100/s"), seed=1, process="client"))) == 100


def test_longer_schedule_begins_like_a_shorter_one() -> None:
    short = list(schedule(Load(rate="100/s", requests=23), seed=1, process="client"))
    long = list(schedule(Load(rate="100/s", requests=46), seed=1, process="client"))
    assert long[:23] == short


def test_closed_loop_has_no_schedule() -> None:
    with pytest.raises(ValueError, match="closed loop"):
        schedule(Load(users=2), seed=1, process="client")

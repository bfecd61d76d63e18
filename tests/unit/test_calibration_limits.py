"""Rule: what is called faithful here is what the verdict would call so."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.analysis.summary import Quantiles
from testbed.analysis.verdict import relay_lateness
from testbed.calibration.limits import (
    capacity_by_time_bit_s,
    is_disturbed,
    limits,
    most_stolen,
    rate_faults,
)
from tests.builders.calibrations import MBIT, US, backend, circumstances, rate, spread


@pytest.mark.parametrize("error_us", [3, 50, 213, 1800])
def test_the_limit_in_time_is_where_the_verdict_ceases_to_be_faithful(error_us: int) -> None:
    late = Quantiles(p50=0, p90=0, p99=error_us * US, max=error_us * US)
    limit = capacity_by_time_bit_s(error_us * US)
    assert relay_lateness("a", late, limit, 0).status == "faithful"
    # 1 % more, because the verdict's time of a frame is a whole number of nanoseconds.
    assert relay_lateness("a", late, round(limit * 1.01), 0).status == "degraded"


def test_no_error_is_no_limit_but_a_number() -> None:
    assert capacity_by_time_bit_s(0) > 10**12


def test_the_worse_of_delay_error_and_lateness_counts() -> None:
    slow = backend(p99_us=50, loaded=circumstances(relay_lateness=spread(200)))
    assert slow.limits is not None
    assert slow.limits.delay_error_p99_ns == 50 * US
    assert slow.limits.lateness_p99_ns == 200 * US
    assert slow.limits.capacity_by_time_bit_s == capacity_by_time_bit_s(200 * US)


def test_what_counts_is_the_error_beside_a_load() -> None:
    found = backend(p99_us=400).limits
    assert found is not None
    assert found.delay_error_p99_ns == 400 * US


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"long_run_error_ratio": -0.0051}, ["long run"]),
        ({"long_run_error_ratio": 0.0051}, ["long run"]),
        ({"long_run_error_ratio": 0.005}, []),
        ({"window_error_max_ratio": 0.0201}, ["windows"]),
        ({"capture_missed_packets": 1}, ["captures"]),
        ({"circumstances": circumstances(relay_lateness=spread(606))}, ["lateness"]),
        ({"circumstances": circumstances(relay_lateness=spread(605))}, []),
        ({"circumstances": circumstances(relay_lateness=None)}, []),
        ({"circumstances": circumstances(relay_overflow_packets=1)}, ["overflow"]),
        ({"long_run_error_ratio": 0.3, "window_error_max_ratio": 0.3}, ["long run", "windows"]),
        ({"long_run_error_ratio": -0.3, "sender_ran_dry": 1}, ["sender"]),
    ],
)
def test_what_is_wrong_with_a_rate(changes: dict[str, Any], faults: list[str]) -> None:
    assert rate_faults(rate(10, **changes)) == faults


def test_a_capacity_is_kept_with_all_below_it() -> None:
    bad = {"long_run_error_ratio": 0.1}
    cases = [
        ((rate(1), rate(10), rate(100)), 100),
        ((rate(100), rate(1), rate(10)), 100),
        ((rate(1), rate(10), rate(100, **bad)), 10),
        ((rate(1), rate(10, **bad), rate(100)), 1),
        ((rate(1, **bad), rate(10)), 0),
        ((), 0),
    ]
    for rates, mbit in cases:
        found = backend(rates=rates).limits
        assert found is not None
        assert found.capacity_by_rate_bit_s == mbit * MBIT
        assert found.capacity_bit_s == min(mbit * MBIT, found.capacity_by_time_bit_s)


def test_the_most_that_was_carried_counts() -> None:
    found = backend().limits
    assert found is not None
    assert found.packets_per_s == 100_000.0
    # 1448 bytes of data in each full frame.
    tcp = backend(carried=None).limits
    assert tcp is not None
    assert tcp.packets_per_s == pytest.approx(1e9 / 8 / 1448)
    neither = backend(carried=None, tcp=None).limits
    assert neither is not None
    assert neither.packets_per_s is None


def test_without_delays_there_are_no_limits() -> None:
    assert limits(backend(delays=[])) is None


def test_stolen_time_of_any_measurement_counts() -> None:
    assert not is_disturbed(backend())
    found = backend(rates=(rate(1), rate(10, circumstances=circumstances(stolen_cpu_ratio=0.02))))
    assert most_stolen(found) == 0.02
    assert is_disturbed(found)
    assert not is_disturbed(backend(loaded=circumstances(stolen_cpu_ratio=None)))

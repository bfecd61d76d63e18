from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.decode.schema import empty
from testbed.analysis.metrics import binomial, delay, loss, reordering, throughput
from testbed.analysis.metrics.event_loop import loop_load
from testbed.analysis.metrics.http import http_summary, overtaken_responses
from testbed.analysis.metrics.intervals import covered_ns, held_ns, peak_overlap
from testbed.analysis.metrics.quantiles import delay_quantiles, nearest_rank, quantiles
from testbed.analysis.metrics.socket import accept_queue_full_ns, peak_fill_ratio, time_full_ns
from testbed.events.http import HttpRequest

MS = 1_000_000


def flags(*lost: int, of: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(np.arange(of), lost)


def array(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


class TestLoss:
    """Packets 2, 5, 7, 9 and 10 of ten are lost: the example of RFC 3357, 5.4."""

    lost = flags(1, 4, 6, 8, 9, of=10)

    def test_ratio(self) -> None:
        assert loss.loss_ratio(self.lost) == 0.5
        assert loss.loss_ratio(flags(of=0)) is None

    def test_distance_is_that_of_the_rfc(self) -> None:
        assert loss.loss_distances(self.lost).tolist() == [0, 3, 2, 2, 1]

    def test_period_is_that_of_the_rfc(self) -> None:
        assert loss.loss_periods(self.lost).tolist() == [0, 1, 0, 0, 2, 0, 3, 0, 4, 4]

    def test_runs(self) -> None:
        assert loss.run_lengths(self.lost).tolist() == [1, 1, 1, 2]
        assert loss.loss_runs(self.lost) == {"1": 3, "2": 1}
        assert loss.loss_runs(flags(of=5)) == {}
        assert loss.loss_runs(flags(0, 1, 2, of=3)) == {"3": 1}

    def test_burst_ratio(self) -> None:
        assert loss.burst_ratio(self.lost) == 1.25 * 0.5
        assert loss.burst_ratio(flags(of=5)) is None

    @given(st.lists(st.booleans(), max_size=200))
    def test_runs_hold_every_loss(self, lost: list[bool]) -> None:
        runs = loss.loss_runs(np.array(lost, np.bool_))
        assert sum(int(length) * count for length, count in runs.items()) == sum(lost)


class TestReordering:
    """RFC 4737, 7.2 (examples)."""

    def test_one_packet_late(self) -> None:
        """Packet 4 comes after 8: extent 4; 4-reordered, as four higher ones come right before."""
        arrival = array(1, 2, 3, 5, 6, 7, 8, 4, 9, 10)
        assert reordering.reordered(arrival).nonzero()[0].tolist() == [7]
        assert reordering.reordered_ratio(arrival) == 0.1
        assert reordering.extents(arrival).tolist() == [4]
        assert reordering.degrees(arrival).tolist() == [4]
        times = np.arange(10) * 20
        assert reordering.late_times_ns(arrival, times).tolist() == [80]
        assert reordering.free_runs(arrival).tolist() == [7]

    def test_a_block_of_packets_late(self) -> None:
        """4, 5 and 6 come after 10: all are reordered, with extents 4, 5, 6; 4 is n-reordered."""
        arrival = array(1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11)
        assert reordering.extents(arrival).tolist() == [4, 5, 6]
        assert reordering.degrees(arrival).tolist() == [4, 0, 0]
        assert reordering.n_reordered(arrival, 3) == 1
        assert reordering.n_reordered(arrival, 5) == 0

    def test_gaps_between_discontinuities(self) -> None:
        """Discontinuities at arrivals 2 (3 before 2) and 6 (7 before 6): a gap of 4."""
        arrival = array(1, 3, 2, 4, 5, 7, 6, 8)
        assert reordering.gaps(arrival).tolist() == [4]
        assert reordering.free_runs(arrival).tolist() == [2, 3]

    def test_duplicates_are_removed_first(self) -> None:
        again = array(1, 2, 2, 3, 1, 4)
        assert reordering.reordered(again).any()
        assert reordering.without_duplicates(again).tolist() == [1, 2, 3, 4]

    def test_nothing(self) -> None:
        assert reordering.reordered_ratio(array()) is None
        assert reordering.extents(array()).tolist() == []
        assert reordering.degrees(array(5)).tolist() == []

    @given(st.permutations(list(range(30))))
    def test_against_the_definitions(self, order: list[int]) -> None:
        found = np.array(order, np.int64)
        late = [i for i in range(30) if any(order[j] > order[i] for j in range(i))]
        assert reordering.reordered(found).nonzero()[0].tolist() == late
        extents = [i - min(j for j in range(i) if order[j] > order[i]) for i in late]
        assert reordering.extents(found).tolist() == extents
        for n in (1, 2, 3):
            counted = sum(
                i >= n and all(order[j] > order[i] for j in range(i - n, i)) for i in late
            )
            assert reordering.n_reordered(found, n) == counted


class TestDelay:
    sent = array(0, 10, 20, 30)
    received = array(107, 140, 115)
    partner = array(0, -1, 2, 1)

    def test_lost_packets_have_no_delay(self) -> None:
        found = delay.one_way_delays(self.sent, self.received, self.partner)
        assert found.tolist() == [107, 95, 110]
        assert delay.packet_delay_variation(found).tolist() == [12, 0, 15]

    def test_nothing(self) -> None:
        assert delay.packet_delay_variation(array()).tolist() == []


class TestQuantiles:
    def test_each_is_a_value_that_occurred(self) -> None:
        values = list(range(1, 101))
        assert nearest_rank(values, 0.0, 0.5, 0.9, 0.99, 1.0) == [1, 50, 90, 99, 100]
        assert nearest_rank([7], 0.5, 0.99) == [7, 7]
        assert nearest_rank([1, 2, 3], 0.5) == [2]

    def test_nothing(self) -> None:
        assert quantiles([]) is None
        assert delay_quantiles([]) is None
        with pytest.raises(ValueError, match="no values"):
            nearest_rank([], 0.5)

    @given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.floats(0.001, 1))
    def test_definition(self, values: list[int], share: float) -> None:
        (found,) = nearest_rank(values, share)
        at_most = sum(value <= found for value in values)
        below = sum(value < found for value in values)
        assert at_most >= share * len(values) - 1e-6
        assert below < share * len(values) + 1e-6


def test_throughput_windows_have_what_came_in_them() -> None:
    times = array(0, 50 * MS, 99 * MS, 100 * MS, 250 * MS, 400 * MS)
    sizes = array(1000, 1000, 500, 125, 1250, 9)
    found = throughput.window_bit_s(times, sizes, 0, 100 * MS, 4)
    assert found.tolist() == [200_000, 10_000, 100_000, 0]
    assert throughput.peak_bit_s(times, sizes) == 200_000
    assert throughput.peak_bit_s(array(), array()) is None


class TestBinomial:
    @pytest.mark.parametrize(
        ("successes", "trials", "low", "high"),
        [
            # Clopper and Pearson at 95 %: the tables everywhere.
            (0, 10, 0.0, 0.3085),
            (1, 10, 0.0025, 0.4450),
            (5, 10, 0.1871, 0.8129),
            (10, 10, 0.6915, 1.0),
            (10, 100, 0.0490, 0.1762),
        ],
    )
    def test_known_intervals(self, successes: int, trials: int, low: float, high: float) -> None:
        found = binomial.interval(successes, trials, 0.95)
        assert found == pytest.approx((low, high), abs=5e-5)

    def test_dependent_trials_tell_as_much_as_fewer_independent_ones(self) -> None:
        assert binomial.interval(50, 1000, variance_factor=10) == binomial.interval(5, 100)
        narrow, wide = binomial.interval(37, 999), binomial.interval(37, 999, variance_factor=7.4)
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
        assert binomial.interval(0, 3, variance_factor=7)[0] == 0

    @given(st.integers(1, 60), st.data())
    def test_tail_probabilities_are_exact(self, n: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(1, n))
        p = data.draw(st.integers(1, 99))
        ratio = Fraction(p, 100)
        tail = sum(math.comb(n, i) * ratio**i * (1 - ratio) ** (n - i) for i in range(k, n + 1))
        assert binomial.incomplete_beta(k, n - k + 1, p / 100) == pytest.approx(
            float(tail), rel=1e-9, abs=1e-280
        )

    def test_many_trials(self) -> None:
        low, high = binomial.interval(10_000, 1_000_000)
        assert 0.0096 < low < 0.01 < high < 0.0104

    def test_ends(self) -> None:
        assert binomial.incomplete_beta(2, 3, 0) == 0
        assert binomial.incomplete_beta(2, 3, 1) == 1
        for successes, trials in ((1, 0), (-1, 5), (6, 5)):
            with pytest.raises(ValueError, match="is no ratio"):
                binomial.interval(successes, trials)


class TestIntervals:
    def test_overlap(self) -> None:
        assert peak_overlap(array(0, 5, 9), array(10, 9, 20)) == 2
        assert peak_overlap(array(0, 1, 2), array(10, 10, 10)) == 3
        assert peak_overlap(array(), array()) == 0

    def test_a_sample_stands_until_the_next_of_its_group(self) -> None:
        times = array(0, 10, 20, 5, 25)
        groups = np.array(["a", "a", "a", "b", "b"])
        holds = np.array([True, False, True, True, True])
        assert held_ns(times, groups, holds) == 10 + 20
        assert held_ns(times[:1], groups[:1], holds[:1]) == 0


def sockets(**columns: list[object]) -> pl.DataFrame:
    count = len(columns["t_ns"])
    base: dict[str, list[object]] = {
        "node": ["server"] * count,
        "cookie": [1] * count,
        "state": ["ESTABLISHED"] * count,
        "receive_queue": [0] * count,
        "send_queue": [0] * count,
        "receive_buffer_bytes": [1000] * count,
        "receive_allocated_bytes": [0] * count,
    }
    return pl.DataFrame({**base, **columns}, strict=False)


class TestSockets:
    def test_time_at_full(self) -> None:
        table = sockets(
            t_ns=[0, 10, 20, 30, 40],
            cookie=[1, 1, 1, 2, 1],
            receive_allocated_bytes=[899, 900, 1100, 1000, 0],
        )
        ends = ("receive_allocated_bytes", "receive_buffer_bytes")
        assert peak_fill_ratio(table, *ends) == 1.1
        assert time_full_ns(table, *ends) == 30

    def test_a_listener_is_full_beyond_its_backlog(self) -> None:
        table = sockets(
            t_ns=[0, 10, 20],
            state=["LISTEN"] * 3,
            receive_queue=[5, 6, 0],
            send_queue=[5, 5, 5],
            receive_allocated_bytes=[None] * 3,
        )
        assert accept_queue_full_ns(table) == 10
        assert peak_fill_ratio(table, "receive_allocated_bytes", "receive_buffer_bytes") is None


def test_event_loop_load() -> None:
    table = pl.DataFrame(
        {
            "process": ["server", "server", "server", "client"],
            "kind": ["step", "io_wait", "step", "step"],
            "scheduled_ns": [0, 110, 100, 0],
            "started_ns": [10, 110, 150, 0],
            "ended_ns": [110, 150, 250, 5],
            "runnable": [1, 3, 2, 1],
        }
    )
    found = loop_load(table)
    assert found is not None
    assert (found.steps, found.longest_step_ns, found.longest_step_process) == (3, 100, "server")
    assert (found.lag_ns.max, found.time_runnable_ns, found.peak_runnable_tasks) == (50, 60, 2)
    assert found.busy_ratio == {"client": 1.0, "server": 200 / 240}
    assert loop_load(table.filter(pl.col("kind") == "io_wait")) is None


def test_responses_that_end_out_of_order() -> None:
    table = pl.DataFrame(
        {
            "process": ["a", "a", "a", "b", "a"],
            "started_ns": [0, 1, 2, 0, 3],
            "ended_ns": [10, 5, 20, 1, 4],
            "failure": [None, None, None, None, "ReadTimeout"],
        }
    )
    assert overtaken_responses(table) == 1


def test_no_requests_are_no_rates() -> None:
    found = http_summary(empty(HttpRequest))
    assert (found.requests, found.request_rate_per_s, found.latency_ns) == (0, None, None)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(5, 10)], 5),
        ([(0, 10), (5, 12), (20, 23)], 15),
        ([(5, 6), (0, 10)], 10),
        ([(0, 10), (2, 3), (4, 12)], 12),
    ],
)
def test_how_long_something_was_under_way(spans: list[tuple[int, int]], expected: int) -> None:
    started, ended = np.array(spans, np.int64).reshape(-1, 2).T
    assert covered_ns(started, ended) == expected

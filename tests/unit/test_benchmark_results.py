"""Rule: a ratio compares turns of one round; what was not measured has no value and a reason."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks.relay.results import (
    DELAY_P50,
    LARGE,
    SMALL,
    TCP,
    Conditions,
    Report,
    Turn,
    percentile,
    ratios,
    row,
    spread,
)
from benchmarks.relay.table import WIDTH, print_report

CONDITIONS = Conditions(
    date="2026-11-25",
    kernel="6.1.0",
    cpu="some CPU",
    cpu_count=2,
    python="3.11.2",
    scheduler="fifo",
    congestion_control="bbr",
)


def turn(subject: str, number: int, **values: float) -> Turn:
    return Turn(subject=subject, round_number=number, values=values)


# The machine is twice as fast in round 1; the third round has no reference.
TURNS = [
    turn("ours", 0, tcp_bit_s=600e6),
    turn("bare", 0, tcp_bit_s=1000e6),
    turn("ours", 1, tcp_bit_s=1400e6),
    turn("bare", 1, tcp_bit_s=2000e6),
    turn("ours", 2, tcp_bit_s=9e6),
]


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    assert ratios(TURNS, "ours", "bare") == {TCP: pytest.approx((0.6 + 0.7) / 2)}


def test_a_subject_is_once_itself() -> None:
    assert ratios(TURNS, "bare", "bare") == {TCP: 1.0}


def test_the_median_is_over_all_rounds_with_a_value() -> None:
    found = spread(TURNS, "ours", TCP)
    assert found is not None
    assert (found.median, found.least, found.most, found.count) == (600e6, 9e6, 1400e6, 3)


def test_delays_have_no_ratio() -> None:
    turns = [turn("ours", 0, added_delay_p50_ns=2.0), turn("bare", 0, added_delay_p50_ns=1.0)]
    assert ratios(turns, "ours", "bare") == {}
    assert row(turns, "ours", "", "bare", None).values[DELAY_P50].median == 2.0


def test_what_was_not_measured_is_absent_and_says_why_once() -> None:
    failed = [
        Turn(subject="ours", round_number=n, values={}, problems={LARGE: "no frame arrived"})
        for n in range(3)
    ]
    found = row([*TURNS, *failed], "ours", "", "bare", None)
    assert LARGE not in found.values
    assert found.problems == ["no frame arrived"]
    assert spread(failed, "ours", LARGE) is None


def test_a_ratio_is_made_only_to_what_was_saturated() -> None:
    unfilled = Turn(
        subject="bare", round_number=0, values={LARGE: 200e3, TCP: 1e9}, at_least=[LARGE]
    )
    filled = turn("bare", 1, frames_1514_bytes_per_s=500e3)
    ours = [turn("ours", n, frames_1514_bytes_per_s=300e3, tcp_bit_s=6e8) for n in range(2)]
    assert ratios([unfilled, *ours], "ours", "bare") == {TCP: 0.6}
    assert ratios([unfilled, filled, *ours], "ours", "bare") == {TCP: 0.6, LARGE: 0.6}
    bounded = spread([unfilled, filled], "bare", LARGE)
    assert bounded is not None
    assert (bounded.at_least, bounded.count) == (1, 2)


@pytest.mark.parametrize(
    ("percent", "wanted"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (100, 100)]
)
def test_percentiles_are_nearest_ranks(percent: float, wanted: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == wanted


def test_the_table_scales_the_values_and_never_shows_a_missing_one_as_zero() -> None:
    turns = [
        turn("ours", 0, tcp_bit_s=1234e6, frames_1514_bytes_per_s=300e3, added_delay_p50_ns=12_345),
        turn("bare", 0, tcp_bit_s=2468e6, frames_1514_bytes_per_s=600e3),
        Turn(
            subject="veth",
            round_number=0,
            values={LARGE: 400e3, SMALL: 700e3},
            at_least=[LARGE, SMALL],
        ),
    ]
    report = Report(
        conditions=CONDITIONS,
        rounds=1,
        rows=[
            row(turns, "ours", "10 ms", "bare", None),
            row(turns, "veth", "10 ms", "bare", None),
            row(turns, "absent", "10 ms", "bare", "it is not installed"),
        ],
        comparisons=[],
        turns=turns,
    )
    console = Console(width=WIDTH)
    with console.capture() as caught:
        print_report(console, report)
    lines = [line.split() for line in caught.get().splitlines()]
    ours = next(line for line in lines if line[:1] == ["ours"])
    # settings, TCP, of C, kframes, Gbit/s, of C, small, of C, p50, p99
    assert ours[3:] == ["1234", "0.50", "300", "3.63", "0.50", "-", "-", "12.3", "µs", "-"]
    veth = next(line for line in lines if line[:1] == ["veth"])
    assert veth[3:] == ["-", "-", "≥400", "≥4.84", "0.67", "≥700", "-", "-", "-"]
    absent = next(line for line in lines if line[:1] == ["absent"])
    assert absent[3:] == ["-"] * 9
    assert "absent, not measured: it is not installed" in caught.get()

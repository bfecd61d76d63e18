"""Rule: a calibration reads well in 80 columns, says of every number what it is, and ends with what
it comes to.
"""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from testbed.calibration.record import Backend, Calibration
from testbed.calibration.show import print_calibration, sentences
from tests.builders.calibrations import NO_KERNEL, backend, calibration, circumstances, rate


def shown(found: Calibration, width: int = 80) -> str:
    out = io.StringIO()
    print_calibration(Console(file=out, width=width, _environ={}), found)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


FULL = calibration(backend(), NO_KERNEL)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_cut_or_wider_than_the_terminal(width: int) -> None:
    text = shown(FULL, width)
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= min(width, 120)


def test_each_measurement_has_its_line() -> None:
    # Without the spaces that make columns of it, but with the narrow ones within numbers.
    lines = [re.sub(" +", " ", line).strip() for line in shown(FULL).splitlines()]
    for line in (
        "Links by the relay (SCHED_FIFO)",
        "10 ms at 10 Mbit/s 20 25 75 20 50 150 ✓",
        "the relay's lateness 2 5 15 2 5 15",
        "100 Mbit/s 0.010 % 0.100 % 1.000 % 5 µs 30 % ✓",
        "loss 1 % 989 of 100\u202f000 packets; that fits 0.89 % to 1.1 % ✓",
        "load beside it 333 HTTP requests/s, CPUs 99 % busy",
        "stolen CPU at most 0.0 %",
        "Links by the kernel's netem: not measured: this kernel has no netem",
    ):
        assert line in lines


def test_the_sentence_has_the_limits() -> None:
    assert sentences(FULL) == [
        "By the relay this machine does capacities up to 100 Mbit/s faithfully (the highest that "
        "was measured and kept), one-way delay error 50 µs at p99 beside an HTTP load; it carries "
        "at most 100\u202f000 packets/s in all."
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p99_us": 300}, "up to 20.2 Mbit/s faithfully (what the error in time allows)"),
        ({"rates": (rate(1, long_run_error_ratio=0.1),)}, "is not faithful even at 1 Mbit/s"),
        ({"loaded": circumstances(stolen_cpu_ratio=0.031)}, "3.1 % of the CPU time was stolen"),
        ({"rates": (rate(1), rate(10, sender_ran_dry=1))}, "Links that were not filled may be"),
        ({"carried": None, "tcp": None}, "beside an HTTP load."),
    ],
)
def test_what_the_sentence_says_else(changes: dict[str, Any], said: str) -> None:
    assert said in " ".join(sentences(calibration(backend(**changes))))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sender_ran_dry": 1}, "✗ 10 Mbit/s: not filled, the sender had too little CPU time"),
        (
            {"window_error_max_ratio": 0.031, "long_run_error_ratio": -0.4},
            "✗ 10 Mbit/s: more than 0.5 % off in the long run, a window more than 2 % off",
        ),
        ({"capture_missed_packets": 2}, "✗ 10 Mbit/s: the capture missed packets"),
    ],
)
def test_what_is_wrong_with_a_rate_is_said_in_words(changes: dict[str, Any], line: str) -> None:
    text = shown(calibration(backend(rates=(rate(10, **changes),))))
    assert f"  {line}" in text.splitlines(), text


def test_a_relay_without_real_time_priority_says_so() -> None:
    text = shown(calibration(backend(scheduler="other", relay_cpu=1)))
    assert "Links by the relay (without real-time priority, CPU 1 kept free for it)" in text


def test_what_a_kernel_wire_has_not_is_not_shown_as_zero() -> None:
    bare = circumstances(relay_cpu_ratio=None, relay_lateness=None)
    wire = backend("kernel", rates=(rate(10, circumstances=bare),), idle=bare, loaded=bare)
    text = shown(calibration(wire))
    assert "the relay's lateness" not in text
    assert "10 Mbit/s 0.010 % 0.100 % 1.000 % \u2013 \u2013 ✓" in re.sub(" +", " ", text)


def test_without_iperf3_the_reason_is_there() -> None:
    text = shown(calibration(backend(tcp=None, tcp_reason="iperf3 is not installed")))
    assert "  TCP (iperf3)    not measured: iperf3 is not installed" in text


def test_nothing_measured() -> None:
    nothing = Backend(name="relay", measured=False, reason="no \x1b[2J")
    text = shown(calibration(nothing))
    assert "not measured: no \ufffd[2J" in text
    assert sentences(calibration(nothing)) == []

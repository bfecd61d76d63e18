"""Numbers for people: three digits, units that fit, nothing that looks like zero but is not."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.report import format as scale

THIN = scale.GROUP


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (None, scale.NOTHING),
        (0, "0 s"),
        (1, "1 ns"),
        (999, "999 ns"),
        (999.6, "1.00 µs"),
        (1_000, "1 µs"),
        (1_500, "1.5 µs"),
        (20_000_000, "20 ms"),
        (20_040_000, "20.0 ms"),
        (20_341_234, "20.3 ms"),
        (999_499, "999 µs"),
        (999_600, "1.00 ms"),
        (1_043_000_000, "1.04 s"),
        (59_000_000_000, "59 s"),
        (119_900_000_000, "120 s"),
        (120_000_000_000, "2 min 0 s"),
        (3_725_000_000_000, "62 min 5 s"),
        (-20_341_234, "-20.3 ms"),
        (-125_000_000_000, "-2 min 5 s"),
    ],
)
def test_duration(value_ns: float | None, text: str) -> None:
    assert scale.duration(value_ns) == text


@pytest.mark.parametrize(
    ("value_bit_s", "text"),
    [
        (None, scale.NOTHING),
        (0, "0 bit/s"),
        (12.4, "12 bit/s"),
        (10_000_000, "10 Mbit/s"),
        (9_567_123.0, "9.57 Mbit/s"),
        (999_600.0, "1.00 Mbit/s"),
        (2_500_000_000, "2.5 Gbit/s"),
    ],
)
def test_rate(value_bit_s: float | None, text: str) -> None:
    assert scale.rate(value_bit_s) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (None, scale.NOTHING),
        (0, "0 %"),
        (1, "100 %"),
        (0.02, "2 %"),
        (0.020_123, "2.01 %"),
        (0.5, "50 %"),
        (0.001, "0.1 %"),
        (1e-7, "0.00001 %"),
        (0.998, "99.8 %"),
        (0.999_9, ">99.9 %"),
        (1.25, "125 %"),
    ],
)
def test_percent(ratio: float | None, text: str) -> None:
    assert scale.percent(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, scale.NOTHING),
        (0, "0"),
        (1234, "1234"),
        (12_345, f"12{THIN}345"),
        (1_234_567, f"1{THIN}234{THIN}567"),
        (-12_345, f"-12{THIN}345"),
        (2.0, "2"),
        (2.345, "2.35"),
    ],
)
def test_count(value: float | None, text: str) -> None:
    assert scale.count(value) == text


@pytest.mark.parametrize(
    ("value_bytes", "text"),
    [(None, scale.NOTHING), (0, "0 B"), (14, "14 B"), (64_240, "64.2 kB"), (2_000_000, "2 MB")],
)
def test_size(value_bytes: float | None, text: str) -> None:
    assert scale.size(value_bytes) == text


def test_words() -> None:
    assert scale.plural(1, "request") == "1 request"
    assert scale.plural(0, "request") == "0 requests"
    assert scale.plural(2, "queue was", "queues were") == "2 queues were"
    assert scale.listed([]) == ""
    assert scale.listed(["a"]) == "a"
    assert scale.listed(["a", "b", "c"]) == "a, b and c"
    assert scale.per_second(38.21) == "38.2/s"
    assert scale.per_second(None) == scale.NOTHING


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("a\u202eb", "a\ufffdb"),  # right-to-left override
        (f"12{THIN}345 µs", f"12{THIN}345 µs"),
    ],
)
def test_clean_text_cannot_write_to_the_terminal(text: str, wanted: str) -> None:
    assert scale.clean(text) == wanted


_UNITS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}


@given(value_ns=st.integers(1, 119 * 10**9))
def test_a_duration_is_right_to_three_digits(value_ns: int) -> None:
    number, unit = scale.duration(value_ns).split(" ")
    shown_ns = float(number) * _UNITS[unit]
    assert math.isclose(shown_ns, value_ns, rel_tol=0.0051)  # half of the third digit
    assert 1 <= float(number) < 1000 or unit == "s"


@given(ratio=st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False))
def test_a_ratio_between_nothing_and_all_never_looks_like_either(ratio: float) -> None:
    text = scale.percent(ratio)
    assert text not in {"0 %", "100 %"}
    assert re.search(r"[1-9]", text)


@given(value=st.integers(-(10**15), 10**15))
def test_grouping_changes_no_digit(value: int) -> None:
    assert scale.count(value).replace(THIN, "") == str(value)

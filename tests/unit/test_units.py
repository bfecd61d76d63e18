"""Quantities: what is accepted, what is refused and why, and that nothing is lost on the way."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import units
from testbed.errors import EXIT_WRONG_REQUEST, QuantityError

PARSERS: list[tuple[Callable[[str], Any], str]] = [
    (units.parse_time_ns, units.TIME_FORM),
    (units.parse_capacity_bit_s, units.CAPACITY_FORM),
    (units.parse_ratio, units.RATIO_FORM),
    (units.parse_size_bytes, units.SIZE_FORM),
    (units.parse_queue, units.QUEUE_FORM),
    (units.parse_event_rate_per_s, units.EVENT_RATE_FORM),
]
every_parser = pytest.mark.parametrize(
    ("parse", "form"), PARSERS, ids=[parse.__name__ for parse, _ in PARSERS]
)


@pytest.mark.parametrize(
    ("text", "wanted_ns"),
    [
        ("1ns", 1),
        ("3us", 3_000),
        ("20ms", 20_000_000),
        ("1.5ms", 1_500_000),
        ("2s", 2_000_000_000),
        ("0.000000001s", 1),
        ("2min", 120_000_000_000),
        ("1e3us", 1_000_000),
        (".5ms", 500_000),
        ("20 ms", 20_000_000),
        ("  20ms  ", 20_000_000),
        ("20MS", 20_000_000),
        ("+20ms", 20_000_000),
        ("0", 0),
        ("0ms", 0),
        ("0.0", 0),
    ],
)
def test_time(text: str, wanted_ns: int) -> None:
    assert units.parse_time_ns(text) == wanted_ns


@pytest.mark.parametrize(
    ("text", "wanted_bit_s"),
    [
        ("1bit", 1),
        ("64kbit", 64_000),
        ("10mbit", 10_000_000),
        ("9.57Mbit", 9_570_000),
        ("1gbit", 1_000_000_000),
        ("0.5kbit", 500),
    ],
)
def test_capacity(text: str, wanted_bit_s: int) -> None:
    assert units.parse_capacity_bit_s(text) == wanted_bit_s


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0", 0.0), ("0%", 0.0), ("1%", 0.01), ("2.5 %", 0.025), ("100%", 1.0), ("0.001%", 1e-5)],
)
def test_ratio(text: str, wanted: float) -> None:
    assert units.parse_ratio(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted_bytes"),
    [
        ("0", 0),
        ("1B", 1),
        ("64kB", 64_000),
        ("64KiB", 65_536),
        ("1.5MB", 1_500_000),
        ("1MiB", 1_048_576),
        ("2GB", 2_000_000_000),
        ("1GiB", 1_073_741_824),
    ],
)
def test_size(text: str, wanted_bytes: int) -> None:
    assert units.parse_size_bytes(text) == wanted_bytes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("50p", (50, None)),
        ("1p", (1, None)),
        ("50 packets", (50, None)),
        ("1packet", (1, None)),
        ("64kB", (None, 64_000)),
        ("1514B", (None, 1514)),
    ],
)
def test_queue(text: str, wanted: tuple[int | None, int | None]) -> None:
    assert units.parse_queue(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("200/s", 200.0), ("30/min", 0.5), ("1/ms", 1000.0), ("0.5 /s", 0.5)]
)
def test_event_rate(text: str, wanted: float) -> None:
    assert units.parse_event_rate_per_s(text) == wanted


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (units.parse_time_ns, "\u0662\u0660ms", "expected a time"),
        (units.parse_time_ns, "20", "the unit is missing"),
        (units.parse_time_ns, "20m", 'unknown unit "m"'),
        (units.parse_time_ns, "-1ms", "must not be negative"),
        (units.parse_time_ns, "0.5ns", "not a whole number of ns"),
        (units.parse_time_ns, "1,5ms", "expected a time"),
        (units.parse_time_ns, "infs", "expected a time"),
        (units.parse_capacity_bit_s, "10", "the unit is missing"),
        (units.parse_capacity_bit_s, "0mbit", "must be greater than 0"),
        (units.parse_capacity_bit_s, "-1mbit", "must not be negative"),
        (units.parse_capacity_bit_s, "0.5bit", "not a whole number of bit/s"),
        (units.parse_capacity_bit_s, "10mbps", "write mbit"),
        (units.parse_capacity_bit_s, "10bps", "write bit"),
        (units.parse_capacity_bit_s, "10MB", "unknown unit"),
        (units.parse_ratio, "0.01", "the % is missing"),
        (units.parse_ratio, "101%", "between 0% and 100%"),
        (units.parse_ratio, "-1%", "between 0% and 100%"),
        (units.parse_ratio, "1pct", 'unknown unit "pct"'),
        (units.parse_size_bytes, "64", "the unit is missing"),
        (units.parse_size_bytes, "64KB", "unknown unit"),
        (units.parse_size_bytes, "64mb", "unknown unit"),
        (units.parse_size_bytes, "0.5B", "not a whole number of bytes"),
        (units.parse_queue, "50", "the unit is missing"),
        (units.parse_queue, "0p", "at least 1 packet"),
        (units.parse_queue, "0B", "at least 1 byte"),
        (units.parse_queue, "1.5p", "not a whole number of packets"),
        (units.parse_event_rate_per_s, "200", "expected events per time"),
        (units.parse_event_rate_per_s, "0/s", "must be greater than 0"),
        (units.parse_event_rate_per_s, "-1/s", "must be greater than 0"),
        (units.parse_event_rate_per_s, "200/h", "expected events per time"),
    ],
)
def test_refused_with_the_reason(parse: Callable[[str], Any], text: str, reason: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(text)
    message = str(caught.value)
    assert reason in message
    assert f'"{text}"' in message
    assert caught.value.got == text
    assert caught.value.wanted is not None
    assert caught.value.exit_code == EXIT_WRONG_REQUEST


@every_parser
@pytest.mark.parametrize(
    "text", ["", " ", "ms", "abc", "1 2ms", "--1ms", "1ms ms", "0x10ms", "1_0ms"]
)
def test_no_parser_takes_what_is_no_quantity(
    parse: Callable[[str], Any], form: str, text: str
) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(text)
    assert form in str(caught.value)


@every_parser
@pytest.mark.parametrize("value", [10, 0.5, True, None, ["1ms"]], ids=repr)
def test_no_parser_takes_what_is_no_text(
    parse: Callable[[Any], Any], form: str, value: object
) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(value)
    assert caught.value.wanted == form
    is_number = type(value) in (int, float)
    assert ("without a unit" in str(caught.value)) == is_number


@pytest.mark.parametrize(
    ("parse", "text", "most"),
    [
        (units.parse_time_ns, "1000000000.1s", "1000000000s"),
        (units.parse_time_ns, "1e99min", "1000000000s"),
        (units.parse_capacity_bit_s, "1e10gbit", "1000000000gbit"),
        (units.parse_size_bytes, "1e7GB", "1000000GB"),
        (units.parse_queue, "4294967296p", "4294967295p"),
        (units.parse_queue, "4.3GB", "4294967295B"),
        (units.parse_event_rate_per_s, "1e99/s", "1e9/s"),
    ],
)
def test_every_quantity_has_a_most_so_that_it_fits_64_bits(
    parse: Callable[[str], Any], text: str, most: str
) -> None:
    with pytest.raises(QuantityError, match=re.escape(f'must be at most {most} (got "{text}")')):
        parse(text)


def test_a_rate_that_never_comes_is_refused() -> None:
    with pytest.raises(QuantityError, match="must be at least 1e-6/s"):
        units.parse_event_rate_per_s("1e-9/s")


@every_parser
def test_a_text_without_end_is_refused_at_once(parse: Callable[[str], Any], form: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse("1" * 10**6 + " x y")
    assert form in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("parse", [parse for parse, _ in PARSERS])
@given(text=st.text(max_size=20))
def test_whatever_is_typed_is_read_or_refused_but_never_a_crash(
    parse: Callable[[str], Any], text: str
) -> None:
    with contextlib.suppress(QuantityError):
        parse(text)


@given(value=st.integers(0, 10**7), unit=st.sampled_from(["ns", "us", "ms", "s", "min"]))
def test_times_in_whole_units_are_exact(value: int, unit: str) -> None:
    size = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}[unit]
    assert units.parse_time_ns(f"{value}{unit}") == value * size


@given(value_ns=st.integers(0, 10**18))
def test_a_time_in_decimal_seconds_comes_back_to_the_nanosecond(value_ns: int) -> None:
    text = f"{value_ns // 10**9}.{value_ns % 10**9:09d}s"
    assert units.parse_time_ns(text) == value_ns


@given(value=st.integers(1, 10**9), unit=st.sampled_from(["bit", "kbit", "mbit", "gbit"]))
def test_capacities_are_exact_powers_of_ten(value: int, unit: str) -> None:
    size = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}[unit]
    assert units.parse_capacity_bit_s(f"{value}{unit}") == value * size


@given(millionths=st.integers(0, 10**6))
def test_a_ratio_is_the_float_nearest_to_its_percentage(millionths: int) -> None:
    # 10**-4 of a percent: the float must be the one that a correctly rounded division gives.
    text = f"{millionths // 10**4}.{millionths % 10**4:04d}%"
    assert units.parse_ratio(text) == float(Fraction(millionths, 10**6))


@given(packets=st.integers(1, 10**9))
def test_a_queue_in_packets_has_no_bytes_and_the_other_way_round(packets: int) -> None:
    assert units.parse_queue(f"{packets}p") == (packets, None)
    assert units.parse_queue(f"{packets}B") == (None, packets)


@pytest.mark.parametrize(
    ("size_bytes", "capacity_bit_s", "wanted_ns"),
    [
        (1514, 10_000_000, 1_211_200),
        (1, 1_000_000_000, 8),
        (1, 3, 2_666_666_667),
        (0, 10_000_000, 0),
    ],
)
def test_serialisation_time_is_rounded_up(
    size_bytes: int, capacity_bit_s: int, wanted_ns: int
) -> None:
    assert units.serialisation_ns(size_bytes, capacity_bit_s) == wanted_ns


@given(size_bytes=st.integers(0, 10**6), capacity_bit_s=st.integers(1, 10**12))
def test_serialisation_never_sends_faster_than_the_capacity(
    size_bytes: int, capacity_bit_s: int
) -> None:
    took_ns = units.serialisation_ns(size_bytes, capacity_bit_s)
    assert took_ns * capacity_bit_s >= size_bytes * 8 * 10**9
    assert (took_ns - 1) * capacity_bit_s < size_bytes * 8 * 10**9


def test_an_exponent_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(QuantityError, match="expected a time"):
        units.parse_time_ns("1e99999999ms")

"""Quantities that people type, and the base units that everything else uses.

Rules:

- A quantity carries its unit (``10mbit``, ``20ms``, ``1%``, ``50p``, ``200/s``); a bare number is
  an error, except zero for a time or a ratio, where no unit could change it.
- Rates are bits per second in powers of ten (``kbit mbit gbit``). tc's ``bps`` means *bytes* per
  second there and bits elsewhere: it is refused with a word on why.
- Sizes of data are bytes: ``kB MB`` are powers of ten, ``KiB MiB`` powers of two (IEC 80000-13).
- What no experiment could mean is refused as well (a delay of a thousand years), so that every
  result has room in 64 bits.
- Results are exact integers (nanoseconds, bits per second, bytes, packets) or a float ratio in
  0..1.

Only this module, `testbed.scaled` and `testbed.report` scale numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final

from testbed.errors import QuantityError, bare, shown

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_US: Final = 1_000

_TIMES_NS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "min": 60 * NS_PER_S,
}
_RATES_BIT_S: Final[Mapping[str, int]] = {
    "bit": 1,
    "kbit": 10**3,
    "mbit": 10**6,
    "gbit": 10**9,
}
_SIZES_BYTES: Final[Mapping[str, int]] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
MAX_TIME_NS: Final = 10**18
"""About 32 years."""
MAX_CAPACITY_BIT_S: Final = 10**18
MAX_SIZE_BYTES: Final = 10**15
MAX_QUEUE: Final = 2**32 - 1
"""Packets or bytes: tc's limits have 32 bits."""
MAX_EVENTS_PER_S: Final = 10**9
MIN_EVENTS_PER_S: Final = Fraction(1, 10**6)
_LONGEST_TEXT: Final = 100
_NUMBER: Final = re.compile(
    r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)\s*(\S*)\s*\Z"
)

TIME_FORM: Final = "a time with a unit (ns, us, ms, s, min), such as 20ms"
CAPACITY_FORM: Final = "a rate with a unit (bit, kbit, mbit, gbit), such as 10mbit"
RATIO_FORM: Final = "a percentage such as 1%"
QUEUE_FORM: Final = "packets or bytes, such as 50p or 64kB"
SIZE_FORM: Final = "a size with a unit (B, kB, MB, GB, KiB, MiB, GiB), such as 64kB"
EVENT_RATE_FORM: Final = "events per time, such as 200/s or 30/min"


def _split(text: str, form: str) -> tuple[Fraction, str]:
    if not isinstance(text, str):
        raise QuantityError(f"expected {form} (got {bare(text)})", wanted=form, got=text)
    # The length first: a search in digits without end takes its time.
    match = _NUMBER.match(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise QuantityError(f"expected {form} (got {shown(text)})", wanted=form, got=text)
    return Fraction(Decimal(match[1])), match[2]


def _scaled(text: str, units: Mapping[str, int], form: str, *, zero_bare: bool) -> Fraction:
    number, unit = _split(text, form)
    if number < 0:
        raise QuantityError(f'must not be negative (got "{text}")', wanted=form, got=text)
    if unit == "" and zero_bare and number == 0:
        return number
    scale = units.get(unit)
    if scale is None:
        scale = next((s for u, s in units.items() if u.lower() == unit.lower()), None)
        if scale is None or unit.lower() in {"mb", "kb", "gb"}:
            what = f'unknown unit "{unit}"' if unit else "the unit is missing"
            hint = _UNIT_HINTS.get(unit.lower(), "") if units is _RATES_BIT_S else ""
            raise QuantityError(
                f'expected {form} (got "{text}": {what}{hint})', wanted=form, got=text
            )
    return number * scale


_UNIT_HINTS: Final[Mapping[str, str]] = {
    unit: f"; for tc {unit} is bytes per second, elsewhere bits: write {unit[:-3]}bit"
    for unit in ("bps", "kbps", "mbps", "gbps")
}


def _at_most(value: Fraction, most: int, most_text: str, text: str, form: str) -> Fraction:
    if value > most:
        raise QuantityError(f'must be at most {most_text} (got "{text}")', wanted=form, got=text)
    return value


def _whole(value: Fraction, text: str, form: str, unit: str) -> int:
    if value.denominator != 1:
        raise QuantityError(
            f'expected {form} (got "{text}": not a whole number of {unit})', wanted=form, got=text
        )
    return int(value)


def parse_time_ns(text: str) -> int:
    """A time in nanoseconds, from ``20ms``; ``0`` needs no unit.

    Raises:
        QuantityError: no number, no unit, negative, too long, or finer than a nanosecond.
    """
    value = _scaled(text, _TIMES_NS, TIME_FORM, zero_bare=True)
    value = _at_most(value, MAX_TIME_NS, "1000000000s", text, TIME_FORM)
    return _whole(value, text, TIME_FORM, "ns")


def parse_capacity_bit_s(text: str) -> int:
    """A capacity in bit/s, from ``10mbit`` (powers of ten); greater than zero.

    Raises:
        QuantityError: no number, no unit, zero or negative, or a fraction of a bit.
    """
    value = _scaled(text, _RATES_BIT_S, CAPACITY_FORM, zero_bare=False)
    if value == 0:
        raise QuantityError(
            f'must be greater than 0 (got "{text}")', wanted=CAPACITY_FORM, got=text
        )
    value = _at_most(value, MAX_CAPACITY_BIT_S, "1000000000gbit", text, CAPACITY_FORM)
    return _whole(value, text, CAPACITY_FORM, "bit/s")


def parse_ratio(text: str) -> float:
    """A ratio in 0..1, from ``1%``; ``0`` needs no unit.

    Raises:
        QuantityError: no percentage, or outside 0 % to 100 %.
    """
    number, unit = _split(text, RATIO_FORM)
    if unit != "%" and not (unit == "" and number == 0):
        hint = "the % is missing" if unit == "" else f'unknown unit "{unit}"'
        raise QuantityError(
            f'expected {RATIO_FORM} (got "{text}": {hint})', wanted=RATIO_FORM, got=text
        )
    if not 0 <= number <= 100:
        raise QuantityError(
            f'must lie between 0% and 100% (got "{text}")', wanted=RATIO_FORM, got=text
        )
    return float(number / 100)


def parse_size_bytes(text: str) -> int:
    """A size in bytes, from ``64kB`` (10^3) or ``64KiB`` (2^10).

    Raises:
        QuantityError: no number, no unit, negative, or a fraction of a byte.
    """
    value = _scaled(text, _SIZES_BYTES, SIZE_FORM, zero_bare=True)
    value = _at_most(value, MAX_SIZE_BYTES, "1000000GB", text, SIZE_FORM)
    return _whole(value, text, SIZE_FORM, "bytes")


def parse_queue(text: str) -> tuple[int | None, int | None]:
    """A queue's limit as (packets, bytes), one of them None, from ``50p`` or ``64kB``; at least 1.

    Raises:
        QuantityError: neither packets nor bytes, or zero.
    """
    number, unit = _split(text, QUEUE_FORM)
    if unit in {"p", "packets", "packet"}:
        packets = _whole(number, text, QUEUE_FORM, "packets")
        if packets < 1:
            raise QuantityError(
                f'must be at least 1 packet (got "{text}")', wanted=QUEUE_FORM, got=text
            )
        _at_most(number, MAX_QUEUE, f"{MAX_QUEUE}p", text, QUEUE_FORM)
        return packets, None
    size = _whole(
        _scaled(text, _SIZES_BYTES, QUEUE_FORM, zero_bare=False), text, QUEUE_FORM, "bytes"
    )
    if size < 1:
        raise QuantityError(f'must be at least 1 byte (got "{text}")', wanted=QUEUE_FORM, got=text)
    _at_most(Fraction(size), MAX_QUEUE, f"{MAX_QUEUE}B", text, QUEUE_FORM)
    return None, size


def parse_event_rate_per_s(text: str) -> float:
    """A rate of events per second, from ``200/s`` or ``30/min``; greater than zero.

    Raises:
        QuantityError: not in that form, zero or negative.
    """
    number, unit = _split(text, EVENT_RATE_FORM)
    per_s = {"/s": Fraction(1), "/min": Fraction(1, 60), "/ms": Fraction(1000)}.get(unit)
    if per_s is None:
        raise QuantityError(
            f'expected {EVENT_RATE_FORM} (got "{text}")', wanted=EVENT_RATE_FORM, got=text
        )
    if number <= 0:
        raise QuantityError(
            f'must be greater than 0 (got "{text}")', wanted=EVENT_RATE_FORM, got=text
        )
    value = _at_most(number * per_s, MAX_EVENTS_PER_S, "1e9/s", text, EVENT_RATE_FORM)
    if value < MIN_EVENTS_PER_S:
        raise QuantityError(
            f'must be at least 1e-6/s (got "{text}")', wanted=EVENT_RATE_FORM, got=text
        )
    return float(value)


def serialisation_ns(size_bytes: int, capacity_bit_s: int) -> int:
    """The time in nanoseconds that `size_bytes` take at `capacity_bit_s`, rounded up."""
    return -(-size_bytes * 8 * NS_PER_S // capacity_bit_s)

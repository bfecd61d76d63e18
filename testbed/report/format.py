"""Numbers in base units, scaled for people.

Rules:

- Three significant digits: more would suggest a precision that one run does not have. Counts are
  exact, and so are quantities that come out whole (``10 Mbit/s``, as it was typed).
- SI: a space between number and unit, powers of ten, a narrow space between groups of three digits.
- None becomes `NOTHING`, never zero.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Final

NOTHING: Final = "\u2013"
"""Stands where a number was not observed or does not exist."""
GROUP: Final = "\u202f"
"""Narrow no-break space, between groups of digits."""

_TIMES: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))
_RATES: Final = ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s"), (1, "bit/s"))
_SIZES: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))


def significant(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, no exponent: ``20.3``, ``0.0042``, ``120``.

    Trailing zeros stay where they were rounded (20.04 is ``20.0``, 20 is ``20``).
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    if rounded:
        decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    text = f"{rounded:.{max(0, decimals)}f}"
    if math.isclose(rounded, value, rel_tol=1e-12) and "." in text:
        text = text.rstrip("0").rstrip(".")
    return grouped(text)


def grouped(digits: str) -> str:
    """Groups of three digits before the point, from five digits on: ``12 345``, but ``1234``."""
    whole, point, rest = digits.partition(".")
    sign = "-" if whole.startswith("-") else ""
    bare = whole.removeprefix("-")
    if len(bare) > 4:
        bare = f"{int(bare):,}".replace(",", GROUP)
    return f"{sign}{bare}{point}{rest}"


def count(value: float | None) -> str:
    """A number of things: ``12 345``; something that is no whole number gets three digits."""
    if value is None:
        return NOTHING
    return grouped(str(int(value))) if float(value).is_integer() else significant(value)


def duration(value_ns: float | None) -> str:
    """A duration: ``20.3 ms``, ``850 ns``, ``2 min 5 s``."""
    if value_ns is None:
        return NOTHING
    if value_ns == 0:
        return "0 s"
    if abs(value_ns) >= 120 * 10**9:
        minutes, seconds = divmod(round(abs(value_ns) / 10**9), 60)
        sign = "-" if value_ns < 0 else ""
        return f"{sign}{grouped(str(minutes))} min {seconds} s"
    return _scaled(value_ns, _TIMES)


def rate(value_bit_s: float | None) -> str:
    """A rate of bits: ``9.57 Mbit/s``."""
    return NOTHING if value_bit_s is None else _scaled(value_bit_s, _RATES)


def size(value_bytes: float | None) -> str:
    """An amount of data in powers of ten: ``14.5 kB``."""
    return NOTHING if value_bytes is None else _scaled(value_bytes, _SIZES)


def per_second(value: float | None) -> str:
    """A rate of events: ``38.2/s``."""
    return NOTHING if value is None else f"{significant(value)}/s"


def percent(ratio: float | None) -> str:
    """A ratio as a percentage: ``2.01 %``; what is not quite nothing or all never looks like it."""
    if ratio is None:
        return NOTHING
    if 0.9995 <= ratio < 1:
        return ">99.9 %"
    return f"{significant(ratio * 100)} %"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """``1 request``, ``12 345 requests``."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(", ".join(words).rsplit(", ", 1)) if words else ""


def clean(text: str) -> str:
    """Text without control characters, so that nothing in a recording can write to the terminal."""
    return "".join(
        mark if mark == "\n" or not unicodedata.category(mark).startswith("C") else "\ufffd"
        for mark in text
    )


def _scaled(value: float, scales: Sequence[tuple[int, str]]) -> str:
    """The number in the greatest unit in which it is at least 1 after rounding."""
    smallest = scales[-1]
    for scale, unit in scales:
        if abs(value) >= scale * 0.9995:
            if scale == 1:
                return f"{count(round(value / scale))} {unit}"
            return f"{significant(value / scale)} {unit}"
    return f"{significant(value)} {smallest[1]}" if value else f"0 {smallest[1]}"

"""Numbers in base units, scaled for people: in reports, and in sentences of the analysis.

Rules:

- Three significant digits: more would suggest a precision that one run does not have. Counts are
  exact, and so are quantities that come out whole (``10 Mbit/s``, as it was typed).
- SI: a space between number and unit, powers of ten, a narrow space between groups of three digits.
- None becomes `NOTHING`, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

NOTHING: Final = "\u2013"
"""Stands where a number was not observed or does not exist."""
GROUP: Final = "\u202f"
"""Narrow no-break space, between groups of digits."""


_TIMES: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


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
    return scaled(value_ns, _TIMES)


def scaled(value: float, scales: Sequence[tuple[int, str]]) -> str:
    """The number in the greatest unit in which it is at least 1 after rounding."""
    smallest = scales[-1]
    for scale, unit in scales:
        if abs(value) >= scale * 0.9995:
            if scale == 1:
                return f"{count(round(value / scale))} {unit}"
            return f"{significant(value / scale)} {unit}"
    return f"{significant(value)} {smallest[1]}" if value else f"0 {smallest[1]}"

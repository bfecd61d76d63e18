"""Numbers and words as reports have them; the rules for numbers are those of `testbed.scaled`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from testbed.scaled import GROUP as GROUP
from testbed.scaled import NOTHING as NOTHING
from testbed.scaled import count as count
from testbed.scaled import duration as duration
from testbed.scaled import grouped as grouped
from testbed.scaled import scaled
from testbed.scaled import significant as significant

_RATES: Final = ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s"), (1, "bit/s"))
_SIZES: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))


def rate(value_bit_s: float | None) -> str:
    """A rate of bits: ``9.57 Mbit/s``."""
    return NOTHING if value_bit_s is None else scaled(value_bit_s, _RATES)


def size(value_bytes: float | None) -> str:
    """An amount of data in powers of ten: ``14.5 kB``."""
    return NOTHING if value_bytes is None else scaled(value_bytes, _SIZES)


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

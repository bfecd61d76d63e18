"""A size or a time that is the same each time, or drawn for each request (pure).

    64kB                               always the same
    uniform 1kB..10kB                  each between them equally likely
    exponential [mean] 10kB            memoryless
    lognormal median 10kB sigma 1.5    a long tail: ln of it is normal, sigma its standard deviation

Rules:

- A value comes from one uniform number by the inverse of the distribution function: the same number
  gives the same value.
- Values are whole bytes or nanoseconds. A drawn size is 1 byte at least. No drawn value is above
  `MOST` times the mean or median.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final, Literal

import msgspec

from testbed.errors import QuantityError, shown
from testbed.scenario.words import Words

Kind = Literal["fixed", "uniform", "exponential", "lognormal"]
MOST: Final = 10_000
"""A draw is bounded to so many times the mean or median: an exponential never comes near it, a
lognormal of sigma 2 in one of 480000 draws.
"""
MOST_SIGMA: Final = 5.0
_FORM: Final = ", uniform {0}..{0}, exponential mean {0}, or lognormal median {0} sigma NUMBER"
_NORMAL: Final = NormalDist()


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution, in bytes or nanoseconds."""

    kind: Kind = "fixed"
    value: int
    """Always; the least of uniform; the mean of exponential; the median of lognormal."""
    most: int = 0
    """Of uniform."""
    sigma: float = 0.0
    """Of lognormal."""

    def at(self, uniform: float) -> int:
        """The value of a number between 0 and 1, both excluded."""
        if self.kind == "fixed":
            return self.value
        if self.kind == "uniform":
            return self.value + math.floor(uniform * (self.most - self.value + 1))
        factor = (
            -math.log(uniform)
            if self.kind == "exponential"
            else math.exp(self.sigma * _NORMAL.inv_cdf(uniform))
        )
        return round(self.value * min(factor, MOST))

    @property
    def mean(self) -> float:
        """The mean of all values, their bound left out of account."""
        if self.kind == "uniform":
            return (self.value + self.most) / 2
        if self.kind == "lognormal":
            return self.value * math.exp(self.sigma**2 / 2)
        return float(self.value)


def parse_spread(text: str, parse: Callable[[str], int], form: str) -> Spread:
    """A distribution of what `parse` reads; `form` says how that is written.

    Raises:
        QuantityError: none of the forms.
    """
    noun = "TIME" if "time" in form else "SIZE"
    words = Words(text, form + _FORM.format(noun))
    kind: Any = words.take_if("uniform", "exponential", "lognormal") or "fixed"
    read = _reader(words, parse)
    if kind == "fixed":
        if words.next[:1].isalpha():
            words.end("uniform", "exponential", "lognormal")
        value = read(words.take("the value"))
        words.end()
        return Spread(value=value)
    if kind == "uniform":
        least, dots, most = words.take(f"{noun}..{noun}").partition("..")
        if not dots:
            raise words.error(f"expected {noun}..{noun} after uniform")
        found = Spread(kind="uniform", value=read(least), most=read(most))
        words.end()
        if found.value > found.most:
            raise words.error("the first must not be above the second")
        return found
    words.take_if("mean" if kind == "exponential" else "median")
    value = read(words.take("the mean" if kind == "exponential" else "the median"))
    sigma = 0.0
    if kind == "lognormal":
        if not words.take_if("sigma"):
            raise words.error("sigma is missing")
        sigma = _sigma(words, words.take("the number after sigma"))
    words.end()
    if value == 0:
        raise words.error("must be greater than 0")
    return Spread(kind=kind, value=value, sigma=sigma)


def _reader(words: Words, parse: Callable[[str], int]) -> Callable[[str], int]:
    def read(word: str) -> int:
        try:
            return parse(word)
        except QuantityError as error:
            raise words.error(str(error)) if words.text.strip() != word else error from error

    return read


def _sigma(words: Words, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_SIGMA:
        raise words.error(f"sigma must be above 0 and at most {MOST_SIGMA:g} (got {shown(word)})")
    return value

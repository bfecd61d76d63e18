"""Exact binomial intervals, without a statistics package."""

from __future__ import annotations

import math
from typing import Final

_STEPS: Final = 200
_TINY: Final = 1e-300


def interval(
    successes: float, trials: float, confidence: float = 0.999, *, variance_factor: float = 1.0
) -> tuple[float, float]:
    """Exact interval of a ratio (Clopper and Pearson 1934).

    The probabilities that this count does not refute.

    Args:
        successes: how many.
        trials: of how many.
        confidence: that the probability lies within.
        variance_factor: of trials that depend on one another, the variance of the count over that
            of independent ones. So many times fewer independent trials tell as much (Kish 1965,
            the design effect); the interval is then no longer exact.

    Raises:
        ValueError: not 0 <= successes <= trials, or no trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no ratio")
    successes, trials = successes / variance_factor, trials / variance_factor
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _bisect(successes, trials - successes + 1, tail)
    high = 1.0 if successes == trials else _bisect(successes + 1, trials - successes, 1 - tail)
    return low, high


def _bisect(a: float, b: float, wanted: float) -> float:
    """The x with I_x(a, b) = wanted; I rises with x."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) (DLMF 8.17.22, by Lentz's method).

    P(X >= k) of a binomial with n trials and probability p is I_p(k, n - k + 1).
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    fraction = d
    change = 0.0
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            change = c * d
            fraction *= change
        if abs(change - 1) < 1e-14:
            break
    return front * fraction / a

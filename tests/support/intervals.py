"""Exact binomial intervals, without SciPy."""

from __future__ import annotations

import math


def binomial_interval(trials: int, probability: float, confidence: float) -> tuple[int, int]:
    """The smallest and largest count of successes that leave at most (1 - confidence) / 2 outside
    on each side: the exact, equal-tailed interval of Binomial(trials, probability)."""
    tail = (1 - confidence) / 2
    terms = [_probability_of(k, trials, probability) for k in range(trials + 1)]
    low = _first_beyond(terms, tail)
    high = trials - _first_beyond(terms[::-1], tail)
    return low, high


def _first_beyond(terms: list[float], tail: float) -> int:
    total = 0.0
    for index, term in enumerate(terms):
        total += term
        if total > tail:
            return index
    raise AssertionError("probabilities do not sum to 1")


def _probability_of(successes: int, trials: int, probability: float) -> float:
    logarithm = (
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )
    return math.exp(logarithm)

"""What was measured, and the numbers made of it. Pure.

Rules:

- What could not be measured has no value and a reason; it is never zero.
- A flood that a subject carried whole says what it carries at least. A ratio to such a value would
  be too high, so it is not made.
- Subjects take turns within a round, so that a ratio compares what was measured within seconds of
  each other: it is the median of the rounds' ratios, not the ratio of the medians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

TCP: Final = "tcp_bit_s"
LARGE: Final = "frames_1514_bytes_per_s"
SMALL: Final = "frames_60_bytes_per_s"
DELAY_P50: Final = "added_delay_p50_ns"
DELAY_P99: Final = "added_delay_p99_ns"
METRICS: Final = (TCP, LARGE, SMALL, DELAY_P50, DELAY_P99)
RATES: Final = (TCP, LARGE, SMALL)
"""The metrics of which more is better and a ratio means something."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One subject in one round."""

    subject: str
    round_number: int
    values: dict[str, float]
    """By metric."""
    problems: dict[str, str] = {}
    """By metric, why it has no value."""
    at_least: list[str] = []
    """Metrics whose value is a lower bound: the subject could have carried more than was sent."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every turn."""

    date: str
    kernel: str
    cpu: str
    cpu_count: int
    python: str
    scheduler: str
    """Of every emulator: ``fifo`` (SCHED_FIFO), or ``other`` where that is not allowed."""
    congestion_control: str


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the rounds."""

    median: float
    least: float
    most: float
    count: int
    at_least: int
    """In how many of the rounds it is a lower bound."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One subject over the rounds."""

    subject: str
    settings: str
    values: dict[str, Spread]
    ratios: dict[str, float]
    """To the bare relay in C, by metric."""
    problems: list[str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One subject against another one, by metric."""

    subject: str
    reference: str
    ratios: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    conditions: Conditions
    rounds: int
    rows: list[Row]
    comparisons: list[Comparison]
    turns: list[Turn]


def percentile(values: Sequence[int], percent: float) -> int:
    """The smallest value that `percent` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def spread(turns: Sequence[Turn], subject: str, metric: str) -> Spread | None:
    """The metric of a subject over the rounds; None where it was never measured."""
    own = [turn for turn in turns if turn.subject == subject and metric in turn.values]
    if not own:
        return None
    values = [turn.values[metric] for turn in own]
    return Spread(
        median=median(values),
        least=min(values),
        most=max(values),
        count=len(values),
        at_least=sum(metric in turn.at_least for turn in own),
    )


def ratios(turns: Sequence[Turn], subject: str, reference: str) -> dict[str, float]:
    """By metric, the subject as a multiple of the reference, where a round has both."""
    found = {}
    for metric in RATES:
        theirs = {
            turn.round_number: turn.values[metric]
            for turn in turns
            if turn.subject == reference and metric in turn.values and metric not in turn.at_least
        }
        pairs = [
            turn.values[metric] / theirs[turn.round_number]
            for turn in turns
            if turn.subject == subject and metric in turn.values and turn.round_number in theirs
        ]
        if pairs:
            found[metric] = median(pairs)
    return found


def row(
    turns: Sequence[Turn], subject: str, settings: str, reference: str, missing: str | None
) -> Row:
    """A subject over all rounds; `missing` says why it did not take part."""
    spreads = {metric: spread(turns, subject, metric) for metric in METRICS}
    reasons = [t.problems[m] for t in turns if t.subject == subject for m in sorted(t.problems)]
    return Row(
        subject=subject,
        settings=settings,
        values={metric: found for metric, found in spreads.items() if found is not None},
        ratios=ratios(turns, subject, reference),
        problems=[missing] if missing else list(dict.fromkeys(reasons)),
    )

"""What the turns say, pairwise (pure), and as text."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Final

import msgspec

from benchmarks.load.turns import BARE, OBSERVED, OURS, Turn
from benchmarks.theory.table import aligned

WANTED_RATIO: Final = 0.95
"""Of the bare loop's rate."""
WANTED_LATE_NS: Final = 2_000_000
"""At p99, where the client's process has half a CPU to do."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Turns that took place one right after the other."""

    bare: Turn
    ours: Turn
    observed: Turn
    paced: Turn
    """An open loop."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    date: str
    kernel: str
    cpu: str
    cpu_count: int
    python: str
    load_average: float
    """Of the minute before: beside other work the ratios count, not the figures."""
    users: int
    requests: int
    rounds: list[Round]


def quantile(values: Sequence[int], ratio: float) -> int:
    """By nearest rank, as the summary's."""
    return sorted(values)[max(0, ceil(ratio * len(values)) - 1)]


def ratios(rounds: Sequence[Round], subject: str) -> list[float]:
    """A subject's rate over the bare loop's of the same round."""
    name = {OURS: "ours", OBSERVED: "observed", BARE: "bare"}[subject]
    return [getattr(r, name).requests_per_s / r.bare.requests_per_s for r in rounds]


def late_p99_ns(rounds: Sequence[Round]) -> int:
    """The median over the rounds of how late an open loop's starts are at p99."""
    return round(median(quantile(r.paced.late_ns, 0.99) for r in rounds))


def table(results: Results) -> str:
    """The results as text."""
    rounds = results.rounds
    rows = [["", "requests/s", "of bare", "range", "CPU per request"]]
    for subject, name in ((BARE, "bare"), (OURS, "ours"), (OBSERVED, "observed")):
        turns = [getattr(one, name) for one in rounds]
        found = ratios(rounds, subject)
        rows.append(
            [
                subject,
                f"{median(turn.requests_per_s for turn in turns):.0f}",
                f"{median(found):.3f}",
                f"{min(found):.3f}..{max(found):.3f}",
                f"{median(turn.cpu_ns_per_request for turn in turns) / 1e3:.0f} µs",
            ]
        )
    paced = [one.paced for one in rounds]
    late = [median(quantile(one.late_ns, ratio) for one in paced) / 1e3 for ratio in (0.5, 0.99, 1)]
    return "\n".join(
        [
            f"{results.date} · Linux {results.kernel} · {results.cpu_count} CPUs, {results.cpu} · "
            f"Python {results.python}",
            f"{results.users} users, {results.requests} requests a turn · load before "
            f"{results.load_average:.1f} · medians of {len(rounds)} rounds",
            aligned(rows),
            f"rate at least {WANTED_RATIO} of bare: "
            f"{_yes(median(ratios(rounds, OURS)) >= WANTED_RATIO)}",
            f"open loop at {median(turn.requests_per_s for turn in paced):.0f}/s, "
            f"{100 * median(turn.cpu_ratio for turn in paced):.0f} % of a CPU: late by "
            f"{late[0]:.0f} µs at p50, {late[1]:.0f} µs at p99, {late[2]:.0f} µs at most",
            f"it waited {100 * median(turn.cpu_wait_ratio for turn in paced):.1f} % of the "
            "time for a CPU that others had",
            f"late by at most {WANTED_LATE_NS / 1e6:.0f} ms at p99: "
            f"{_yes(late_p99_ns(rounds) <= WANTED_LATE_NS)}",
        ]
    )


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"

"""What was measured, and the numbers made of it. Pure.

Rules:

- Subjects take turns within a round, in turned order in every second one: a ratio compares what was
  measured within seconds of each other, and what is shown is the median of the rounds' ratios.
- What could not be measured has a reason and no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from benchmarks.theory.table import aligned

MININET: Final = "Mininet"
MININET_TC: Final = "Mininet, TCLink"
CAPACITY: Final = "testbed, capacity"
DELAY: Final = "testbed, capacity and delay"
SUBJECTS: Final = (MININET, MININET_TC, CAPACITY, DELAY)
SHAPED: Final = (CAPACITY, DELAY)
"""What must stand within the time that stock Mininet takes for unshaped links."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn says when its network stands; seconds."""

    start_s: float
    forwarding_s: float
    """From the start as well."""
    told_at_s: float
    """CLOCK_MONOTONIC."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One subject of one size in one round; seconds."""

    subject: str
    hosts: int
    round_number: int
    start_s: float
    forwarding_s: float
    stop_s: float
    """Until the last process of its sandbox has ended."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    kernel: str
    cpus: int
    turns: list[Turn]
    reasons: dict[str, str] = {}
    """Subject -> why it was not measured."""


def turns_of(turns: Sequence[Turn], subject: str, hosts: int) -> dict[int, Turn]:
    """The turns of one subject and size, by round."""
    return {
        turn.round_number: turn for turn in turns if (turn.subject, turn.hosts) == (subject, hosts)
    }


def ratios(turns: Sequence[Turn], subject: str, hosts: int, field: str) -> list[float]:
    """A field against stock Mininet's of the same round, for the rounds that have both."""
    own, reference = (turns_of(turns, name, hosts) for name in (subject, MININET))
    return [
        getattr(own[number], field) / getattr(reference[number], field)
        for number in sorted(own.keys() & reference.keys())
    ]


def table(results: Results) -> str:
    """The results as text."""
    head = [
        "hosts", "subject", "start", "of Mininet", "range", "forwarding", "of Mininet", "stop",
        "of Mininet",
    ]  # fmt: skip
    turns = results.turns
    sizes = sorted({turn.hosts for turn in turns})
    rows = [
        _row(turns, subject, hosts)
        for hosts in sizes
        for subject in SUBJECTS
        if turns_of(turns, subject, hosts)
    ]
    rounds = len({turn.round_number for turn in turns})
    heading = (
        f"Linux {results.kernel}, {results.cpus} CPUs; star of n hosts; medians of {rounds} "
        "rounds, ratios are medians of the rounds' own"
    )
    reasons = [f"{name}: not measured: {why}" for name, why in results.reasons.items()]
    return "\n".join([heading, "", aligned([head, *rows]), *_findings(turns, sizes), *reasons])


def _row(turns: Sequence[Turn], subject: str, hosts: int) -> list[str]:
    own = turns_of(turns, subject, hosts).values()
    start = ratios(turns, subject, hosts, "start_s")
    cells = [str(hosts), subject]
    for field in ("start_s", "forwarding_s", "stop_s"):
        found = ratios(turns, subject, hosts, field)
        cells.append(f"{median(getattr(turn, field) for turn in own):.2f} s")
        cells.append(f"{median(found):.2f}" if found else "-")
        if field == "start_s":
            cells.append(f"{min(start):.2f}..{max(start):.2f}" if start else "-")
    return cells


def _findings(turns: Sequence[Turn], sizes: Sequence[int]) -> list[str]:
    """Whether shaped networks stood within stock Mininet's time, in how many of the rounds."""
    found = []
    for subject in SHAPED:
        parts = []
        for hosts in sizes:
            own = ratios(turns, subject, hosts, "start_s")
            if own:
                parts.append(f"{hosts} hosts {sum(r <= 1 for r in own)} of {len(own)}")
        if parts:
            found.append(f"{subject}: stood within stock Mininet's time in {', '.join(parts)}")
    return found

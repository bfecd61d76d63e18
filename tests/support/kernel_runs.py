"""Runs as they are typed, on a machine that may be an emulated one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from testbed.analysis.summary import LinkDirection, Summary
from tests.support.people import environment
from tests.support.runs import run_argv

DELAY_NS: Final = 20_000_000
LOSS_RATIO: Final = 0.02
CAPACITY_BIT_S: Final = 5_000_000
LIMIT_S: Final = 280.0
"""How long a run may take: a minute on an emulated CPU, four on one that others use as well."""
TIMING_CHECKS: Final = frozenset(
    {"CPU wait", "delay error", "load generator", "relay lateness", "stolen CPU", "wake-ups"}
)
"""Checks of the verdict that an emulated CPU cannot keep, whatever the links do."""


@dataclass(frozen=True, slots=True)
class CommandLineRun:
    """A run that has ended."""

    root: Path
    exit_code: int
    summary: Summary

    def bottlenecks(self) -> dict[str, LinkDirection]:
        """The two directions with delay, loss and capacity."""
        return {way: self.direction(way) for way in ("client-r1 reverse", "r1-server forward")}

    def plain(self) -> dict[str, LinkDirection]:
        """The two that only carry."""
        return {way: self.direction(way) for way in ("client-r1 forward", "r1-server reverse")}

    def direction(self, way: str) -> LinkDirection:
        """By link and direction."""
        link, direction = way.split()
        return {str(name): found for name, found in self.summary.links[link].items()}[direction]


def command_line_run(out: Path, link_backend: str, requests: int = 60) -> CommandLineRun:
    """Runs the bottleneck with `link_backend`, 20 ms, 2 % and 5 Mbit/s.

    Raises:
        AssertionError: it left no summary; says what it printed.
    """
    argv = run_argv(out, requests, capacity="5mbit", **{"link-backend": link_backend})
    done = subprocess.run(
        [*argv, "--json"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode in (0, 5), done.stderr  # 5: done, and the verdict is invalid
    return CommandLineRun(out, done.returncode, msgspec.json.decode(done.stdout, type=Summary))

"""`python -m benchmarks.topology`, from a checkout, as root: measures, and prints a table or JSON.

Rules:

- Each turn is a sandbox of its own, where nothing of another turn is left.
- Mininet's switch is its Linux bridge, as the testbed's: no daemon of Open vSwitch is measured.
- The kernel takes namespaces apart after their last process has ended: a turn waits for that of the
  one before.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from benchmarks import command
from benchmarks.topology.results import (
    MININET,
    MININET_TC,
    SUBJECTS,
    Results,
    Standing,
    Turn,
    table,
)
from testbed.errors import RunError
from testbed.network.tools import locate
from testbed.recording.layout import create
from testbed.sandbox.launcher import Sandbox

SIZES: Final = (10, 50, 100, 200)
_SETTLE_S: Final = 0.02
"""For each host, after a turn: what the kernel's own clean-up may take."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)
    subjects, sizes = arguments.only or SUBJECTS, arguments.hosts or SIZES
    return command.run(
        "topology",
        lambda: _measure(subjects, sizes, arguments.rounds),
        lambda found: print(table(found)),
        as_json=arguments.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "topology",
        "Measures how long networks take to start and to stop, beside stock Mininet. "
        "Takes about five minutes.",
    )
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="these; again for more")
    parser.add_argument(
        "--hosts",
        type=command.whole_within(2, 250),
        action="append",
        metavar="N",
        help="2 to 250; again for more",
    )
    parser.add_argument("--rounds", type=command.whole, default=5, metavar="N")
    return parser


def _measure(subjects: Sequence[str], sizes: Sequence[int], rounds: int) -> Results:
    reasons = {name: _cannot(name) for name in subjects}
    able = [name for name in subjects if not reasons[name]]
    turns = []
    for hosts in sizes:
        for number in range(rounds):
            command.say(f"{hosts} hosts: round {number + 1} of {rounds}")
            for name in able if number % 2 == 0 else able[::-1]:
                turns.append(_turn(name, hosts, number))
                time.sleep(_SETTLE_S * hosts)
    return Results(
        kernel=platform.release(),
        cpus=len(os.sched_getaffinity(0)),
        turns=turns,
        reasons={name: why for name, why in reasons.items() if why},
    )


def _cannot(subject: str) -> str:
    if subject not in (MININET, MININET_TC):
        return ""
    if os.geteuid() != 0:
        return "Mininet must run as root"
    lacking = [name for name in ("brctl", "mnexec", "ifconfig") if locate(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def _turn(subject: str, hosts: int, number: int) -> Turn:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        create(root)
        argv = [sys.executable, "-W", "ignore", "-m", "benchmarks.topology.turn"]
        sandbox = Sandbox(
            [*argv, subject, str(hosts), str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with sandbox:
            said, complaints = sandbox.process.communicate()
            ended_s = time.monotonic()
        if sandbox.process.returncode != 0:
            text = complaints.decode(errors="replace").strip()[-2000:]
            raise RunError(f"{subject} with {hosts} hosts failed: {text}", where=subject)
    lines = [line for line in said.splitlines() if line.startswith(b"{")]
    standing = msgspec.json.decode(lines[-1], type=Standing)
    return Turn(
        subject=subject,
        hosts=hosts,
        round_number=number,
        start_s=standing.start_s,
        forwarding_s=standing.forwarding_s,
        stop_s=ended_s - standing.told_at_s,
    )


if __name__ == "__main__":
    sys.exit(main())

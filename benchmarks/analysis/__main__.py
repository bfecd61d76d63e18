"""`python -m benchmarks.analysis`, from a checkout: measures, and prints a table or JSON.

Ends with 0 however fast it is. An error ends it with the testbed's own exit codes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks import command
from benchmarks.analysis.measure import (
    SUBJECTS,
    TSHARK,
    Row,
    Used,
    argvs,
    measure,
    packets_of,
    rows,
)
from benchmarks.analysis.recording import make
from benchmarks.analysis.table import table
from benchmarks.relay.ends import cpu_name


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    date: str
    kernel: str
    cpu: str
    cpu_count: int
    python: str
    tshark: str | None
    """Its version; None: not installed, and not measured."""
    load_average: float
    """Of the minute before: beside other work the ratios count, not the figures."""
    packets: int
    capture_bytes: int
    rounds: int
    rows: list[Row]
    turns: list[Used]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)

    def measured() -> Results:
        with ExitStack() as stack:
            root: Path | None = arguments.recording
            if root is None:
                root = Path(stack.enter_context(TemporaryDirectory())) / "run"
                _say(f"a run of about {arguments.packets} captured packets")
                make(root, arguments.packets)
            return _measure(root, arguments.rounds)

    return command.run(
        "analysis", measured, lambda found: print(_text(found)), as_json=arguments.json
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "analysis",
        "Analyses a recording, and lets tshark read the same captures.",
    )
    parser.add_argument(
        "recording",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="a recording; its results are written again. Left out: a run is made",
    )
    parser.add_argument(
        "--packets",
        type=command.whole,
        default=300_000,
        metavar="N",
        help="captured packets of that run, roughly (300000: 10 s; 2000000: a minute)",
    )
    parser.add_argument("--rounds", type=command.whole, default=3, metavar="N", help="3")
    return parser


def _measure(root: Path, rounds: int) -> Results:
    tshark = shutil.which("tshark")
    packets = packets_of(root)
    before = os.getloadavg()[0]
    subjects = [s for s in SUBJECTS if s != TSHARK or tshark]
    turns = []
    for number in range(rounds):
        for subject in subjects:
            _say(f"round {number + 1} of {rounds}: {subject}")
            turns.append(measure(subject, argvs(subject, root, tshark)))
    return Results(
        date=time.strftime("%Y-%m-%d"),
        kernel=platform.release(),
        cpu=cpu_name(),
        cpu_count=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        tshark=None if tshark is None else _version(tshark),
        load_average=before,
        packets=packets,
        capture_bytes=sum(path.stat().st_size for path in (root / "packets").glob("*.pcapng")),
        rounds=rounds,
        rows=rows(turns, packets),
        turns=turns,
    )


def _version(tshark: str) -> str:
    done = subprocess.run([tshark, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.split() + ["?"] * 3)[2].strip(".")


def _text(found: Results) -> str:
    beside = f"tshark {found.tshark}" if found.tshark else "tshark not measured: apt install tshark"
    return (
        f"{found.date} · Linux {found.kernel} · {found.cpu_count} CPUs, {found.cpu} · "
        f"Python {found.python} · {beside}\n"
        f"{found.packets} captured packets, {found.capture_bytes / 1e6:.0f} MB · load before "
        f"{found.load_average:.1f} · medians of {found.rounds} rounds, memory the most\n"
        f"{table(found.rows)}"
    )


def _say(what: str) -> None:
    command.say(f"benchmarks.analysis: {what}")


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.relay`: our relay against others, on this machine, in a few minutes."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from rich.console import Console

from benchmarks import command
from benchmarks.relay import results
from benchmarks.relay.ends import cpu_name
from benchmarks.relay.lab import Orders, Standing
from benchmarks.relay.results import Comparison, Conditions, Report, Turn
from benchmarks.relay.subjects import BARE, COMPARISONS, SUBJECTS
from benchmarks.relay.table import WIDTH, print_report
from testbed.errors import MachineError, RunError
from testbed.network.tools import find_tool, locate
from testbed.sandbox.launcher import Sandbox

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_PROGRAMS: Final = ("bare_relay", "flood")


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    options = _parser().parse_args(words)
    return command.run(
        "relay",
        lambda: measure(options.rounds, options.tcp, options.flood, options.probe, options.only),
        lambda report: print_report(Console(width=WIDTH), report),
        as_json=options.json,
    )


def measure(
    rounds: int, tcp_s: int, flood_s: float, probe_s: float, only: Sequence[str] = ()
) -> Report:
    """Runs the rounds in a sandbox.

    Args:
        rounds: how many turns each subject gets.
        tcp_s: length of a TCP connection, after its first second.
        flood_s: length of each flood of frames.
        probe_s: how long delays are probed.
        only: names of the subjects that take part; all when empty.

    Raises:
        MachineError: a program is missing without which nothing can be measured.
        RunError: the lab failed.
    """
    if locate("iperf3") is None:
        raise MachineError("iperf3 is not installed (Debian package iperf3)")
    chosen = [subject for subject in SUBJECTS if not only or subject.name in only]
    missing = {subject.name: subject.missing() for subject in chosen}
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        _compile(Path(folder))
        orders = Orders(
            folder=folder,
            rounds=rounds,
            tcp_s=tcp_s,
            flood_s=flood_s,
            probe_s=probe_s,
            subjects=[name for name, reason in missing.items() if reason is None],
        )
        told = msgspec.json.encode(orders).decode()
        # This checkout, whatever the directory is and whatever is installed.
        python = [find_tool("env"), f"PYTHONPATH={_CHECKOUT}", sys.executable]
        command = [*python, "-m", "benchmarks.relay.lab", told]
        with Sandbox(command, stdout=subprocess.PIPE) as sandbox:
            assert sandbox.process.stdout is not None
            with sandbox.process.stdout as lines:
                standing, turns = _listen(lines, rounds * len(orders.subjects))
            if sandbox.wait() != 0:
                raise RunError("the lab failed; its last lines are above")
    return Report(
        conditions=_conditions(standing),
        rounds=rounds,
        rows=[results.row(turns, s.name, s.settings, BARE.name, missing[s.name]) for s in chosen],
        comparisons=[
            Comparison(
                subject=ours.name,
                reference=theirs.name,
                ratios=results.ratios(turns, ours.name, theirs.name),
            )
            for ours, theirs in COMPARISONS
        ],
        turns=turns,
    )


def _compile(folder: Path) -> None:
    """The C programs into `folder`, where there is a compiler.

    Raises:
        RunError: it refused.
    """
    if locate("cc") is None:
        return
    for name in _PROGRAMS:
        source = Path(__file__).with_name(f"{name}.c")
        argv = [find_tool("cc"), "-O2", "-o", str(folder / name), str(source)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RunError(f"cannot compile {source.name}: {done.stderr.strip()}")


def _listen(lines: IO[bytes], expected: int) -> tuple[Standing, list[Turn]]:
    first = lines.readline()
    if not first:
        raise RunError("the lab did not start; its last lines are above")
    standing = msgspec.json.decode(first, type=Standing)
    turns = []
    for line in lines:
        turns.append(msgspec.json.decode(line, type=Turn))
        if sys.stderr.isatty():
            print(f"\r{len(turns)}/{expected} turns", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    return standing, turns


def _conditions(standing: Standing) -> Conditions:
    return Conditions(
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        kernel=platform.release(),
        cpu=cpu_name(),
        cpu_count=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        scheduler=standing.scheduler,
        congestion_control=standing.congestion_control,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("relay", __doc__)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument(
        "--rounds", type=command.whole, default=4, help="turns of each subject (default: 4)"
    )
    parser.add_argument("--tcp", type=command.whole, default=2, metavar="S", help="seconds of TCP")
    parser.add_argument(
        "--flood", type=command.seconds, default=0.5, metavar="S", help="of each flood"
    )
    parser.add_argument(
        "--probe", type=command.seconds, default=0.6, metavar="S", help="of delay probes"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="SUBJECT",
        help=f"may be given more than once; one of: {', '.join(names)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

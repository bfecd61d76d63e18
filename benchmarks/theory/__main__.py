"""`python -m benchmarks.theory`, from a checkout: measures, and prints a table or JSON.

Ends with 0 also when a figure lies outside of its band: the table says so, and the machine may be
why. An error of the machine or of a tool ends it with the testbed's own exit codes.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks import command
from benchmarks.theory import drop_tail, mathis
from benchmarks.theory.measure import Measured, check_tools, measure_all
from benchmarks.theory.table import drop_tail_table, mathis_table
from testbed.live.machine import cpu_kept_free

_QUICK_S = 15


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    kernel: str
    schedulers: list[str]
    """The relays' schedulers: ``fifo``, or ``other`` where SCHED_FIFO may not be had."""
    overflowed_packets: int
    """What a relay could not write: anything but 0 spoils the figures."""
    mathis: list[mathis.Result]
    drop_tail: list[drop_tail.Result]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)
    return command.run(
        "theory",
        lambda: _measure(arguments),
        lambda found: print(_as_text(found)),
        as_json=arguments.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "theory",
        "Holds the testbed against theory with iperf3 and ping. Takes about 10 "
        "minutes with two measurements at once, 19 with one.",
    )
    parser.add_argument("--only", choices=("mathis", "drop-tail"), help="one of the two parts")
    parser.add_argument(
        "--seeds", type=command.whole, default=5, metavar="N", help="runs of each loss ratio"
    )
    parser.add_argument("--first-seed", type=int, default=1, metavar="N")
    parser.add_argument(
        "--quick", action="store_true", help=f"one seed and {_QUICK_S} s each: about two minutes"
    )
    parser.add_argument(
        "--at-once",
        type=command.whole,
        metavar="N",
        help="measurements side by side (two; one where the relay may not have SCHED_FIFO)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep all logs in this new folder")
    return parser


def _measure(arguments: argparse.Namespace) -> Results:
    check_tools()
    first: int = arguments.first_seed
    seeds = range(first, first + (1 if arguments.quick else arguments.seeds))
    cases = dict.fromkeys(mathis.CASES, _QUICK_S) if arguments.quick else mathis.CASES
    queue_s = _QUICK_S if arguments.quick else drop_tail.SECONDS
    lossy = [] if arguments.only == "drop-tail" else list(mathis.jobs(seeds, cases=cases))
    queued = [] if arguments.only == "mathis" else list(drop_tail.jobs(first, seconds=queue_s))
    with ExitStack() as stack:
        folder = arguments.out or Path(stack.enter_context(TemporaryDirectory()))
        cpu = stack.enter_context(cpu_kept_free())
        at_once = arguments.at_once or (2 if cpu is None else 1)
        measured = measure_all(
            folder, [*lossy, *queued], at_once=at_once, relay_cpu=cpu, tell=command.say
        )
        return _results(measured[: len(lossy)], measured[len(lossy) :])


def _results(lossy: Sequence[Measured], queued: Sequence[Measured]) -> Results:
    answers = [measured.answer for measured in (*lossy, *queued)]
    return Results(
        kernel=platform.release(),
        schedulers=sorted({answer.scheduler for answer in answers}),
        overflowed_packets=sum(answer.overflowed for answer in answers),
        mathis=mathis.results(lossy),
        drop_tail=[drop_tail.result(measured) for measured in queued],
    )


def _as_text(results: Results) -> str:
    parts = [
        f"Kernel {results.kernel}; relay's scheduler: {', '.join(results.schedulers)}; packets "
        f"that it could not write: {results.overflowed_packets}",
    ]
    if results.mathis:
        parts.append(mathis_table(results.mathis))
    if results.drop_tail:
        parts.append(drop_tail_table(results.drop_tail))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.probes`, from a checkout: measures, and prints a table or JSON.

Rules:

- A closed loop over a link with delay, so that the machine is not at its limit and a slower request
  shows in the rate: with 9 users and 40 ms of round trip about 200 requests per second.
- A turn is a pair, first without any probe and then with some, in every second round the other way
  round; a ratio is that of a pair, and what is shown is the median over the rounds.
- Requests are observed by the clients in any case: the load generator's own record is no probe.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from benchmarks import command
from benchmarks.theory.table import aligned
from testbed import Link, Load, Scenario, run
from testbed.errors import TestbedError
from testbed.recording.layout import open_layout
from testbed.recording.manifest import read_manifest
from testbed.scenario.probes import NAMES

NONE: Final = "none"
SUBJECTS: Final = ("light", "all", *NAMES)
USERS: Final = 9
DELAY: Final = "20ms"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    request_rate_per_s: float
    latency_p50_ns: int
    latency_p99_ns: int
    cpu_ns_per_request: float
    """Of server and clients together."""
    busy_cpu_ratio: float | None
    recorded_bytes: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A turn with probes and the one beside it without."""

    without: Turn
    having: Turn


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What some probes cost."""

    probes: str
    pairs: list[Pair]
    reason: str = ""
    """Why there are no pairs."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    format: int = 1
    kernel: str
    cpus: int
    requests: int
    subjects: list[Subject]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)
    return command.run(
        "probes",
        lambda: _measure(arguments.only or SUBJECTS, arguments.rounds, arguments.requests),
        lambda found: print(table(found)),
        as_json=arguments.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "probes",
        "Measures what each probe costs, at about 200 requests per second. Takes about "
        "nine minutes.",
    )
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="these; again for more")
    parser.add_argument("--rounds", type=command.whole, default=5, metavar="N")
    parser.add_argument(
        "--requests", type=command.whole, default=600, metavar="N", help="of each turn (600)"
    )
    return parser


def _measure(wanted: Sequence[str], rounds: int, requests: int) -> Results:
    pairs: dict[str, list[Pair]] = {name: [] for name in wanted}
    reasons = {name: _cannot(name) for name in wanted}
    with TemporaryDirectory() as folder:
        _turn(Path(folder) / "first", NONE, requests)  # imports, caches
        for number in range(rounds):
            for name in wanted:
                if not reasons[name]:
                    command.say(f"round {number + 1} of {rounds}: {name}")
                    place = Path(folder) / f"{number}-{name}"
                    pairs[name].append(_pair(place, name, requests, turned=number % 2 == 1))
    return Results(
        kernel=platform.release(),
        cpus=len(os.sched_getaffinity(0)),
        requests=requests,
        subjects=[Subject(probes=name, pairs=pairs[name], reason=reasons[name]) for name in wanted],
    )


def _cannot(probes: str) -> str:
    root = os.geteuid() == 0
    return "tracepoints need real root" if probes == "tracepoints" and not root else ""


def _pair(folder: Path, probes: str, requests: int, *, turned: bool) -> Pair:
    order = (probes, NONE) if turned else (NONE, probes)
    turns = {name: _turn(folder / name, name, requests) for name in order}
    return Pair(without=turns[NONE], having=turns[probes])


def _turn(root: Path, probes: str, requests: int) -> Turn:
    root.parent.mkdir(exist_ok=True)
    scenario = Scenario(
        topology="single_bottleneck",
        app="hello",
        link=Link(capacity="100mbit", delay=DELAY),
        load=Load(users=USERS, requests=requests),
        probes=probes,
        seed=1,
    )
    recording = run(scenario, root)
    http, manifest = recording.summary.http, read_manifest(open_layout(recording.root))
    if http.latency_ns is None or http.request_rate_per_s is None or http.failed:
        raise TestbedError(f"with {probes} {http.failed} of {http.requests} requests failed")
    segments = [*(root / "segments").iterdir(), *(root / "packets").iterdir()]
    return Turn(
        request_rate_per_s=http.request_rate_per_s,
        latency_p50_ns=http.latency_ns.p50,
        latency_p99_ns=http.latency_ns.p99,
        cpu_ns_per_request=sum(one.ran_ns for one in manifest.cpu_shares.values()) / requests,
        busy_cpu_ratio=manifest.busy_cpu_ratio,
        recorded_bytes=sum(path.stat().st_size for path in segments),
    )


def table(results: Results) -> str:
    """The results as text."""
    head = [
        "probes", "requests/s", "of none", "range", "latency p50", "p99", "CPU per request",
        "busy CPU", "recorded",
    ]  # fmt: skip
    rows = [list(_row(subject)) for subject in results.subjects if subject.pairs]
    heading = (
        f"Linux {results.kernel}, {results.cpus} CPUs; {results.requests} requests in each turn, "
        f"{USERS} users, {DELAY} each way; medians of the pairs' ratios to no probes"
    )
    lacking = [
        f"{subject.probes}: not measured: {subject.reason}"
        for subject in results.subjects
        if not subject.pairs
    ]
    return "\n".join([heading, "", aligned([head, *rows]), *lacking])


def _row(subject: Subject) -> Iterator[str]:
    pairs = subject.pairs
    rates = [pair.having.request_rate_per_s / pair.without.request_rate_per_s for pair in pairs]
    yield subject.probes
    yield f"{median(pair.having.request_rate_per_s for pair in pairs):.0f}"
    yield f"{median(rates):.3f}"
    yield f"{min(rates):.3f}..{max(rates):.3f}"
    for name in ("latency_p50_ns", "latency_p99_ns", "cpu_ns_per_request"):
        ratios = [getattr(pair.having, name) / getattr(pair.without, name) for pair in pairs]
        yield f"{median(ratios):.2f}"
    busy = [
        pair.having.busy_cpu_ratio - pair.without.busy_cpu_ratio
        for pair in pairs
        if pair.having.busy_cpu_ratio is not None and pair.without.busy_cpu_ratio is not None
    ]
    yield f"{100 * median(busy):+.0f} %" if busy else "not known"
    yield f"{median(pair.having.recorded_bytes for pair in pairs) / 1e6:.2f} MB"


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.load`, from a checkout: measures, and prints a table or JSON.

Rules:

- In a round each subject has a turn, in every second round the other way round; a ratio is that of
  a round, and what is shown is the median over the rounds.
- The open loop starts requests at a third of the rate that our closed loop had in the same round:
  about half a CPU's work for the client, as there each request is a task and connections are more.

Ends with 0 whatever comes out. An error ends it with the testbed's own exit codes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import command
from benchmarks.load.results import Results, Round, table
from benchmarks.load.turns import bare, ours, server
from benchmarks.relay.ends import cpu_name
from testbed.scenario import Load


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)
    return command.run(
        "load",
        lambda: _measure(arguments.rounds, arguments.users, arguments.requests),
        lambda found: print(table(found)),
        as_json=arguments.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "load",
        "Measures our load generator beside a bare loop of httpx's, on loopback. Takes a minute.",
    )
    parser.add_argument("--rounds", type=command.whole, default=7, metavar="N", help="7")
    parser.add_argument("--users", type=command.whole, default=4, metavar="N", help="4")
    parser.add_argument(
        "--requests", type=command.whole, default=4000, metavar="N", help="of each turn (4000)"
    )
    return parser


def _measure(rounds: int, users: int, requests: int) -> Results:
    before = os.getloadavg()[0]
    found = []
    with server() as url, TemporaryDirectory() as folder:
        bare(url, users, requests)  # imports, caches
        for number in range(rounds):
            command.say(f"benchmarks.load: round {number + 1} of {rounds}")
            turned = number % 2 == 1
            found.append(_round(url, Path(folder), users, requests, turned=turned))
    return Results(
        date=time.strftime("%Y-%m-%d"),
        kernel=platform.release(),
        cpu=cpu_name(),
        cpu_count=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        load_average=before,
        users=users,
        requests=requests,
        rounds=found,
    )


def _round(url: str, folder: Path, users: int, requests: int, *, turned: bool) -> Round:
    closed = Load(users=users, requests=requests)
    subjects = {
        "bare": lambda: bare(url, users, requests),
        "ours": lambda: ours(url, closed, folder),
        "observed": lambda: ours(url, closed, folder, observed=True),
    }
    order = list(reversed(subjects)) if turned else list(subjects)
    turns = {name: subjects[name]() for name in order}
    rate = max(1, round(turns["ours"].requests_per_s / 3))
    return Round(**turns, paced=ours(url, Load(rate=f"{rate}/s", requests=requests), folder))


if __name__ == "__main__":
    sys.exit(main())

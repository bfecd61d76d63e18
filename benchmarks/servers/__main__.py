"""`python -m benchmarks.servers`, from a checkout: measures, and prints a table or JSON.

Ends with 0 whatever comes out. An error ends it with the testbed's own exit codes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import command
from benchmarks.relay.ends import cpu_name
from benchmarks.servers.measure import READ_RATE, SIZE, TIMEOUT, Row, measured
from testbed.report import format as scale
from testbed.scenario.servers import SERVERS

SEED: Final = 7


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    arguments = _parser().parse_args(words)
    return command.run(
        "servers",
        lambda: _measure(arguments),
        lambda rows: _show(rows, arguments.users),
        as_json=arguments.json,
    )


def _measure(arguments: argparse.Namespace) -> list[Row]:
    rows = []
    with TemporaryDirectory(prefix="testbed-servers-") as temporary:
        folder = arguments.out or Path(temporary)
        for server in arguments.only or SERVERS:
            command.say(f"benchmarks.servers: {server}")
            rows.append(measured(server, arguments.users, SEED, folder / server))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "servers",
        "The same slow clients against each server model. Takes two minutes.",
    )
    parser.add_argument(
        "--users", type=command.whole, default=200, metavar="N", help="clients (200)"
    )
    parser.add_argument(
        "--only", action="append", choices=SERVERS, metavar="SERVER", help="may be repeated"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the recordings there")
    return parser


def _show(rows: Sequence[Row], users: int) -> None:
    table = Table(
        title=f"{users} clients at once, each reading {SIZE} at {READ_RATE}/s; timeout {TIMEOUT}",
        caption=f"{cpu_name()}; latency of the completed ones",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("server")
    for heading in (
        "completed", "failed", "p50", "p99", "at once", "SYN dropped", "processes", "threads",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for row in rows:
        table.add_row(
            row.server,
            str(row.completed),
            str(sum(row.failures.values())),
            *(
                "-" if value is None else scale.duration(value)
                for value in (row.latency_ns_p50, row.latency_ns_p99)
            ),
            str(row.served_at_once),
            str(row.accept_queue_overflows),
            str(row.processes),
            str(row.threads),
            row.verdict,
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())

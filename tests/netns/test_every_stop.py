"""Rule: every stop of a request is provoked by one command, and shows at its own layer.

The commands and what is to be seen are those of docs/reference/every_stop.md.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from testbed.analysis.analyse import load_summary
from testbed.errors import EXIT_DONE, EXIT_INVALID
from testbed.scenario.expectation import parse_expectation
from tests.support.runs import CLI

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "every_stop.md"
LAYERS: Final = {
    "1": {"link", "links"},
    "2": {"nic"},
    "3": {"nic"},
    "4": {"ip"},
    "5": {"tcp", "ip"},
    "6": {"tcp", "socket"},
    "7": {"syscall", "event_loop"},
    "8": {"syscall"},
    "9": {"syscall", "socket"},
    "10": {"socket"},
    "11": {"http", "socket"},
    "12": {"event_loop"},
    "13": {"asgi", "syscall"},
    "14": {"asgi"},
    "15": {"socket", "tcp"},
    "16": {"qdisc", "tcp"},
    "17": {"http"},
}
"""Where each stop of the journey shows, whatever else does."""


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    number: str
    stop: str
    needs_root: bool
    command: str
    expectations: list[str]


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].isdigit():
            number, stop, needs, command, see = cells
            found.append(
                Row(
                    number, stop, needs == "root", command.strip("`"), re.findall(r"`([^`]+)`", see)
                )
            )
    return found


def test_every_stop_has_a_row_in_order() -> None:
    assert list(dict.fromkeys(row.number for row in rows())) == list(LAYERS)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row.number} {row.stop}") for row in rows()]
)
def test_it_shows(row: Row, tmp_path: Path) -> None:
    if row.needs_root and os.geteuid() != 0:
        pytest.skip("tracepoints are for root")
    program, *words = shlex.split(row.command)
    assert program == "./tb"
    expected = [word for text in row.expectations for word in ("--expect", text)]
    root = tmp_path / "run"
    ended = subprocess.run(
        [*CLI, *words, "--seed", "7", "--out", str(root), *expected],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # A busy machine may make a run invalid; what was provoked is there all the same.
    assert ended.returncode in (EXIT_DONE, EXIT_INVALID), ended.stdout + ended.stderr
    summary = load_summary(root)
    assert [one for one in summary.expectations if not one.holds] == []
    assert [one.expect for one in summary.expectations] == row.expectations
    places = [parse_expectation(text).figure.split(".") for text in row.expectations]
    assert LAYERS[row.number] & {part for place in places for part in place[:2]}

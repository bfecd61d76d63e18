"""Fates of packets on one direction of a built recording, and the numbers of that direction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from testbed.analysis.analyse import analyse
from testbed.analysis.summary import Impairment, LedgerRow, LinkDirection, Summary
from testbed.recording.manifest import AppliedChange
from tests.builders.recordings import START, US, Run
from tests.builders.transfers import data

WAY = ("r1-server", "reverse")
"""From the server: all data goes over it first."""


def send(run: Run, count: int, what: Callable[[int], dict[str, Any]], start: int = 0) -> None:
    """Segments of 1000 bytes from the server, 100 us apart; number n has the fate `what(n)`."""
    for number in range(start, start + count):
        data(run, number, number * 100 * US, **what(number))


def analysed(run: Run, tmp_path: Path) -> Summary:
    return analyse(run.write(tmp_path / "run").root)


def direction(summary: Summary, way: tuple[str, str] = WAY) -> LinkDirection:
    return summary.links[way[0]][way[1]]  # type: ignore[index]


def rule(summary: Summary, name: str) -> Impairment:
    (found,) = [one for one in direction(summary).impairments if one.impairment == name]
    return found


def row(summary: Summary, what: str) -> LedgerRow:
    (found,) = [one for one in summary.ledger.rows if one.what == what]
    return found


UNCAPTURED: Final = {"application to tcp: written bytes", "tcp to application: read bytes"}
"""The connection of the clients is in none of the captures that are made up here."""


def assert_trusted(summary: Summary) -> None:
    unseen = {row.what for row in summary.ledger.rows if row.balanced is None}
    assert unseen <= UNCAPTURED
    assert [row.what for row in summary.ledger.rows if row.balanced is False] == []
    assert [str(r) for r in summary.verdict.reasons if r.status != "faithful"] == []


def change(run: Run, at_ns: int, **settings: Any) -> None:
    run.changes.append(
        AppliedChange(
            at_ns=START + at_ns,
            done_ns=START + at_ns + 50 * US,
            link=WAY[0],
            direction="reverse",
            text="",
            source="python",
            settings=run.direction(WAY, **settings),
        )
    )

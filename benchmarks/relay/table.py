"""The report for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.relay.results import (
    DELAY_P50,
    DELAY_P99,
    LARGE,
    SMALL,
    TCP,
    Report,
    Row,
    Spread,
)

WIDTH: Final = 140
_ABSENT: Final = "-"
_NAMES: Final = {TCP: "TCP", LARGE: "1514-byte frames", SMALL: "60-byte frames"}


def print_report(console: Console, report: Report) -> None:
    """Prints the table, the comparisons and what could not be measured."""
    held = report.conditions
    console.print(
        f"{held.date} · Linux {held.kernel} · {held.cpu_count} CPUs, {held.cpu} · "
        f"Python {held.python}\n"
        f"emulators under SCHED_{held.scheduler.upper()} · TCP: {held.congestion_control}, one "
        f"connection · medians of {report.rounds} rounds",
        highlight=False,
    )
    console.print(_table(report), highlight=False)
    for comparison in report.comparisons:
        parts = [
            f"{_NAMES[m]} {_times(comparison.ratios[m])}" for m in _NAMES if m in comparison.ratios
        ]
        if parts:
            console.print(
                f"{comparison.subject} / {comparison.reference}: {', '.join(parts)}",
                highlight=False,
            )
    for row in report.rows:
        for problem in row.problems:
            console.print(f"{row.subject}, not measured: {problem}", highlight=False)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    for title in ("TCP\nMbit/s", "\nof C", "1514 B\nkframes/s", "\nGbit/s", "\nof C"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("60 B\nkframes/s", "\nof C", "added delay\np50", "\np99"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(row.subject, row.settings, *_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    return [
        _scaled(row.values, TCP, 1e6, 0),
        _ratio(row, TCP),
        _scaled(row.values, LARGE, 1e3, 0),
        _scaled(row.values, LARGE, 1e9 / (1514 * 8), 2),
        _ratio(row, LARGE),
        _scaled(row.values, SMALL, 1e3, 0),
        _ratio(row, SMALL),
        _scaled(row.values, DELAY_P50, 1e3, 1, " µs"),
        _scaled(row.values, DELAY_P99, 1e3, 1, " µs"),
    ]


def _scaled(
    values: Mapping[str, Spread], metric: str, divisor: float, digits: int, unit: str = ""
) -> str:
    found = values.get(metric)
    if found is None:
        return _ABSENT
    bound = "≥" if found.at_least * 2 > found.count else ""
    return f"{bound}{found.median / divisor:.{digits}f}{unit}"


def _ratio(row: Row, metric: str) -> str:
    return _times(row.ratios[metric]) if metric in row.ratios else _ABSENT


def _times(ratio: float) -> str:
    return f"{ratio:.2f}"

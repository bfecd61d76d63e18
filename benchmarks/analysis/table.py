"""The report for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.analysis.measure import Row

_TITLES: Final = (
    ("", "speed", "of tshark", "CPU", "of tshark", "CPUs", "memory"),
    ("", "kpackets/s", "", "µs/packet", "", "", "MB"),
)


def table(rows: Sequence[Row]) -> str:
    """A line for each subject."""
    lines = [_line(titles) for titles in _TITLES]
    for row in rows:
        cells = [
            row.subject,
            f"{row.packets_per_s / 1e3:.0f}",
            _times(row.of_tshark),
            f"{row.cpu_us_per_packet:.2f}",
            _times(row.of_tshark_cpu),
            f"{row.cpus:.2f}",
            f"{row.memory_bytes / 1e6:.0f}",
        ]
        lines.append(_line(cells))
    return "\n".join(line.rstrip() for line in lines)


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<14}" + "".join(f"{cell:>12}" for cell in cells[1:])


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"

"""The kinds of a mix in the terminal, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from testbed.analysis.summary import HttpKind
from testbed.report import format as scale


def table(kinds: Sequence[HttpKind]) -> Table:
    """What became of the requests of each kind."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    made.add_column("", overflow="fold")
    for name in ("share", "requests", "failed", "p50", "p99"):
        made.add_column(name, justify="right", no_wrap=True, header_style="dim")
    for one in kinds:
        latency = one.latency_ns
        made.add_row(
            Text(scale.clean(one.kind)),
            scale.percent(one.weight_ratio),
            scale.count(one.requests),
            scale.count(one.failed),
            scale.duration(latency.p50 if latency else None),
            scale.duration(latency.p99 if latency else None),
        )
    return made

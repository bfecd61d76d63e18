"""Why slow: what the latency at p50, p90 and p99 is made of, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from testbed.analysis.journey.why_slow import lost_at, words
from testbed.analysis.summary import JourneysAtQuantile, JourneyStageShare, JourneySummary
from testbed.report import format as scale
from testbed.report import wording
from testbed.report.format import clean

if TYPE_CHECKING:
    import polars as pl

KINDS: Final = (
    "work", "transmission", "propagation", "queueing", "recovery", "backpressure", "scheduling",
    "unexplained",
)  # fmt: skip
"""In the order of the legend; style.css has a colour for each."""
OTHER: Final = "other"
"""Stands for the stages of a quantile that are too small to be kept; no kind of its own."""
STYLES: Final = {
    "work": "green",
    "transmission": "cyan",
    "propagation": "blue",
    "queueing": "yellow",
    "recovery": "red",
    "backpressure": "magenta",
    "scheduling": "bright_black",
    "unexplained": "dim",
}
"""Colours in the terminal; the kind stands beside each of them in words."""
_STAGES: Final = 3
_TELLING_RATIO: Final = 0.02
_SMALLEST_RATIO: Final = 0.0005
"""Less is shown as nothing: shares have one digit after the point."""
_SLOWEST: Final = 5


def sentence(found: JourneySummary) -> str:
    """How much is explained, such as that of 200 of 200 requests 99 % or more is."""
    ratio = found.explained_requests_ratio
    if ratio is None:
        return "No request was completed."
    explained = round(ratio * found.requests)
    if not explained:
        return (
            "No request is explained to 99 %: that needs captures and the system calls of clients "
            "and servers (--probes all, a server with an event loop)."
        )
    return (
        f"{scale.count(explained)} of {scale.plural(found.requests, 'request')} "
        f"{'is' if explained == 1 else 'are'} explained to 99 % or more."
    )


def distinct(found: JourneySummary) -> list[tuple[str, JourneysAtQuantile]]:
    """Each quantile with its name; those that come from the same few requests are one."""
    parts: list[tuple[str, JourneysAtQuantile]] = []
    for at in found.why_slow:
        before = parts[-1][1] if parts else None
        if before is not None and (before.latency_ns, before.stages) == (at.latency_ns, at.stages):
            first = parts[-1][0].partition(" ")[0]
            parts[-1] = (f"{first} to {at.quantile}", at)
        else:
            parts.append((at.quantile, at))
    return parts


def together(at: JourneysAtQuantile) -> list[JourneyStageShare]:
    """The stages of a quantile, largest first; those of several parts of the way are one."""
    found: dict[str, JourneyStageShare] = {}
    for one in at.stages:
        name = words(one)
        before = found.get(name)
        found[name] = (
            one
            if before is None
            else msgspec.structs.replace(
                before, mean_ns=before.mean_ns + one.mean_ns, ratio=before.ratio + one.ratio
            )
        )
    return sorted(found.values(), key=lambda one: -one.ratio)


def telling(at: JourneysAtQuantile) -> list[JourneyStageShare]:
    """The largest stages of a quantile, at least one."""
    stages = together(at)
    large = [one for one in stages if one.ratio >= _TELLING_RATIO]
    return (large or stages)[:_STAGES]


def render(found: JourneySummary) -> RenderableType:
    """The section of the terminal's report."""
    if found.reason:
        return Text(f"{wording.NOT_OBSERVED}: {found.reason}", style="dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=len("p50 to p99"))  # the same place in every report
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    parts = distinct(found)
    for name, at in parts:
        for place, one in enumerate(telling(at)):
            table.add_row(
                Text("" if place else name, style="dim"),
                "" if place else scale.duration(at.latency_ns),
                scale.percent(round(one.ratio, 3)),
                Text(clean(words(one)), style=STYLES.get(one.kind, "default")),
            )
    counts = [at.requests for _, at in parts]
    around = f"the {scale.listed([scale.count(n) for n in counts])} requests around them"
    if set(counts) == {1}:
        around = "the only request there" if len(counts) == 1 else "one request at each"
    note = f"Shares of {around}. {sentence(found)}"
    return Group(table, Text(note, style="dim"))


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage of a waterfall or one share of a quantile, in per cent of the whole."""

    left: float
    width: float
    kind: str
    words: str
    """What a reader is shown when he points at it."""
    stage: str
    """The same for a table, which has the kind in a column of its own."""
    layer: str
    amount: str


@dataclass(frozen=True, slots=True)
class Row:
    """One bar of many pieces."""

    title: str
    about: str
    bars: list[Bar]


def quantile_rows(found: JourneySummary | None) -> list[Row]:
    """A bar for each quantile: what its latency is made of."""
    rows = []
    for name, at in [] if found is None else distinct(found):
        left, bars = 0.0, []
        for one in together(at):
            width = 100 * one.ratio
            amount = f"{scale.percent(round(one.ratio, 3))}, {scale.duration(one.mean_ns)}"
            stage = what(msgspec.structs.asdict(one))
            bars.append(Bar(left, width, one.kind, words(one), stage, one.layer, amount))
            left += width
        bars += _rest(at, left)
        about = f"mean of {scale.plural(at.requests, 'request')} around it"
        rows.append(Row(f"{name} {scale.duration(at.latency_ns)}", about, bars))
    return rows


def _rest(at: JourneysAtQuantile, left: float) -> list[Bar]:
    """What is too small to be among a quantile's stages, as one piece; none where that is none."""
    ratio = at.other_ratio
    kept = sum(one.ratio for one in at.stages)
    if not kept or ratio < _SMALLEST_RATIO:
        return []
    mean_ns = round(sum(one.mean_ns for one in at.stages) * ratio / kept)
    amount = f"{scale.percent(round(ratio, 3))}, {scale.duration(mean_ns)}"
    return [Bar(left, 100 * ratio, OTHER, OTHER, "smaller stages", "", amount)]


def legend(rows: Sequence[Row]) -> list[str]:
    """The kinds that the pieces of bars can have, and the rest of a bar where there is one."""
    rest = any(bar.kind == OTHER for row in rows for bar in row.bars)
    return [*KINDS, OTHER] if rest else list(KINDS)


def slowest_rows(path: Path) -> list[Row]:
    """A waterfall of each of the slowest requests, from events/journeys.parquet."""
    if not path.is_file():
        return []
    import polars as pl  # slow to import

    from testbed.analysis.journey.stage import JourneyStage
    from testbed.analysis.tables import read_table

    stages = read_table(path, JourneyStage)
    span = stages.group_by("request_id").agg(pl.col("started_ns").min(), pl.col("ended_ns").max())
    latency = pl.col("ended_ns") - pl.col("started_ns")
    slowest = span.sort(latency, "request_id", descending=[True, False]).head(_SLOWEST)
    return [
        _waterfall(row["request_id"], row["started_ns"], row["ended_ns"], _rows_of(stages, row))
        for row in slowest.iter_rows(named=True)
    ]


def _rows_of(stages: pl.DataFrame, row: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return stages.filter(stages["request_id"] == row["request_id"]).sort("place").to_dicts()


def _waterfall(name: str, start_ns: int, end_ns: int, stages: Sequence[dict[str, Any]]) -> Row:
    whole_ns = max(1, end_ns - start_ns)
    bars = [
        Bar(
            left=100 * (stage["started_ns"] - start_ns) / whole_ns,
            width=100 * stage["duration_ns"] / whole_ns,
            kind=stage["kind"],
            words=what(stage),
            stage=what(stage),
            layer=stage["layer"],
            amount=scale.duration(stage["duration_ns"]),
        )
        for stage in stages
    ]
    return Row(name[:8], scale.duration(end_ns - start_ns), bars)


def what(stage: dict[str, Any]) -> str:
    """A stage in a few words: ``recovery by timeout, lost on r1-server``."""
    note = stage["note"]
    found = stage["stage"]
    if note:
        found += f" {note}" if note.startswith("by ") else f" ({note})"
    where = stage["where"]
    if where and found.startswith("recovery"):
        where = lost_at(where)
    return f"{found}, {where}" if where else str(found)

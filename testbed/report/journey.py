"""Journeys of single requests in the terminal: a tree of stages with bars on one time axis.

Rules: those of `testbed.report.text`. A bar begins where its stage begins; a stage too short for a
mark still has one. Where several requests are shown, neighbours that take less than a hundredth of
the latency each share a line, and so does a stage that comes again after such ones alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from testbed.errors import RecordingError, RequestError
from testbed.events.http import HttpRequest
from testbed.recording.layout import open_layout
from testbed.report import format as scale
from testbed.report.format import clean
from testbed.report.html import read_summary
from testbed.report.text import WIDEST
from testbed.report.why_slow import STYLES, what

if TYPE_CHECKING:
    import polars as pl

PARTS: Final = {
    "start": "at the client, until it has a connection",
    "connect": "handshake",
    "request": "request, to the server",
    "server": "at the server",
    "response": "response, to the client",
}
_BAR: Final = 16
_KIND: Final = 12
_SHORT_RATIO: Final = 0.01
_SHORTEST_ID: Final = 4
_MOST_DIGITS: Final = 18
"""Of a number of a request; more do not fit into 64 bits, and ids have 32."""
_MOST_IDS: Final = 5
"""Shown of requests that are all meant by what was asked for."""


def print_journeys(
    console: Console, root: Path, *, request: str | None, slowest: int | None, failed: bool = False
) -> None:
    """Prints the journeys of one request, or of the slowest ones of all or of those that failed.

    Args:
        console: to print on.
        root: the recording's folder.
        request: the beginning of an id, or the number of a request: all that it fits, one.
        slowest: how many; 5 where neither is given.
        failed: only of those that failed.

    Raises:
        RecordingError: there is no journey in the recording.
        RequestError: no request, or more than one, is meant, or none failed.
    """
    if request is not None and failed:
        raise RequestError(
            "--request and --failed exclude each other: give one of them", where="--failed"
        )
    if request is not None and slowest is not None:
        raise RequestError(
            "--request and --slowest exclude each other: give one of them", where="--slowest"
        )
    stages, requests = _tables(root)
    if failed:
        requests = requests.filter(requests["failure"].is_not_null())
        if not requests.height:
            raise RequestError(f"no request of {root} failed", where="--failed")
    chosen = (
        _one(requests, request)
        if request is not None
        else requests.sort("latency_ns", descending=True, nulls_last=True).head(slowest or 5)
    )
    layout = open_layout(root)
    journeys = read_summary(layout).journeys if layout.summary.is_file() else None
    for place, row in enumerate(chosen.iter_rows(named=True)):
        if place:
            console.print()
        mine = stages.filter(stages["request_id"] == row["request_id"]).sort("place")
        console.print(_tree(row, mine, min(console.width, WIDEST), whole=request is not None))
    if journeys is not None and journeys.reason:
        console.print()
        console.print(Text(f"not observed: {journeys.reason}", style="dim"))


def _tables(root: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    from testbed.analysis.journey.stage import JourneyStage  # polars is slow to import
    from testbed.analysis.tables import read_table

    layout = open_layout(root)
    found = []
    for name, row in (("journeys", JourneyStage), ("http", HttpRequest)):
        path = layout.events(name)
        if not path.exists():
            raise RecordingError(
                f"no journeys in {root}: run `testbed analyse {root}` first; if that makes none, "
                "no client left a record",
                where=str(path),
            )
        found.append(read_table(path, row))
    return found[0], found[1]


def _one(requests: pl.DataFrame, asked: str) -> pl.DataFrame:
    wanted = asked.lower()
    found = requests.filter(requests["request_id"].str.starts_with(wanted))
    which = "an id that begins with"
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= _MOST_DIGITS:
        numbered = requests.filter(requests["number"] == int(wanted))
        # From four digits on an id comes first: it is what reports show.
        if len(wanted) < _SHORTEST_ID or (numbered.height and not found.height):
            found, which = numbered, "the number"
    if found.height == 1:
        return found
    if found.height:
        message = f'{found.height} requests have {which} "{clean(asked)}": {_listed(found)}'
    else:
        message = (
            f'no request has {which} "{clean(asked)}"; {_numbered(requests)}, ids are in '
            "events/http.parquet and in `testbed journey DIR --slowest 5`"
        )
    raise RequestError(
        message,
        where="--request",
        wanted="an id, or enough of its beginning",
        got=asked,
    )


def _numbered(requests: pl.DataFrame) -> str:
    """Which numbers there are: ``the requests have the numbers 0 to 99``."""
    numbers = requests["number"].to_list()
    if not numbers:
        return "there is none"
    return f"the requests have the numbers {min(numbers)} to {max(numbers)}"


def _listed(requests: pl.DataFrame) -> str:
    """The ids of some requests, each with its client: ``0a1b (client1), 0c2d (client2)``."""
    first = requests.sort("started_ns", "request_id").head(_MOST_IDS)
    ids = [f"{clean(one)} ({clean(node)})" for one, node in first["request_id", "node"].iter_rows()]
    more = requests.height - first.height
    return ", ".join(ids) + (f" and {more} more" if more else "")


class _Line(NamedTuple):
    """What one line shows."""

    layer: str
    what: str
    kind: str
    started_ns: int
    ended_ns: int
    spent_ns: int
    """Of `times` stages, without what is between them."""
    times: int = 1


def _tree(request: dict[str, object], stages: pl.DataFrame, width: int, *, whole: bool) -> Tree:
    tree = Tree(_title(request, stages), guide_style="dim")
    rows = stages.to_dicts()
    if not rows:
        return tree
    start_ns, end_ns = rows[0]["started_ns"], rows[-1]["ended_ns"]
    groups: list[tuple[str, list[_Line]]] = []
    for row in rows:
        part = row["part"] or (groups[-1][0] if groups else "start")
        if not groups or groups[-1][0] != part:
            groups.append((part, []))
        line = _Line(
            row["layer"], clean(what(row)), row["kind"], row["started_ns"], row["ended_ns"],
            row["duration_ns"],
        )  # fmt: skip
        groups[-1][1].append(line)
    shortest_ns = 0 if whole else (end_ns - start_ns) * _SHORT_RATIO
    for part, lines in groups:
        title = Text(PARTS.get(part, part), style="bold")
        spent_ns = lines[-1].ended_ns - lines[0].started_ns
        title.append(f"  {scale.duration(spent_ns)}", style="not bold")
        table = _table(width - 4)
        for line in _again(_together(lines, shortest_ns), shortest_ns):
            style = STYLES.get(line.kind, "default")
            table.add_row(
                Text(line.layer, style="dim"),
                Text(line.what + (f", {line.times} times" if line.times > 1 else "")),
                Text(line.kind, style=style),
                scale.duration(line.spent_ns),
                _bar(line, start_ns, end_ns - start_ns, style),
            )
        tree.add(Group(title, table))
    return tree


def _together(lines: list[_Line], shortest_ns: float) -> list[_Line]:
    """The lines, neighbours shorter than `shortest_ns` as one."""
    found: list[list[_Line]] = []
    for line in lines:
        short = line.ended_ns - line.started_ns < shortest_ns
        before = found[-1][-1] if found else None
        if short and before and before.ended_ns - before.started_ns < shortest_ns:
            found[-1].append(line)
        else:
            found.append([line])
    return [
        group[0]
        if len(group) == 1
        else _Line(
            "",
            f"{len(group)} short stages",
            "",
            group[0].started_ns,
            group[-1].ended_ns,
            sum(line.spent_ns for line in group),
        )
        for group in found
    ]


def _again(lines: list[_Line], shortest_ns: float) -> list[_Line]:
    """The lines, a stage that comes again after nothing but short ones as one with them."""
    found: list[_Line] = []
    for line in lines:
        before = found[-2] if len(found) > 1 and found[-1].spent_ns < shortest_ns else None
        if before and line.kind and before[:3] == line[:3]:
            found[-2:] = [
                before._replace(
                    ended_ns=line.ended_ns,
                    spent_ns=before.spent_ns + line.spent_ns,
                    times=before.times + 1,
                )
            ]
        else:
            found.append(line)
    return found


def _title(request: dict[str, object], stages: pl.DataFrame) -> Text:
    latency = int(str(request["latency_ns"]))
    unseen = int(stages.filter(stages["kind"] == "unexplained")["duration_ns"].sum())
    line = Text(str(request["request_id"])[:8], style="bold")
    line.append(clean(f"  {request['method']} {request['path']}"))
    outcome = request["failure"] or request["status"]
    line.append(f"  {clean(str(outcome))}", style="red" if request["failure"] else "green")
    line.append(f"  {scale.duration(latency)}", style="bold")
    line.append(f", {scale.percent(1 - unseen / max(1, latency))} of it explained")
    if request["failure"] and request["message"]:
        line.append(f"\n{clean(str(request['message']))}", style="red")
    return line


def _table(width: int) -> Table:
    """Layer, stage, kind, time and bar."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=10)
    table.add_column(width=width - 10 - _KIND - 8 - _BAR - 5, overflow="fold")
    table.add_column(width=_KIND)
    table.add_column(width=8, justify="right")
    table.add_column(width=_BAR + 1, no_wrap=True)
    return table


def _bar(line: _Line, start_ns: int, whole_ns: int, style: str) -> Text:
    whole_ns = max(1, whole_ns)
    begins = min((line.started_ns - start_ns) * _BAR // whole_ns, _BAR - 1)
    ends = -(-(line.ended_ns - start_ns) * _BAR // whole_ns)
    text = Text("│", style="dim")
    text.append(" " * begins)
    text.append("█" * max(1, ends - begins), style=style)
    return text

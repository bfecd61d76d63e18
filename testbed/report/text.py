"""The report in the terminal.

Rules:

- What comes from the run (names, failures, reasons) is text, never markup and never a control
  character.
- Every colour says again what a word says: the report reads the same without colour.
- 80 columns are enough; more than 120 are not used, because the eye loses the line.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from testbed.analysis.summary import Backpressure, Expectation, Http, Ledger, LedgerRow, Summary
from testbed.recording.manifest import Manifest
from testbed.report import format as scale
from testbed.report import link_table, mix_table, server_settings, why_slow, wording
from testbed.report.console import command_text
from testbed.report.degraded import degraded
from testbed.report.format import clean

WIDEST: Final = 120
_STYLES: Final = {"faithful": "bold green", "degraded": "bold yellow", "invalid": "bold red"}
_MEANINGS: Final = {
    "faithful": "the emulation can be trusted",
    "degraded": "{}: read the reasons",
    "invalid": "the emulation cannot be trusted: do not use these numbers",
}
_DIM: Final = "dim"


def print_report(
    console: Console, summary: Summary, manifest: Manifest | None = None, root: Path | None = None
) -> None:
    """Prints the report of a run; `root` is where its recording lies."""
    width = min(console.width, WIDEST)
    console.print(render(summary, manifest, root, width), width=width, highlight=False)


def render(
    summary: Summary, manifest: Manifest | None, root: Path | None, width: int
) -> RenderableType:
    """The report as something that rich can print in `width` columns."""
    parts: list[RenderableType] = [_headline(summary)]
    follow = _follow_failed(summary, root, width - 2)
    parts += _section("HTTP", _http(summary.http, wording.no_http(summary), follow))
    if summary.http.mix:
        parts += _section("Mix", mix_table.table(summary.http.mix))
    if summary.journeys is not None and (summary.journeys.why_slow or summary.journeys.reason):
        parts += _section("Why slow", why_slow.render(summary.journeys))
    parts += _section("Layers", _layers(summary, width - 2))
    if summary.backpressure is not None:
        parts += _section("Backpressure", _pressure(summary.backpressure, width - 2))
    if summary.links:
        parts += _section("Links", link_table.render(summary, manifest, width - 2))
    parts += _section("Ledger", _ledger(summary.ledger))
    if summary.expectations:
        parts += _section("Expectations", _expectations(summary.expectations))
    parts += _section("Why this verdict", _reasons(summary))
    warnings = [*summary.warnings, *(manifest.warnings if manifest else [])]
    if warnings:
        unique = dict.fromkeys(warnings)
        parts += _section("Warnings", Group(*(_bullet("!", "yellow", text) for text in unique)))
    if root is not None:
        parts += _section("Recording", _next(root, manifest, width - 2))
    return Group(*parts)


def _invoked_as() -> str:
    """``./tb`` where the user came through it: `testbed` is not on his path then."""
    return os.environ.get("TESTBED_INVOKED_AS", "testbed")


def repeat_command(manifest: Manifest) -> list[str]:
    """The command that repeats a run: with its seed, and without its folder, which is taken."""
    command = list(manifest.command)
    if command[1:2] != ["run"]:
        return command
    repeated, words = [], iter(command)
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            repeated.append(word)
    if not any(word == "--seed" or word.startswith("--seed=") for word in repeated):
        repeated += ["--seed", str(manifest.seed)]
    return repeated


def _section(title: str, content: RenderableType) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold"), Padding(content, (0, 0, 0, 2), expand=False)]


def _headline(summary: Summary) -> RenderableType:
    status = summary.verdict.status
    line = Text()
    line.append(f" {status.upper()} ", style=f"{_STYLES[status]} reverse")
    meaning = _MEANINGS[status].format(degraded(summary.verdict.reasons))
    line.append(f" {meaning}", style=_STYLES[status])
    scenario = summary.scenario
    parts = [
        clean(str(scenario.get("topology", "?"))),
        clean(f"{scenario.get('app', '?')} on {scenario.get('server', '?')}"),
        clean(wording.spoken(scenario)),
        *map(clean, server_settings.described(scenario)),
        f"seed {summary.seed}",
        f"links by {summary.link_backend}",
        *(["switches by Open vSwitch"] if scenario.get("switches") == "ovs" else []),
    ]
    about = Text(" · ".join(parts), style=_DIM)
    if summary.state == "complete":
        return Group(line, about)
    ended = Text(f"The run {_ended(summary.state)}: ", style="bold red")
    ended.append(clean(summary.failure) or "no reason is known", style="red")
    return Group(ended, line, about)


def _ended(state: str) -> str:
    return {"failed": "failed", "interrupted": "was interrupted"}.get(state, f"is {clean(state)}")


def _http(http: Http, missing: str, followed: str) -> RenderableType:
    if http.requests is None:
        return Text(f"{wording.NOT_OBSERVED}: {clean(missing)}", style=_DIM)
    table = Table.grid(padding=(0, 2))
    counts = Text(
        f"{scale.plural(http.requests, 'request')}: {scale.count(http.completed)} completed"
    )
    if http.failed:
        kinds = [f"{scale.count(n)} {clean(name)}" for name, n in http.failures.items()]
        counts.append(", ")
        counts.append(f"{scale.count(http.failed)} failed", style="bold red")
        counts.append(f" ({scale.listed(kinds)})" if kinds else "")
    table.add_row(Text("outcome", style=_DIM), counts)
    if http.failed and followed:
        table.add_row(Text("follow them", style=_DIM), Text(followed))
    if len(http.served) > 1:
        shares = [f"{clean(node)} {scale.count(count)}" for node, count in http.served.items()]
        table.add_row(Text("served by", style=_DIM), Text(scale.listed(shares)))
    if http.retried:
        kinds = [f"{scale.count(n)} {clean(name)}" for name, n in http.retried.items()]
        again = scale.plural(sum(http.retried.values()), "attempt")
        table.add_row(Text("retried", style=_DIM), Text(f"{again} ({scale.listed(kinds)})"))
    latency = http.latency_ns
    if latency is None:
        text = Text("not observed: no request was completed", style=_DIM)
    else:
        text = _pairs(
            [
                (name, scale.duration(getattr(latency, name)))
                for name in ("p50", "p90", "p99", "max")
            ]
        )
    table.add_row(Text("latency", style=_DIM), text)
    per_s = http.request_rate_per_s
    rates = [
        ("completed", scale.NOTHING if per_s is None else scale.per_second(per_s)),
        ("goodput", scale.rate(http.goodput_bit_s)),
    ]
    if http.connections is not None:
        rates.append(("connections", scale.count(http.connections)))
    table.add_row(Text("rate", style=_DIM), _pairs(rates))
    return table


def _follow_failed(summary: Summary, root: Path | None, width: int) -> str:
    """The command that shows the journeys of requests that failed; empty: there are none."""
    if summary.journeys is None or root is None:
        return ""
    words = [_invoked_as(), "journey", str(root), "--failed"]
    return command_text(words, width - len("follow them  "))


def _pairs(pairs: Iterable[tuple[str, str]]) -> Text:
    text = Text()
    for name, value in pairs:
        text.append("   " if text else "")
        text.append(f"{name} ", style=_DIM)
        text.append(value)
    return text


def _layers(summary: Summary, width: int) -> RenderableType:
    """A table by hand: a layer that was not observed has one cell across all columns."""
    name_width = 12
    column = (width - name_width) // len(wording.ASPECTS)
    most = 3 if width >= link_table.ROOMY else 2

    def line(cells: Sequence[Text], widths: Sequence[int]) -> Table:
        table = Table.grid(padding=(0, 1, 0, 0))
        for cell_width in widths:
            table.add_column(width=cell_width - 1, overflow="fold")
        table.add_row(*cells)
        return table

    widths = [name_width, *(column for _ in wording.ASPECTS)]
    head = [Text("", style=_DIM), *(Text(aspect, style="bold") for aspect in wording.ASPECTS)]
    lines: list[RenderableType] = [line(head, widths), Text("─" * (width - 1), style=_DIM)]
    for row in wording.rows(summary.layers):
        name = Text(row.layer)
        if not row.observed:
            reason = Text(f"{wording.NOT_OBSERVED}: {clean(row.reason)}", style=_DIM)
            lines.append(line([name, reason], [name_width, width - name_width]))
            continue
        lines.append(
            line([name, *(_cell(cell, most, column - 1) for cell in row.cells.values())], widths)
        )
        if row.reason:
            note = Text(clean(row.reason), style=_DIM)
            lines.append(line([Text(""), note], [name_width, width - name_width]))
    return Group(*lines)


def _cell(cell: wording.Cell, most: int, width: int) -> Text:
    """The figures below one another; what has to be wrapped goes on indented."""
    lines = [
        part
        for line in cell.lines(most)
        for part in textwrap.wrap(clean(line), width, subsequent_indent="  ")
    ]
    text = "\n".join(lines).replace(wording.NO_BREAK, " ")
    return Text(text, style="" if cell.telling else _DIM)


def _pressure(found: Backpressure, width: int) -> RenderableType:
    """The sentence; a number and its unit stay on one line."""
    unbroken = re.sub(r"(?<=\d) (?=\S)", wording.NO_BREAK, clean(found.sentence))
    lines = textwrap.wrap(unbroken, width, break_on_hyphens=False)
    style = "" if found.origin is not None else _DIM
    return Text("\n".join(lines).replace(wording.NO_BREAK, " "), style=style)


def _ledger(ledger: Ledger) -> RenderableType:
    observed = [row for row in ledger.rows if row.balanced is not None]
    wrong = [row for row in observed if not row.balanced]
    unseen = len(ledger.rows) - len(observed)
    tail = f"; {scale.plural(unseen, 'row')} not observed" if unseen else ""
    if not observed:
        why = f"none of its {scale.plural(unseen, 'row')} was" if unseen else "it has no row"
        return Text(f"{wording.NOT_OBSERVED}: {why}", style=_DIM)
    if not wrong:
        return Text(
            f"balanced: {scale.plural(len(observed), 'row')} add up, packet for packet{tail}"
        )
    head = Text(f"not balanced: {len(wrong)} of {scale.plural(len(observed), 'row')}{tail}")
    head.stylize("bold red", 0, len("not balanced"))
    return Group(head, *(_bullet("✗", "red", ledger_sentence(row)) for row in wrong))


def ledger_sentence(row: LedgerRow) -> str:
    """A row of the ledger as an equation in words."""
    count = scale.count
    made = f"{count(row.made)} made, " if row.made else ""
    return (
        f"{row.what}: {count(row.entered)} entered, {made}{count(row.left)} left, "
        f"{count(row.dropped)} dropped, {count(row.held)} held; "
        f"{count(row.difference)} not accounted for{f' ({row.note})' if row.note else ''}"
    )


def _expectations(expectations: Sequence[Expectation]) -> RenderableType:
    marks = {True: ("✓", "green"), False: ("✗", "red")}
    lines = [_bullet(*marks[one.holds], wording.expectation(one)) for one in expectations]
    return Group(*lines)


def _reasons(summary: Summary) -> RenderableType:
    marks = {"invalid": ("✗", "red"), "degraded": ("~", "yellow")}
    lines = [
        _bullet(*marks[status], f"{status}: {reason.message}")
        for status in marks
        for reason in summary.verdict.reasons
        if reason.status == status
    ]
    faithful = [reason.check for reason in summary.verdict.reasons if reason.status == "faithful"]
    if faithful:
        times = Counter(faithful)
        names = clean(", ".join(f"{name} ({n})" if n > 1 else name for name, n in times.items()))
        lines.append(
            _bullet("✓", "green", f"{scale.plural(len(faithful), 'check')} passed: {names}")
        )
    return Group(*lines) if lines else Text("no check was made", style=_DIM)


def _bullet(mark: str, style: str, text: str) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(overflow="fold")
    table.add_row(Text(mark, style=f"bold {style}"), Text(clean(text)))
    return table


def _next(root: Path, manifest: Manifest | None, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    room = width - len("in a browser  ")
    table.add_column(style=_DIM, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("folder", Text(str(root)))
    page = root / "report.html"
    if page.is_file():
        table.add_row("in a browser", Text(str(page)))
    if manifest is not None and manifest.command:
        table.add_row("repeat", Text(command_text(repeat_command(manifest), room)))
    again = [_invoked_as(), "analyse", str(root)]
    table.add_row("judge again", Text(command_text(again, room)))
    return table

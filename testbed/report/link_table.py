"""The links of a run in the terminal: what crossed them, and what they were set to do."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from testbed.analysis.summary import LinkDirection, Summary
from testbed.recording.manifest import Direction, Manifest
from testbed.report import format as scale
from testbed.report import settings
from testbed.report.format import clean

ROOMY: Final = 106
"""From this width on there is room for more columns."""
_DIM: Final = "dim"
_MOST_CHANGES: Final = 12


def render(summary: Summary, manifest: Manifest | None, width: int) -> RenderableType:
    """The table, and below it settings and changes as far as there is a manifest."""
    parts: list[RenderableType] = [_table(summary, manifest, roomy=width >= ROOMY)]
    if manifest is not None:
        rows = [(name, text) for name, text in settings.described(manifest)]
        changes = settings.changes(manifest)
        rows += [
            (f"from {one.when}", f"{one.where}: {one.text}") for one in changes[:_MOST_CHANGES]
        ]
        if len(changes) > _MOST_CHANGES:
            rows.append(("", f"and {len(changes) - _MOST_CHANGES} more changes"))
        if rows:
            parts += [Text(""), _settings(rows)]
    return Group(*parts)


def in_play(summary: Summary) -> tuple[bool, bool]:
    """Whether any packet was duplicated, and whether any was corrupted, or might have been."""
    seen = [way for directions in summary.links.values() for way in directions.values()]
    asked = {one.impairment for way in seen for one in way.impairments}
    return (
        any(way.duplicated_packets for way in seen) or "duplication" in asked,
        any(way.corrupted_packets for way in seen) or "corruption" in asked,
    )


def _settings(rows: list[tuple[str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=_DIM, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(clean(name)), Text(clean(text)))
    return grid


def peak_use(seen: LinkDirection, built: Direction | None) -> float | None:
    """The busiest window over the capacity.

    None without a capacity, and where it follows a trace: over the mean of that it says nothing.
    """
    if seen.peak_throughput_bit_s is None or not seen.capacity_bit_s:
        return None
    if built is not None and built.trace is not None:
        return None
    return seen.peak_throughput_bit_s / seen.capacity_bit_s


def _table(summary: Summary, manifest: Manifest | None, *, roomy: bool) -> RenderableType:
    copies, corrupted = in_play(summary)
    # More columns leave no room for shares and peak use in a narrow window.
    tight = not roomy and (copies or corrupted)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    heads = ["sent", *(["delivered"] if roomy else []), "lost"]
    heads += [*(["dupli-\ncated"] if copies else []), *(["cor-\nrupted"] if corrupted else [])]
    heads += ["out of\norder", "queue\ndrops", "one-way delay\np50 / p99"]
    heads += [*(["capacity"] if roomy else []), *([] if tight else ["peak\nuse"])]
    for head in heads:
        table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
    records = {} if manifest is None else {link.name: link for link in manifest.links}
    for name, directions in summary.links.items():
        record = records.get(name)
        ends = name.partition("-")[::2]
        for way, seen in directions.items():
            sender, receiver = ends if way == "forward" else ends[::-1]
            built = None
            if record is not None:
                built = record.forward if way == "forward" else record.reverse
            table.add_row(
                Text(clean(f"{sender} → {receiver}")),
                _number(seen.sent_packets),
                *([_number(seen.delivered_packets)] if roomy else []),
                _lost(seen, share=not tight),
                *([_number(seen.duplicated_packets)] if copies else []),
                *([_number(seen.corrupted_packets)] if corrupted else []),
                _number(seen.reordered_packets),
                _number(seen.queue_dropped_packets),
                _delay(seen),
                *([_capacity(seen)] if roomy else []),
                *([] if tight else [_use(peak_use(seen, built))]),
            )
    return table


def _lost(seen: LinkDirection, *, share: bool) -> Text:
    lost = _number(seen.lost_packets)
    if share and seen.lost_packets and seen.sent_packets:
        lost.append(f" ({scale.percent(seen.lost_packets / seen.sent_packets)})")
    return lost


def _delay(seen: LinkDirection) -> Text:
    delay = seen.one_way_delay_ns
    if delay is None:
        return Text(scale.NOTHING, style=_DIM)
    return Text(f"{scale.duration(delay.p50)} / {scale.duration(delay.p99)}")


def _use(use: float | None) -> Text:
    return Text(scale.percent(use), style="" if use else _DIM)


def _capacity(seen: LinkDirection) -> Text:
    if seen.capacity_bit_s is None:
        return Text("not shaped", style=_DIM)
    return Text(scale.rate(seen.capacity_bit_s))


def _number(value: int | None) -> Text:
    return Text(scale.count(value), style="" if value else _DIM)

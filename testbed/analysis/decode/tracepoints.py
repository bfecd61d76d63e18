"""Tracepoint segments -> one table of all events, as the kernel wrote them.

Rules:

- Fields are read column by column for each kind of event; a field that this kernel's event does not
  have is null.
- Order is that of time; events of one CPU at one time keep the order of its ring.
- What is damaged in a page costs the rest of that page; `Trace.damage` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from testbed.analysis.decode.ring_buffer import Walked, walk
from testbed.analysis.decode.trace_format import Rows, parse_format
from testbed.errors import RecordingError
from testbed.events.tracepoints import STATS_KIND
from testbed.recording.segments import Segment

RAW_SCHEMA: Final = pl.Schema(
    {
        "t_ns": pl.Int64,
        "cpu": pl.Int64,
        "event": pl.String,
        "flags": pl.Int64,
        "task": pl.Int64,
        "subject": pl.Int64,
        "previous": pl.Int64,
        "name": pl.String,
        "skb": pl.Int64,
        "sk": pl.Int64,
        "local_address": pl.String,
        "local_port": pl.Int64,
        "remote_port": pl.Int64,
        "length_bytes": pl.Int64,
        "result": pl.Int64,
        "reason": pl.String,
    }
)
"""`task` is whom an event happened on top of, `subject` and `previous` whom it is about (sched)."""

_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "flags": ("common_flags",),
    "task": ("common_pid",),
    "subject": ("next_pid", "child_pid", "pid"),
    "previous": ("prev_pid", "parent_pid"),
    "skb": ("skbaddr",),
    "sk": ("skaddr", "sk"),
    "local_port": ("sport",),
    "remote_port": ("dport",),
    "length_bytes": ("data_len", "len", "ret", "length"),
    "result": ("rc", "err", "ret", "work"),
}
"""Column -> names of the field that it is, in the order of preference."""
_PART_PAGES: Final = 2048
"""Pages that are decoded together: 8 MiB of them, so that memory stays bounded."""
_TEXTS: Final = ("name", "dev_name")
_MEANINGS: Final = ("reason", "newstate", "vec")
"""Fields whose numbers have names."""
_LENGTHS: Final[Mapping[str, str]] = {"net:net_dev_start_xmit": "len"}
"""Where the preferred field is another thing: data_len is what is not in the first fragment."""


class TracedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the run, as the tracer wrote it into its segment."""

    outer_id: int
    name: str
    kind: str
    node: str
    threads: list[int] = []


@dataclass(slots=True)
class Trace:
    """A segment of tracepoints, decoded."""

    events: pl.DataFrame
    processes: list[TracedProcess]
    missing: dict[str, str]
    """Event -> why it was not recorded."""
    lost_events: int | None
    """What the rings lost; None: the segment was cut before its statistics."""
    damage: list[str] = field(default_factory=list)


def decode_tracepoints(segment: Segment) -> Trace:
    """Reads a segment of the tracer.

    Raises:
        RecordingError: its header lacks what describes the pages.
    """
    about = segment.header.about
    try:
        page_bytes = int(about["page_bytes"])
        formats = msgspec.json.decode(about["formats"], type=dict[str, str])
        processes = msgspec.json.decode(about["processes"], type=list[TracedProcess])
        missing = msgspec.json.decode(about.get("missing", "{}"), type=dict[str, str])
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        raise RecordingError(
            f"{segment.path.name} does not say how its pages are to be read: {error}",
            where=str(segment.path),
        ) from error
    if not 16 <= page_bytes <= 1 << 20:
        raise RecordingError(
            f"{segment.path.name} has pages of {page_bytes} bytes", where=str(segment.path)
        )
    pages, cpus, lost = [], [], None
    for frame in segment.frames():
        if frame.kind == STATS_KIND:
            lost = _lost(frame.payload)
        else:
            pages.append(frame.payload)
            cpus.append(int(frame.kind.removeprefix("cpu") or 0))
    parts, damaged, flagged = [], 0, 0
    for start in range(0, len(pages), _PART_PAGES):
        end = start + _PART_PAGES
        walked = walk(pages[start:end], page_bytes)
        damaged += walked.damaged_pages
        flagged += int(walked.lost_before.sum())
        part = _events(walked, formats, np.array(cpus[start:end], np.int64))
        parts.append(part.with_columns(part=pl.lit(start)))
    events = pl.DataFrame(schema=RAW_SCHEMA)
    if parts:
        whole = pl.concat(parts).sort("t_ns", "part", "place")
        events = whole.drop("part", "place")
    if lost is None and flagged:
        lost = flagged  # at least: each such page says that some were
    damage = []
    if damaged:
        damage.append(
            f"{segment.path.name}: {damaged} pages of the ring buffer make no sense from some "
            "place on"
        )
    return Trace(events, processes, missing, lost, damage)


def _lost(payload: bytes) -> int | None:
    try:
        stats = msgspec.json.decode(payload, type=dict[str, dict[str, int]])
    except msgspec.MsgspecError:
        return None
    names = ("overrun", "commit overrun", "dropped events")
    return sum(cpu.get(name, 0) for cpu in stats.values() for name in names)


def _events(walked: Walked, formats: Mapping[str, str], cpus: Any) -> pl.DataFrame:
    """The events of some pages with `place`, their order there."""
    # The first two bytes of every event are its number (common_type).
    whole = walked.length_bytes >= 2
    at = np.where(whole, walked.offset, 0)
    low, high = walked.data[at].astype(np.int64), walked.data[at + 1].astype(np.int64)
    numbers = np.where(whole, low | high << 8, -1)
    parts = []
    for name, text in formats.items():
        form = parse_format(text)
        if form is None:
            continue
        rows = np.flatnonzero(numbers == form.number)
        if rows.size:
            parts.append(_of_kind(name, Rows(walked, form, rows), walked, cpus))
    if not parts:
        return pl.DataFrame(schema={**RAW_SCHEMA, "place": pl.Int64})
    return pl.concat(parts)


def _of_kind(name: str, rows: Rows, walked: Walked, cpus: Any) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "t_ns": walked.t_ns[rows.rows],
        "cpu": cpus[walked.page[rows.rows]],
        "event": pl.repeat(name, rows.count, dtype=pl.String, eager=True),
        "name": _first(rows.text(one) for one in _TEXTS),
        "local_address": rows.address("saddr"),
        "reason": _meaning(rows),
    }
    for column, fields in _NUMBERS.items():
        chosen = (_LENGTHS[name],) if column == "length_bytes" and name in _LENGTHS else fields
        columns[column] = _first(rows.number(one) for one in chosen)
    series = [_series(column, columns[column], rows.count) for column in RAW_SCHEMA]
    return pl.DataFrame([*series, pl.Series("place", rows.rows)])


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _series(column: str, values: Any, count: int) -> pl.Series:
    kind = RAW_SCHEMA[column]
    if values is None:
        return pl.repeat(None, count, dtype=kind, eager=True).alias(column)
    if isinstance(values, pl.Series):
        return values.alias(column)
    found = pl.Series(column, values, dtype=kind)
    # A null pointer is no packet and no socket.
    return found.replace(0, None) if column in ("skb", "sk") else found


def _meaning(rows: Rows) -> pl.Series | None:
    for name in _MEANINGS:
        numbers = rows.number(name)
        if numbers is None:
            continue
        symbols = rows.form.symbols(name)
        known = {number: symbols.get(number, str(number)) for number in np.unique(numbers).tolist()}
        texts = pl.Series(numbers).replace_strict(known, return_dtype=pl.String)
        return texts.str.strip_prefix("TCP_") if name == "newstate" else texts
    return None

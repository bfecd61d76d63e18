"""Puts the stops of a run together, measures them, and asks for the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl

from testbed.analysis.decode.schema import empty, from_columns
from testbed.analysis.found import Found
from testbed.analysis.metrics.socket import listeners
from testbed.analysis.pressure.descriptors import descriptor_stops, refused_accepts
from testbed.analysis.pressure.diagnosis import QUIET, Facts, diagnose
from testbed.analysis.pressure.ends import asgi_stops, http_stops, loop_stops
from testbed.analysis.pressure.seen import Seen, nodes_of
from testbed.analysis.pressure.sockets import (
    accept_stops,
    handshake_stops,
    receive_stops,
    send_stops,
)
from testbed.analysis.pressure.way import way_stops
from testbed.analysis.summary import Backpressure, StopDirection

WINDOWS: Final = 200
"""Of the series over time: as many as a chart has room for."""
_SOURCES: Final = {
    "http": "http",
    "event_loop": "event_loop",
    "asgi": "asgi_calls",
    "socket": "socket",
    "tcp": "tcp",
    "qdisc": "qdisc",
}
"""Layers with the table that their stops are read from."""


class PressureWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One stop in one window of time; a row of events/backpressure.parquet."""

    layer: str
    node: str
    direction: StopDirection
    what: str
    t_ns: int
    """Start of the window."""
    window_ns: int
    waited_ns: int
    """Time of the window in which at least one waited."""
    amount: int
    """The most that waited at once."""
    unit: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """The backpressure map of a run."""

    summary: Backpressure
    windows: pl.DataFrame
    """`PressureWindow` rows of the stops that waited."""


def pressure(found: Found) -> Pressure:
    """The backpressure map of a recording."""
    start_ns, end_ns = _span(found)
    seen = list(_all(found))
    stops = [one.measured(start_ns, end_ns) for one in seen]
    origin, sentence = diagnose(stops, _facts(found))
    missing = _missing(found)
    if origin is None and missing:
        sentence = _unsure(missing)
    summary = Backpressure(
        origin=origin,
        sentence=sentence,
        stops=stops,
        not_observed=[f"{layer}: {why}" for layer, why in missing.items()],
    )
    return Pressure(summary, _windows(seen, start_ns, end_ns))


def _unsure(missing: dict[str, str]) -> str:
    """What to say where nothing was found and not everything was looked at."""
    by_reason: dict[str, list[str]] = {}
    for layer, why in missing.items():
        by_reason.setdefault(why, []).append(layer)
    if len(by_reason) == 1 and missing.keys() > _SOURCES.keys():
        return f"not observed: {next(iter(by_reason))}"
    listed = "; ".join(f"{', '.join(layers)}: {why}" for why, layers in by_reason.items())
    # What the client alone sees tells that it waited, and not for whom.
    if _SOURCES.keys() - missing.keys() <= {"http"}:
        return f"not observed: {listed}"
    return f"{QUIET} in what was observed; not observed: {listed}"


def _all(found: Found) -> Iterator[Seen]:
    """Every stop, in the order of the way."""
    http = list(http_stops(found))
    yield from (one for one in http if one.direction == "request")
    yield from loop_stops(found, "client")
    yield from send_stops(found, "client")
    yield from way_stops(found, "request")
    yield from way_stops(found, "both")
    yield from handshake_stops(found)
    yield from accept_stops(found)
    yield from descriptor_stops(found)
    yield from receive_stops(found, "server")
    yield from loop_stops(found, "server")
    yield from asgi_stops(found)
    yield from send_stops(found, "server")
    yield from way_stops(found, "response")
    yield from receive_stops(found, "client")
    yield from (one for one in http if one.direction == "response")


def _span(found: Found) -> tuple[int, int]:
    """The load; of a run that did not get so far what its clients recorded."""
    manifest = found.evidence.manifest
    start, end = manifest.load_started_ns, manifest.load_ended_ns
    table = found.table("http")
    if table is not None and table.height:
        first, last = table.select(pl.min("started_ns"), pl.max("ended_ns")).row(0)
        start, end = first if start is None else start, last if end is None else end
    start = start or 0
    return start, max(start, end or start)


def _missing(found: Found) -> dict[str, str]:
    """The layers whose source is not in the recording, and captures, each with the reason."""
    manifest = found.evidence.manifest
    reasons = {probe.layer: probe.reason for probe in manifest.probes if not probe.observed}
    missing = {}
    for layer, table in _SOURCES.items():
        if found.table(table) is None:
            why = reasons.get(layer) or found.evidence.missing.get(layer) or "not in the recording"
            missing[layer] = why
    if not found.hosts:  # zero windows and handshakes
        missing["captures"] = found.evidence.missing.get("captures") or "no host was captured"
    return missing


def _facts(found: Found) -> Facts:
    manifest = found.evidence.manifest
    overflows: dict[str, int] = {}
    counters = found.table("tcp_counters")
    if counters is not None:
        mine = counters.filter(pl.col("counter") == "TcpExt.ListenOverflows")
        grown = mine.group_by("node").agg(pl.col("value").max() - pl.col("value").min())
        overflows = {str(node): int(count) for node, count in grown.iter_rows()}
    backlogs: dict[str, int] = {}
    table = found.table("socket")
    if table is not None:
        rows = listeners(table).group_by("node").agg(pl.col("send_queue").max())
        backlogs = {str(node): int(backlog) for node, backlog in rows.iter_rows()}
    return Facts(
        clients=nodes_of(manifest, "client"),
        servers=nodes_of(manifest, "server"),
        overflows=overflows,
        backlogs=backlogs,
        refused_accepts={
            node: refused_accepts(found, node) for node in nodes_of(manifest, "server")
        },
        descriptor_limits={
            one.node: limit
            for one in manifest.processes
            if one.kind == "server" and isinstance(limit := one.about.get("descriptor_limit"), int)
        },
    )


def _windows(seen: list[Seen], start_ns: int, end_ns: int) -> pl.DataFrame:
    width = max(1, -(-(end_ns - start_ns) // WINDOWS))
    edges = start_ns + width * np.arange(-(-(end_ns - start_ns) // width) + 1, dtype=np.int64)
    if edges.size < 2:
        return empty(PressureWindow)
    parts = []
    for one in seen:
        waits = one.waits.within(start_ns, end_ns)
        if not waits.wait.size:
            continue
        waited, peak = waits.per_window(edges)
        count = edges.size - 1
        columns = {
            name: [getattr(one, name)] * count
            for name in ("layer", "node", "direction", "what", "unit")
        }
        columns |= {"window_ns": [width] * count}
        numbers = {"t_ns": edges[:-1], "waited_ns": waited, "amount": peak}
        parts.append(from_columns(PressureWindow, columns | numbers))
    return pl.concat([empty(PressureWindow), *parts])

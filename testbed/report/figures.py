"""The charts of the page, as the plain JSON that plotly.js draws.

Rules:

- A colour is the name of a CSS variable (``--series-1``); the page puts in its value, so that
  light, dark and print have their own.
- What was not observed, or never happened, is a `NoChart` with a sentence, not an empty chart.
- At most `MAX_POINTS` points a trace: failed and slowest requests stay, the rest is thinned evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.analysis.series import QueueSeries, Series, ThroughputSeries
from testbed.report import axes
from testbed.report import format as scale

MAX_POINTS: Final = 2_000
_MOST_SHOWN: Final = 6
"""Lines drawn at first; the others are in the legend and can be switched on."""
_CROWD: Final = 200
"""From so many marks on they are drawn small."""

Way = tuple[str, str]
"""A link and ``forward`` or ``reverse``."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart."""

    data: list[axes.Json]
    layout: axes.Json


@dataclass(frozen=True, slots=True)
class NoChart:
    """A sentence in the place of a chart."""

    sentence: str


def latency_over_time(series: Series) -> Chart | NoChart:
    """Each request at its intended start with its latency; those that failed are marked."""
    points = [
        (t_ns, latency_ns, failed, f"{one.node}, request {request_id[:8]}")
        for one in series.latency
        for t_ns, latency_ns, failed, request_id in zip(
            one.t_ns, one.latency_ns, one.failed, one.request_id, strict=True
        )
    ]
    if not points:
        return _not_observed(series, "latency", "no request was recorded")
    kept = axes.thinned(points, MAX_POINTS, keep=lambda point: point[2], weight=lambda p: p[1])
    layout = axes.layout(axes.TIME_TITLE, "latency")
    axes.time_axis(layout, series.duration_ns, [sorted(point[0] for point in points)])
    axes.marks(layout, _changes(series))
    unit = axes.latency_axis(layout["yaxis"], sorted(point[1] for point in points))
    completed = [point for point in kept if not point[2]]
    failed = [point for point in kept if point[2]]
    data = []
    if completed:
        data.append(_marks(completed, unit, "completed", axes.SERIES_COLOURS[0], "circle", 6, 0.65))
    if failed:
        size = 6 if len(failed) > _CROWD else 9
        data.append(_marks(failed, unit, "failed", axes.BAD_COLOUR, "x", size, 1))
    return Chart(data, layout)


def latency_distribution(series: Series, latencies_ns: Sequence[int]) -> Chart | NoChart:
    """The share of completed requests that were answered within a latency (the empirical CDF)."""
    if not latencies_ns:
        if any(one.t_ns for one in series.latency):
            return NoChart("No request was completed.")
        return _not_observed(series, "latency", "no request was recorded")
    ordered = sorted(latencies_ns)
    layout = axes.layout("latency", "requests (%)")
    unit = axes.latency_axis(layout["xaxis"], ordered)
    layout["yaxis"]["range"] = [0, 103]
    layout["hovermode"] = "x"
    places = axes.even(len(ordered), 500)
    x = [ordered[place] / unit.size for place in places]
    y = [100 * (place + 1) / len(ordered) for place in places]
    texts = [scale.duration(ordered[place]) for place in places]
    curve: axes.Json = {
        "type": "scatter",
        "mode": "lines",
        "x": [x[0], *x],
        "y": [0, *y],
        "text": [texts[0], *texts],
        "line": {"color": axes.SERIES_COLOURS[0], "shape": "hv", "width": 2},
        "hovertemplate": "%{y:.1f} % within %{text}<extra></extra>",
    }
    quantiles = [
        (quantile, ordered[-(-len(ordered) * quantile // 100) - 1]) for quantile in (50, 90, 99)
    ]
    dots: axes.Json = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [value / unit.size for _, value in quantiles],
        "y": [quantile for quantile, _ in quantiles],
        "text": [f" p{quantile}" for quantile, _ in quantiles],
        "textposition": "bottom right",
        "marker": {"color": axes.SERIES_COLOURS[1], "size": 8},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    return Chart([curve, dots], layout)


def throughput(series: Series) -> Chart | NoChart:
    """What each direction of each link carried, and the capacity of the bottlenecks."""
    lines = [one for one in series.throughput if one.t_ns]
    if not lines:
        return _not_observed(series, "throughput", "there is no capture and no relay log")
    lines.sort(key=lambda one: (not one.bottleneck, -max(one.bit_s)))
    shown = min(sum(one.bottleneck for one in lines) or len(lines), _MOST_SHOWN)
    highest = max(max(one.bit_s) for one in lines[:shown])
    unit = axes.rate_unit(highest)
    layout = axes.layout(axes.TIME_TITLE, f"throughput ({unit.name})")
    layout["hovermode"] = "x unified"
    axes.time_axis(layout, series.duration_ns, [one.t_ns for one in lines])
    axes.marks(layout, _changes(series))
    data = [
        {
            **axes.line(place, _way(one), _times(one.t_ns), visible=place < shown),
            "y": [value / unit.size for value in one.bit_s],
            "hovertemplate": f"%{{y:.3g}} {unit.name}",
        }
        for place, one in enumerate(lines)
    ]
    steady = [one for one in lines if one.bottleneck and not one.capacity_steps]
    capacities = {one.capacity_bit_s for one in steady if one.capacity_bit_s}
    stepped = {tuple(one.capacity_steps) for one in lines if one.bottleneck and one.capacity_steps}
    data += [axes.steps(layout, one, unit.size, "capacity") for one in sorted(stepped)]
    for capacity in sorted(capacities):
        text = f"capacity {scale.rate(capacity)}"
        across = axes.limit(layout, capacity / unit.size, text, highest / unit.size)
        data += [across] if across else []
    return Chart(data, layout)


def queue_length(series: Series, bottlenecks: frozenset[Way] = frozenset()) -> Chart | NoChart:
    """How many packets waited in each queue, and the queues' limits; bottlenecks come first."""
    lines = [one for one in series.queues if one.t_ns]
    if not lines:
        return _not_observed(series, "queues", "no queue was sampled")
    highest = max(max(one.packets) for one in lines)
    if highest == 0:
        queues = scale.plural(len(lines), "queue was", "queues were")
        return NoChart(f"No packet was seen waiting: {queues} empty at every sample.")
    narrow = [(one.link or "", one.direction or "") in bottlenecks for one in lines]
    order = sorted(range(len(lines)), key=lambda n: (not narrow[n], -max(lines[n].packets)))
    lines = [lines[place] for place in order]
    shown = min(sum(narrow) or len(lines), _MOST_SHOWN)
    layout = axes.layout(axes.TIME_TITLE, "queue (packets)")
    layout["hovermode"] = "x unified"
    axes.time_axis(layout, series.duration_ns, [one.t_ns for one in lines])
    axes.marks(layout, _changes(series))
    data = [
        {
            **axes.line(place, _queue_name(one), _times(one.t_ns), visible=place < shown),
            "y": list(one.packets),
            "hovertemplate": "%{y} packets",
        }
        for place, one in enumerate(lines)
    ]
    for trace in data:
        trace["line"]["shape"] = "hv"
    for packets in sorted({one.limit_packets for one in lines[:shown] if one.limit_packets}):
        text = f"limit {scale.plural(packets, 'packet')}"
        across = axes.limit(layout, packets, text, max(max(one.packets) for one in lines[:shown]))
        data += [across] if across else []
    return Chart(data, layout)


def receive_path(series: Series) -> Chart | None:
    """The share of received segments that were in their socket's buffer within a time.

    None where no tracepoints were read. The dashed lines are what is often said: 10 to 100 us.
    """
    known = [one for one in series.receives if one.duration_ns]
    if not known:
        return None
    said_ns = (10_000, 100_000)
    layout = axes.layout("from the device to the socket", "segments (%)")
    ordered = sorted([*said_ns, *(ns for one in known for ns in one.duration_ns)])
    unit = axes.latency_axis(layout["xaxis"], ordered)
    layout["yaxis"]["range"] = [0, 103]
    layout["hovermode"] = "x"
    data: list[axes.Json] = []
    for place, one in enumerate(known):
        x = [ns / unit.size for ns in one.duration_ns]
        count = len(x)
        curve = axes.line(place, f"from {one.start}", [x[0], *x], visible=True)
        curve |= {
            "y": [0, *(100 * (rank + 1) / count for rank in range(count))],
            "text": [scale.duration(ns) for ns in (one.duration_ns[0], *one.duration_ns)],
            "hovertemplate": "%{y:.1f} % within %{text}",
        }
        curve["line"]["shape"] = "hv"
        data.append(curve)
    data += [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [ns / unit.size] * 2,
            "y": [0, 100],
            "line": {"color": "--limit", "width": 1.5, "dash": "dash"},
            "hoverinfo": "skip",
        }
        for ns in said_ns
    ]
    return Chart(data, layout)


def _marks(
    points: Sequence[Any],
    unit: axes.Unit,
    name: str,
    colour: str,
    symbol: str,
    size: int,
    opacity: float,
) -> axes.Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": _times([point[0] for point in points]),
        "y": [point[1] / unit.size for point in points],
        "text": [f"{scale.duration(point[1])}<br>{point[3]}" for point in points],
        "hovertemplate": "%{text}<extra>" + name + "</extra>",
        "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": opacity},
    }


def _changes(series: Series) -> list[int]:
    """When links were changed; the same change of several directions once, as in the table."""
    return [t_ns for t_ns, _ in dict.fromkeys((one.t_ns, one.text) for one in series.changes)]


def _not_observed(series: Series, name: str, otherwise: str) -> NoChart:
    return NoChart(f"not observed: {series.missing.get(name) or otherwise}")


def _times(t_ns: Sequence[int]) -> list[float]:
    return [axes.seconds(t) for t in t_ns]


def _way(one: ThroughputSeries) -> str:
    first, _, second = one.link.partition("-")
    return f"{first} → {second}" if one.direction == "forward" else f"{second} → {first}"


def _queue_name(one: QueueSeries) -> str:
    return f"{one.interface} ({one.kind})"

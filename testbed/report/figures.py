"""The charts of the page, as the plain JSON that plotly.js draws.

Rules:

- A colour is the name of a CSS variable (``--series-1``); the page puts in its value, so that
  light, dark and print have their own.
- What was not observed becomes a `Missing` with its reason, never an empty chart.
- At most `MAX_POINTS` points a trace: failed and slowest requests stay, the rest is thinned evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.analysis.series import QueueSeries, Series, ThroughputSeries
from testbed.report import format as scale

MAX_POINTS: Final = 2_000
_SERIES: Final = tuple(f"--series-{number}" for number in range(1, 8))
_DASHES: Final = ("solid", "dot", "dashdot", "longdash")
_BAD: Final = "--bad"
_MOST_SHOWN: Final = 6
"""Lines drawn at first; the others are in the legend and can be switched on."""

_CROWD: Final = 200
"""From so many marks on they are drawn small."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart."""

    data: list[Json]
    layout: Json


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no chart."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Unit:
    """What the numbers of an axis are divided by, and the words for it."""

    scale: float
    name: str


def latency_over_time(series: Series) -> Chart | Missing:
    """Each request at its intended start with its latency; those that failed are marked."""
    points = [
        (t_ns, latency_ns, failed, f"{one.node}, request {request_id[:8]}")
        for one in series.latency
        for t_ns, latency_ns, failed, request_id in zip(
            one.t_ns, one.latency_ns, one.failed, one.request_id, strict=True
        )
    ]
    if not points:
        return _missing(series, "latency", "no request was recorded")
    unit = time_unit(max(point[1] for point in points))
    kept = thinned(points, MAX_POINTS, keep=lambda point: point[2], weight=lambda point: point[1])
    data = []
    for failed, name, colour, symbol in (
        (False, "completed", _SERIES[0], "circle"),
        (True, "failed", _BAD, "x"),
    ):
        chosen = [point for point in kept if point[2] is failed]
        if chosen:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [_seconds(point[0]) for point in chosen],
                    "y": [point[1] / unit.scale for point in chosen],
                    "text": [f"{scale.duration(point[1])}<br>{point[3]}" for point in chosen],
                    "hovertemplate": "%{text}<extra>" + name + "</extra>",
                    "marker": {
                        "color": colour,
                        "symbol": symbol,
                        "size": 6 if not failed or len(chosen) > _CROWD else 9,
                        "opacity": 1 if failed else 0.65,
                    },
                }
            )
    return Chart(data, _layout("time since the load began (s)", f"latency ({unit.name})"))


def latency_distribution(latencies_ns: Sequence[int], *, completed: bool = True) -> Chart | Missing:
    """The share of completed requests that were answered within a latency (the empirical CDF)."""
    if not latencies_ns:
        reason = "no request was completed" if completed else "no request was recorded"
        return Missing(reason)
    ordered = sorted(latencies_ns)
    unit = time_unit(ordered[-1])
    places = _even(len(ordered), 500)
    x = [ordered[place] / unit.scale for place in places]
    y = [100 * (place + 1) / len(ordered) for place in places]
    line: Json = {
        "type": "scatter",
        "mode": "lines",
        "name": "completed",
        "x": [x[0], *x],
        "y": [0, *y],
        "line": {"color": _SERIES[0], "shape": "hv", "width": 2},
        "hovertemplate": f"%{{y:.1f}} % within %{{x:.3g}} {unit.name}<extra></extra>",
        "showlegend": False,
    }
    layout = _layout(f"latency ({unit.name})", "requests (%)")
    layout["yaxis"]["range"] = [0, 103]
    layout["hovermode"] = "x"
    marks = []
    for quantile in (50, 90, 99):
        value = ordered[max(0, -(-len(ordered) * quantile // 100) - 1)] / unit.scale
        marks.append((quantile, value))
    dots: Json = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [value for _, value in marks],
        "y": [quantile for quantile, _ in marks],
        "text": [f" p{quantile}" for quantile, _ in marks],
        "textposition": "bottom right",
        "marker": {"color": _SERIES[1], "size": 8},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
    return Chart([line, dots], layout)


def throughput(series: Series) -> Chart | Missing:
    """What each direction of each link carried, and the capacity of the bottlenecks."""
    lines = [one for one in series.throughput if one.t_ns]
    if not lines:
        return _missing(series, "throughput", "no capture and no relay log")
    lines.sort(key=lambda one: (not one.bottleneck, -max(one.bit_s, default=0)))
    shown = sum(one.bottleneck for one in lines) or len(lines)
    capacities = {one.capacity_bit_s for one in lines if one.bottleneck and one.capacity_bit_s}
    unit = rate_unit(max([*capacities, *(max(one.bit_s, default=0) for one in lines)]))
    data = [
        {
            **_line(place, _way(one), [_seconds(t) for t in one.t_ns], visible=place < shown),
            "y": [value / unit.scale for value in one.bit_s],
            "hovertemplate": f"%{{y:.3g}} {unit.name}",
        }
        for place, one in enumerate(lines)
    ]
    layout = _layout("time since the load began (s)", f"throughput ({unit.name})")
    layout["hovermode"] = "x unified"
    for capacity in sorted(capacities):
        text = f"capacity {scale.rate(capacity)}"
        data.append(_limit(layout, _span(data), capacity / unit.scale, text))
    return Chart(data, layout)


def queue_length(series: Series, bottlenecks: frozenset[str] = frozenset()) -> Chart | Missing:
    """How many packets waited in each queue, and the queues' limits; `bottlenecks` are links."""
    lines = [one for one in series.queues if one.t_ns]
    if not lines:
        return _missing(series, "queues", "no queue was sampled")
    lines.sort(key=lambda one: (one.link not in bottlenecks, -max(one.packets, default=0)))
    shown = sum(one.link in bottlenecks for one in lines) or len(lines)
    data = [
        {
            **_line(
                place, _queue_name(one), [_seconds(t) for t in one.t_ns], visible=place < shown
            ),
            "y": list(one.packets),
            "hovertemplate": "%{y} packets",
        }
        for place, one in enumerate(lines)
    ]
    for trace in data:
        trace["line"]["shape"] = "hv"
    layout = _layout("time since the load began (s)", "queue (packets)")
    layout["hovermode"] = "x unified"
    limits = {one.limit_packets for one in lines[:shown] if one.limit_packets is not None}
    for limit in sorted(limits):
        text = f"limit {scale.plural(limit, 'packet')}"
        data.append(_limit(layout, _span(data), limit, text))
    return Chart(data, layout)


def time_unit(largest_ns: float) -> _Unit:
    """The unit of an axis that goes up to `largest_ns`."""
    for size_ns, name in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if largest_ns >= 2 * size_ns:
            return _Unit(size_ns, name)
    return _Unit(1, "ns")


def rate_unit(largest_bit_s: float) -> _Unit:
    """The unit of an axis that goes up to `largest_bit_s`."""
    for size_bit_s, name in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if largest_bit_s >= size_bit_s:
            return _Unit(size_bit_s, name)
    return _Unit(1, "bit/s")


def thinned(
    points: Sequence[Any],
    most: int,
    *,
    keep: Callable[[Any], bool],
    weight: Callable[[Any], float],
) -> list[Any]:
    """At most `most` points in their order.

    Of those to `keep` up to half of that, then the heaviest, then the others evenly.
    """
    if len(points) <= most:
        return list(points)
    wanted = [place for place, point in enumerate(points) if keep(point)]
    chosen = {wanted[place] for place in _even(len(wanted), most // 2)}
    heaviest = sorted(range(len(points)), key=lambda place: -weight(points[place]))
    chosen.update(heaviest[: most // 10])
    rest = [place for place in range(len(points)) if place not in chosen]
    chosen.update(rest[place] for place in _even(len(rest), most - len(chosen)))
    return [points[place] for place in sorted(chosen)]


def _even(length: int, most: int) -> list[int]:
    """At most `most` places of a list, evenly spread, first and last among them."""
    if length <= most:
        return list(range(length))
    if most <= 1:
        return [length - 1] * most
    return [place * (length - 1) // (most - 1) for place in range(most)]


def _missing(series: Series, name: str, otherwise: str) -> Missing:
    return Missing(series.missing.get(name) or otherwise)


def _seconds(t_ns: int) -> float:
    return round(t_ns / 1e9, 6)


def _way(one: ThroughputSeries) -> str:
    first, _, second = one.link.partition("-")
    return f"{first} → {second}" if one.direction == "forward" else f"{second} → {first}"


def _queue_name(one: QueueSeries) -> str:
    return f"{one.interface} ({one.kind})"


def _line(place: int, name: str, x: list[float], *, visible: bool) -> Json:
    colour = _SERIES[place % len(_SERIES)]
    dash = _DASHES[place // len(_SERIES) % len(_DASHES)]
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour},
        "visible": True if visible and place < _MOST_SHOWN else "legendonly",
    }


def _span(lines: Sequence[Json]) -> tuple[float, float]:
    """First and last x of all lines."""
    return min(line["x"][0] for line in lines), max(line["x"][-1] for line in lines)


def _limit(layout: Json, span: tuple[float, float], y: float, text: str) -> Json:
    """A line across at `y`; puts its name above it into `layout`.

    The last point draws nothing: it makes room for the name.
    """
    layout.setdefault("annotations", []).append(
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            "y": y,
            "yanchor": "bottom",
            "text": text,
            "showarrow": False,
            "font": {"color": "--limit", "size": 12},
        }
    )
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*span, None, span[1]],
        "y": [y, y, None, y * 1.14],
        "line": {"color": "--limit", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(x_title: str, y_title: str) -> Json:
    axis: Json = {
        "gridcolor": "--line",
        "zerolinecolor": "--line",
        "linecolor": "--line",
        "tickfont": {"color": "--muted"},
        "automargin": True,
        "fixedrange": False,
    }

    def titled(text: str) -> Json:
        return {"text": text, "font": {"color": "--muted", "size": 13}, "standoff": 8}

    return {
        "xaxis": {**axis, "title": titled(x_title)},
        "yaxis": {**axis, "title": titled(y_title), "rangemode": "tozero"},
        "margin": {"l": 48, "r": 16, "t": 36, "b": 44},
        "height": 320,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--fg", "family": "--font", "size": 13},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"color": "--fg"},
        },
        "hoverlabel": {
            "bgcolor": "--card",
            "bordercolor": "--line",
            "font": {"color": "--fg", "family": "--font"},
        },
        "showlegend": True,
    }

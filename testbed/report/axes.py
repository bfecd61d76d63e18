"""The parts that the charts share: units, scales, limits, thinning, the layout of plotly.js."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.report import format as scale

Json = dict[str, Any]

SERIES_COLOURS: Final = tuple(f"--series-{number}" for number in range(1, 8))
BAD_COLOUR: Final = "--bad"
TIME_TITLE: Final = "time since the load began (s)"
_DASHES: Final = ("solid", "dot", "dashdot", "longdash")
_WITHIN_SIGHT: Final = 0.12
"""A limit is drawn when the data comes at least this close to it; else it would press them flat."""
_MOST_MARKS: Final = 50
"""Changes that are drawn; more would be a hatching."""
_MARK_MARGIN: Final = 24
_LOG_FROM: Final = 12
"""An axis is logarithmic from this ratio between its largest and its middle value on."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What the numbers of an axis are divided by, and the words for it."""

    size: float
    name: str


def time_unit(largest_ns: float) -> Unit:
    """The unit of an axis that goes up to `largest_ns`."""
    for size_ns, name in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if largest_ns >= 2 * size_ns:
            return Unit(size_ns, name)
    return Unit(1, "ns")


def rate_unit(largest_bit_s: float) -> Unit:
    """The unit of an axis that goes up to `largest_bit_s`."""
    for size_bit_s, name in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if largest_bit_s >= size_bit_s:
            return Unit(size_bit_s, name)
    return Unit(1, "bit/s")


def seconds(t_ns: int) -> float:
    """A time on a time axis."""
    return round(t_ns / 1e9, 6)


def even(length: int, most: int) -> list[int]:
    """At most `most` places of a list, evenly spread, first and last among them."""
    if length <= most:
        return list(range(length))
    if most <= 1:
        return [length - 1] * most
    return [place * (length - 1) // (most - 1) for place in range(most)]


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
    chosen = {wanted[place] for place in even(len(wanted), most // 2)}
    heaviest = sorted(range(len(points)), key=lambda place: -weight(points[place]))
    chosen.update(heaviest[: most // 10])
    rest = [place for place in range(len(points)) if place not in chosen]
    chosen.update(rest[place] for place in even(len(rest), most - len(chosen)))
    return [points[place] for place in sorted(chosen)]


def layout(x_title: str, y_title: str) -> Json:
    """The layout of a chart; its legend is made of buttons outside it, by the page."""
    axis: Json = {
        "gridcolor": "--line",
        "zerolinecolor": "--line",
        "linecolor": "--line",
        "tickfont": {"color": "--muted"},
        "automargin": True,
    }

    def titled(text: str) -> Json:
        return {"text": text, "font": {"color": "--muted", "size": 13}, "standoff": 8}

    return {
        "xaxis": {**axis, "title": titled(x_title)},
        "yaxis": {**axis, "title": titled(y_title), "rangemode": "tozero"},
        "margin": {"l": 48, "r": 16, "t": 10, "b": 44},
        "height": 294,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--fg", "family": "--font", "size": 13},
        "hoverlabel": {
            "bgcolor": "--card",
            "bordercolor": "--line",
            "font": {"color": "--fg", "family": "--font"},
        },
        "showlegend": False,
    }


def time_axis(of: Json, duration_ns: int, lines: Sequence[Sequence[int]]) -> None:
    """Gives the x axis the whole of the load, so that charts below one another agree."""
    ends_ns = [times[-1] for times in lines if times]
    end = seconds(max([duration_ns, *ends_ns, 1]))
    of["xaxis"]["range"] = [-0.01 * end, 1.01 * end]


def steps(of: Json, values: Sequence[tuple[int, int]], size: float, name: str) -> Json:
    """A dashed line that goes from step to step; each is (time in ns, value)."""
    end = of["xaxis"]["range"][1]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*(seconds(t_ns) for t_ns, _ in values), end],
        "y": [*(value / size for _, value in values), values[-1][1] / size],
        "line": {"color": "--limit", "width": 1.5, "dash": "dash", "shape": "hv"},
        "name": name,
        "hoverinfo": "skip",
    }


def marks(of: Json, times_ns: Sequence[int]) -> None:
    """A line down at each of these times, with its number, from 1; in `of`, the layout."""
    for number, t_ns in enumerate(times_ns[:_MOST_MARKS], 1):
        x = seconds(t_ns)
        of.setdefault("shapes", []).append(
            {
                "type": "line",
                "xref": "x",
                "x0": x,
                "x1": x,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "line": {"color": "--limit", "width": 1.5, "dash": "dot"},
            }
        )
        of.setdefault("annotations", []).append(
            {
                "x": x,
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "text": str(number),
                "showarrow": False,
                "font": {"color": "--limit", "size": 12},
            }
        )
    if times_ns:
        of["margin"]["t"] = _MARK_MARGIN


def latency_axis(axis: Json, ordered_ns: Sequence[int]) -> Unit:
    """Scales an axis for these latencies, logarithmically when a few dwarf the others.

    Returns:
        The unit to give values in.
    """
    smallest, middle, largest = ordered_ns[0], ordered_ns[len(ordered_ns) // 2], ordered_ns[-1]
    unit = time_unit(largest)
    if smallest <= 0 or largest < _LOG_FROM * middle:
        axis["title"]["text"] += f" ({unit.name})"
        return unit
    low, high = smallest / 1.3, largest * 1.3
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 3 else (1, 3) if len(decades) < 6 else (1,)
    ticks = [step * 10**power for power in decades for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.pop("rangemode", None)
    axis |= {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [scale.duration(tick) for tick in ticks],
    }
    axis["title"]["text"] += " (log scale)"
    return Unit(1, "ns")


def line(place: int, name: str, x: list[float], *, visible: bool) -> Json:
    """A line of a time series; `place` gives its colour and dash."""
    colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
    dash = _DASHES[place // len(SERIES_COLOURS) % len(_DASHES)]
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour},
        "visible": True if visible else "legendonly",
    }


def limit(of: Json, y: float, text: str, highest: float) -> Json | None:
    """A line across at `y` with its name; only the name, in `of`, when all data lies far below.

    The last point of the line draws nothing: it makes room for the name.
    """
    near = highest >= _WITHIN_SIGHT * y
    above = sum("far above" in one["text"] for one in of.setdefault("annotations", []))
    of["annotations"].append(
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            **({"y": y} if near else {"yref": "paper", "y": 1}),
            "yanchor": "bottom" if near else "top",
            "yshift": 0 if near else -16 * above,
            "text": text if near else f"{text}, far above",
            "showarrow": False,
            "font": {"color": "--limit", "size": 12},
        }
    )
    if not near:
        return None
    start, end = of["xaxis"]["range"]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [start, end, None, end],
        "y": [y, y, None, y * 1.14],
        "line": {"color": "--limit", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }

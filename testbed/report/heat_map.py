"""The backpressure map as a chart: a row for each stop, its colour fuller the longer it waited."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from typing import Final

from testbed.analysis.series import PressureSeries, Series
from testbed.analysis.summary import Backpressure
from testbed.report import axes
from testbed.report import format as scale
from testbed.report.figures import Chart, NoChart

_LEAST_RATIO: Final = 0.01
"""A stop that waited less is not shown: nearly every stop does, for a moment."""
_ROW_PX: Final = 26
_AROUND_PX: Final = 70
_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("http", "await"): "awaits the answer",
    ("http", "reader"): "reader",
    ("http", "pool"): "connection pool",
    ("asgi", "reader"): "unread requests",
    ("asgi", "receive"): "in receive()",
    ("asgi", "send"): "in send()",
    ("event_loop", "blocked"): "event loop blocked",
    ("event_loop", "lag"): "event loop lags",
}
"""Stops whose own names need their layer to be understood."""


def backpressure(series: Series, found: Backpressure | None) -> Chart | NoChart:
    """Each stop over time."""
    rows = [one for one in series.pressure if _mean(one) >= _LEAST_RATIO]
    if not rows:
        why = series.missing.get("pressure")
        return NoChart(f"not observed: {why}" if why else "Nothing waited for 1 % of the load.")
    origin = None if found is None else found.origin
    marked = None if origin is None else (origin.layer, origin.node, origin.what)
    labels = _labels(rows)
    shown = [
        f"<b>{label}</b>" if (one.layer, one.node, one.what) == marked else label
        for one, label in zip(rows, labels, strict=True)
    ]
    layout = axes.layout(axes.TIME_TITLE, "")
    axes.time_axis(layout, series.duration_ns, [one.t_ns for one in rows])
    layout["height"] = _AROUND_PX + _ROW_PX * len(rows)
    layout["yaxis"] |= {
        "type": "category",
        "autorange": "reversed",
        "showgrid": False,
        "ticks": "",
        "tickfont": {"color": "--fg", "size": 12},
    }
    layout["xaxis"]["showgrid"] = False
    del layout["yaxis"]["rangemode"], layout["yaxis"]["title"]
    middle = [axes.seconds(t_ns + rows[0].window_ns // 2) for t_ns in rows[0].t_ns]
    heat: axes.Json = {
        "type": "heatmap",
        "x": middle,
        "y": shown,
        "z": [[round(ratio, 3) for ratio in one.waited_ratio] for one in rows],
        "text": [_texts(one) for one in rows],
        "hovertemplate": "%{y}<br>%{x:.2f} s: %{text}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "--card"], [1, "--series-1"]],
        "showscale": False,
        "ygap": 3,
    }
    return Chart([heat], layout)


def _mean(one: PressureSeries) -> float:
    return sum(one.waited_ratio) / max(len(one.waited_ratio), 1)


def _labels(rows: list[PressureSeries]) -> list[str]:
    """A name for each row, none of them twice; names of nodes are text, never markup."""
    plain = []
    for one in rows:
        what = _NAMES.get((one.layer, one.what), one.what)
        plain.append(what if what.startswith("queue ") else f"{one.node}: {what}")
    times = Counter(plain)
    return [
        html.escape(f"{label} ({one.layer})" if times[label] > 1 else label)
        for one, label in zip(rows, plain, strict=True)
    ]


def _texts(one: PressureSeries) -> list[str]:
    """What stands beside the pointer."""
    return [
        f"waited {scale.percent(ratio)} of the time, at most {_amount(amount, one.unit)}"
        if ratio
        else "nothing waited"
        for ratio, amount in zip(one.waited_ratio, one.amount, strict=True)
    ]


def _amount(amount: int, unit: str) -> str:
    if unit == "bytes":
        return scale.size(amount)
    return scale.plural(amount, unit.removesuffix("s"))

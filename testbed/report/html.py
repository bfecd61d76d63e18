"""The report as one page of HTML that opens offline.

Rules:

- Everything is inside the file, plotly.js too; the page's own content policy forbids every request.
- What comes from a run (names, failures, exception texts) is hostile input: Jinja escapes it all,
  and JSON inside a script element has no ``<``.
- plotly.js is taken from the Python package's data without importing the package, which takes long.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec

from testbed.analysis.series import Series
from testbed.analysis.series import build as build_series
from testbed.analysis.summary import Impairment, LinkDirection, Summary
from testbed.errors import MachineError, RecordingError
from testbed.recording.layout import Layout, open_layout, write_atomically
from testbed.recording.manifest import Manifest, read_manifest
from testbed.report import (
    drawing,
    figures,
    heat_map,
    link_table,
    server_settings,
    settings,
    why_slow,
    wording,
)
from testbed.report import format as scale
from testbed.report.degraded import degraded
from testbed.report.text import repeat_command
from testbed.scenario.file import as_toml

_TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
_MEANINGS: Final = {
    "faithful": "The emulation can be trusted.",
    "degraded": "{}. Read the reasons before relying on the numbers.",
    "invalid": "The emulation cannot be trusted. Do not use these numbers.",
}


def write_report(root: Path) -> Path:
    """Writes report.html into the recording at `root`, from its manifest, summary and tables.

    Returns:
        The path of the page.

    Raises:
        RecordingError: `root` is no recording, has not been analysed, or the page cannot be
            written.
        MachineError: plotly is not installed.
    """
    layout = open_layout(root)
    series = build_series(root)
    latencies_ns = completed_latencies_ns(layout, series)
    slowest = why_slow.slowest_rows(layout.events("journeys"))
    page = render(read_manifest(layout), read_summary(layout), series, latencies_ns, slowest)
    try:
        write_atomically(layout.report, page.encode())
    except OSError as error:
        raise RecordingError(
            f"cannot write {layout.report}: {error.strerror}", where=str(layout.report)
        ) from error
    return layout.report


def read_summary(layout: Layout) -> Summary:
    """Reads summary.json.

    Raises:
        RecordingError: it is missing or damaged.
    """
    path = layout.summary
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except OSError as error:
        raise RecordingError(
            f"cannot read {path}: {error.strerror}; make it with `testbed analyse {layout.root}`",
            where=str(path),
        ) from error
    except msgspec.MsgspecError as error:
        raise RecordingError(
            f"{path} is damaged: {error}; make it anew with `testbed analyse {layout.root}`",
            where=str(path),
        ) from error


def render(
    manifest: Manifest,
    summary: Summary,
    series: Series,
    latencies_ns: Sequence[int],
    slowest: Sequence[why_slow.Row] = (),
) -> str:
    """The page as text.

    Args:
        manifest: of the recording.
        summary: of it.
        series: for the charts.
        latencies_ns: those of all completed requests.
        slowest: the journeys of the slowest ones.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    quantile_rows = why_slow.quantile_rows(summary.journeys)
    environment.filters |= {
        "count": scale.count,
        "duration": scale.duration,
        "rate": scale.rate,
        "size": scale.size,
        "percent": scale.percent,
        "per_second": scale.per_second,
        "plural": scale.plural,
    }
    charts = _charts(manifest, series, latencies_ns)
    if summary.backpressure is not None:
        charts["backpressure"] = heat_map.backpressure(series, summary.backpressure)
    drawn = {name: asdict(one) for name, one in charts.items() if isinstance(one, figures.Chart)}
    return environment.get_template("report.html.j2").render(
        manifest=manifest,
        summary=summary,
        meaning=_MEANINGS[summary.verdict.status].format(_degraded(summary)),
        expectations=[(one.holds, wording.expectation(one)) for one in summary.expectations],
        title=_title(summary),
        command=[shlex.quote(word) for word in repeat_command(manifest)],
        scenario=as_toml(manifest.scenario),
        picture=drawing.draw(manifest),
        journeys=summary.journeys,
        explained=why_slow.sentence(summary.journeys) if summary.journeys else "",
        quantile_rows=quantile_rows,
        slowest_rows=slowest,
        kinds=why_slow.legend(quantile_rows),
        no_http=wording.no_http(summary),
        rows=wording.rows(summary.layers),
        aspects=wording.ASPECTS,
        links=_links(manifest, summary),
        in_play=link_table.in_play(summary),
        impairments=_impairments(manifest, summary),
        settings=settings.described(manifest),
        changes=settings.changes(manifest),
        spoken=" · ".join(
            [
                f"on {summary.scenario.get('server', '?')}",
                wording.spoken(summary.scenario),
                *server_settings.described(summary.scenario),
            ]
        ),
        started=_moment(manifest.started_utc),
        figures=_script_json(drawn),
        sentences={
            name: one.sentence for name, one in charts.items() if isinstance(one, figures.NoChart)
        },
        thinned=sum(one.left_out for one in series.latency),
        receives="receive" in charts,
        warnings=list(dict.fromkeys([*summary.warnings, *manifest.warnings])),
        plotly=_plotly() if drawn else "",
        nothing=scale.NOTHING,
    )


def _degraded(summary: Summary) -> str:
    said = degraded(summary.verdict.reasons)
    return said[0].upper() + said[1:]


def _title(summary: Summary) -> str:
    """The scenario in a few words: ``hello over single_bottleneck``."""
    topology = str(summary.scenario.get("topology", "?")).rpartition("/")[2]
    return f"{summary.scenario.get('app', '?')} over {topology}"


def _moment(text: str) -> str:
    """An ISO 8601 time to the second, for people: ``2026-11-22 15:30:00 UTC``."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text


def completed_latencies_ns(layout: Layout, series: Series) -> list[int]:
    """The latencies of all completed requests; the series leaves some out of a long run."""
    if any(one.left_out for one in series.latency) and layout.events("http").is_file():
        import polars as pl  # slow to import, and few runs are this long

        table = pl.read_parquet(layout.events("http"), columns=["latency_ns", "failure"])
        kept: list[int] = table.filter(pl.col("failure").is_null())["latency_ns"].to_list()
        return kept
    return [
        latency_ns
        for one in series.latency
        for latency_ns, failed in zip(one.latency_ns, one.failed, strict=True)
        if not failed
    ]


def _charts(
    manifest: Manifest, series: Series, latencies_ns: Sequence[int]
) -> dict[str, figures.Chart | figures.NoChart]:
    narrow = frozenset(
        (link.name, way)
        for link in manifest.links
        for way, one in (("forward", link.forward), ("reverse", link.reverse))
        if one.bottleneck
    )
    received = figures.receive_path(series)
    return {
        **({} if received is None else {"receive": received}),
        "latency": figures.latency_over_time(series),
        "distribution": figures.latency_distribution(series, latencies_ns),
        "throughput": figures.throughput(series),
        "queue": figures.queue_length(series, narrow),
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """One direction of one link."""

    sender: str
    receiver: str
    seen: LinkDirection
    bottleneck: bool
    peak_use: float | None


def _links(manifest: Manifest, summary: Summary) -> list[_Row]:
    """The rows of the table of links."""
    built = {link.name: link for link in manifest.links}
    found = []
    for name, directions in summary.links.items():
        for way, seen in directions.items():
            record = built.get(name)
            if record is None:
                first, _, second = name.partition("-")
                ends = (first, second) if way == "forward" else (second, first)
                found.append(_Row(*ends, seen, False, link_table.peak_use(seen, None)))
            else:
                one = record.forward if way == "forward" else record.reverse
                use = link_table.peak_use(seen, one)
                found.append(_Row(one.sender, one.receiver, seen, one.bottleneck, use))
    return found


def _impairments(manifest: Manifest, summary: Summary) -> list[tuple[str, str, str, Impairment]]:
    """Sender, receiver, since when, and what was asked for against what was done."""
    return [
        (
            row.sender,
            row.receiver,
            "" if one.since_ns is None else scale.duration(one.since_ns),
            one,
        )
        for row in _links(manifest, summary)
        for one in row.seen.impairments
    ]


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no ``<``, so no end of it and no comment."""
    text = msgspec.json.encode(value).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plotly() -> str:
    """The text of plotly.min.js."""
    found = importlib.util.find_spec("plotly")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise MachineError(
        "the charts of the report need the Python package plotly; install it with: "
        "pip install plotly",
        where="report.html",
    )

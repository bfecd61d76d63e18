"""The page: complete in itself, all sections there whatever happened, no markup from a run."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from testbed.analysis.series import Series
from testbed.errors import EXIT_WRONG_REQUEST, RecordingError
from testbed.recording.layout import create
from testbed.recording.manifest import Manifest
from testbed.report.html import completed_latencies_ns, read_summary, render, write_report
from tests.builders.drawn_series import series
from tests.builders.summaries import MS, http, manifest, recording, summary

EMPTY = Series(origin_ns=0, duration_ns=0)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._inside.append(tag)
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.text += data


def page(seen: Any = None, made: Manifest | None = None, drawn: Series = EMPTY) -> Page:
    latencies = [value for one in drawn.latency for value in one.latency_ns]
    return Page(render(made or manifest(), seen or summary(), drawn, latencies))


SECTIONS = [
    *("What was run", "HTTP", "Latency over time", "Distribution of latency", "Layers"),
    *("Links", "Throughput", "Queue length", "Ledger", "What was looked at", "Machine"),
]


@pytest.mark.parametrize("drawn", [EMPTY, series()], ids=["nothing", "everything"])
@pytest.mark.parametrize("status", ["faithful", "degraded", "invalid"])
def test_every_section_is_there(status: str, drawn: Series) -> None:
    found = page(summary(status), drawn=drawn)
    places = [found.text.find(f"\n{title}\n") for title in SECTIONS]
    assert -1 not in places, dict(zip(SECTIONS, places, strict=True))
    assert places == sorted(places)
    assert status in found.text


@pytest.mark.parametrize("drawn", [EMPTY, series()], ids=["nothing", "everything"])
def test_nothing_is_loaded_from_anywhere(drawn: Series) -> None:
    found = page(drawn=drawn)
    for tag, attributes in found.elements:
        assert tag not in {"iframe", "object", "embed", "base"}
        for name in ("src", "href", "action", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, name, value)
    assert not re.search(r"@import|url\(", "".join(found.scripts[:1]))
    policy = [
        attributes["content"]
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert str(policy[0]).startswith("default-src 'none'")


def test_the_charts_are_drawn_from_json_in_the_page() -> None:
    found = page(drawn=series())
    [data] = [text for text in found.scripts if text.startswith("{")]
    assert set(json.loads(data)) == {"latency", "distribution", "throughput", "queue"}
    assert any("plotly.js v" in text for text in found.scripts)
    places = {attributes.get("id") for _, attributes in found.elements}
    assert {"chart-latency", "chart-distribution", "chart-throughput", "chart-queue"} <= places


def test_without_a_chart_the_page_is_small_and_says_why() -> None:
    empty = Series(origin_ns=0, duration_ns=0, missing={"queues": "the probes were off"})
    html = render(manifest(), summary(), empty, [])
    assert len(html) < 60_000
    assert "not observed: the probes were off" in Page(html).text


def test_no_text_of_a_run_becomes_markup() -> None:
    made = manifest()
    first = msgspec.structs.replace(made.nodes[0], name=HOSTILE)
    made = msgspec.structs.replace(
        made,
        nodes=[first, *made.nodes[1:]],
        command=["testbed", HOSTILE],
        kernel=HOSTILE,
        versions={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        started_utc=HOSTILE,
        probes=[msgspec.structs.replace(made.probes[0], reason=HOSTILE, sources=[HOSTILE])],
    )
    seen = summary(
        "invalid",
        state="failed",
        failure=HOSTILE,
        scenario={"topology": HOSTILE, "app": HOSTILE},
        http=http(failures={HOSTILE: 3}),
        links={HOSTILE: next(iter(summary().links.values()))},
        layers={"tcp": msgspec.structs.replace(summary().layers["tcp"], reason=HOSTILE)},
    )
    drawn = series()
    drawn.latency[0].request_id[0] = HOSTILE[:8]
    drawn.missing["queues"] = HOSTILE
    drawn.queues.clear()
    found = page(seen, made, drawn)
    assert sum(tag == "script" for tag, _ in found.elements) == 3  # data, plotly.js, page.js
    assert not any(tag == "img" for tag, _ in found.elements)
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert found.text.count("<script>alert(1)</script>") >= 8
    [data] = [text for text in found.scripts if text.startswith("{")]
    assert "<" not in data


@pytest.mark.parametrize(
    ("state", "words"), [("failed", "Run failed"), ("interrupted", "Interrupted")]
)
def test_a_run_that_did_not_end_well_says_so(state: str, words: str) -> None:
    found = page(summary("invalid", state=state, failure="the server died\nlast line"))
    assert words in found.text
    assert "the server died\nlast line" in found.text


def test_no_client_left_a_record() -> None:
    none = http(requests=None, completed=None, failed=None, failures={}, latency_ns=None)
    assert "not observed: no client left a record" in page(summary(http=none)).text


def test_a_run_that_never_got_its_network() -> None:
    bare = manifest(nodes=[], links=[], probes=[], command=[])
    found = page(summary("invalid", links={}, layers={}), bare)
    assert not any(tag == "svg" for tag, _ in found.elements)
    assert "No probe is recorded." in found.text


def test_the_bottleneck_is_marked_in_its_own_direction() -> None:
    made = manifest()
    one_way = msgspec.structs.replace(
        made.links[1], reverse=msgspec.structs.replace(made.links[1].reverse, bottleneck=False)
    )
    html = render(manifest(links=[made.links[0], one_way]), summary(), EMPTY, [])
    rows = re.findall(r'<th scope="row">([^<]* → [^<]*)(<span class="mark">)?', html)
    assert [(name, bool(mark)) for name, mark in rows] == [
        ("client → r1", False),
        ("r1 → client", False),
        ("r1 → server", True),
        ("server → r1", False),
    ]


def test_written_beside_the_summary_for_its_owner_alone(tmp_path: Path) -> None:
    layout = recording(tmp_path / "run")
    path = write_report(layout.root)
    assert path == layout.report
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hello over single_bottleneck" in path.read_text(encoding="utf-8")


def test_a_folder_that_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError) as caught:
        write_report(tmp_path)
    assert caught.value.exit_code == EXIT_WRONG_REQUEST


@pytest.mark.parametrize(("data", "word"), [(None, "cannot read"), (b"{", "is damaged")])
def test_a_recording_that_was_not_analysed_says_how(
    tmp_path: Path, data: bytes | None, word: str
) -> None:
    layout = recording(tmp_path / "run")
    layout.summary.unlink()
    if data is not None:
        layout.summary.write_bytes(data)
    with pytest.raises(RecordingError, match=word) as caught:
        read_summary(layout)
    assert f"testbed analyse {layout.root}" in str(caught.value)


def test_the_distribution_of_a_long_run_is_of_all_its_requests(tmp_path: Path) -> None:
    layout = create(tmp_path / "run")
    latencies = [n * MS for n in range(1, 101)]
    failures = [None if n % 10 else "ReadTimeout" for n in range(1, 101)]
    pl.DataFrame({"latency_ns": latencies, "failure": failures}).write_parquet(
        layout.events("http")
    )
    short = series(20)
    assert len(completed_latencies_ns(layout, short)) == 20 - sum(short.latency[0].failed)
    long = replace(short, latency=[replace(short.latency[0], left_out=80)])
    assert completed_latencies_ns(layout, long) == [n * MS for n in range(1, 101) if n % 10]


def test_the_line_below_the_title_names_the_server() -> None:
    asked = {**summary().scenario, "server": "uvicorn"}
    assert " UTC · on uvicorn · " in page(summary(scenario=asked)).text

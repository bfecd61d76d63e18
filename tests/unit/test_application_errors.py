"""Rule: what the application raised is in every report, counted, bounded, and with what to do where
the application is on the wrong event loop.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from testbed.analysis.analyse import analyse
from testbed.analysis.application_errors import (
    LONGEST_TEXT,
    MOST_KINDS,
    application_errors,
)
from testbed.events.asgi import AsgiExchange
from testbed.pytest_plugin import _section
from testbed.recording.layout import create_partial, finish_partials
from testbed.recording.segments import Segment, SegmentWriter
from testbed.scenario.servers import MODELS
from tests.builders.recordings import Run
from tests.builders.summaries import recording, summary
from tests.builders.transfers import transfer

NO_LOOP = "RuntimeError: no running event loop"


def requests(*raised: str | None, hung_up: int = 0) -> pl.DataFrame:
    """The table `asgi`: what each request raised; the first ones had been hung up on."""
    columns = {
        "exception": list(raised),
        "disconnected": [number < hung_up for number in range(len(raised))],
    }
    return pl.DataFrame(columns, schema={"exception": pl.String, "disconnected": pl.Boolean})


def said(*raised: str | None, server: str = "uvicorn", hung_up: int = 0) -> list[str]:
    return application_errors(requests(*raised, hung_up=hung_up), MODELS[server])


def test_23_of_100_requests_raised() -> None:
    assert said(*["ValueError: 7"] * 23, *[None] * 77) == [
        'the application raised "ValueError: 7" in 23 of 100 requests'
    ]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(None, id="not recorded"),
        pytest.param(requests(), id="no request"),
        pytest.param(requests(None, None), id="nothing raised"),
        pytest.param(requests("Cancelled", "CancelledError"), id="cancelled"),
        pytest.param(requests("ClientDisconnect", hung_up=1), id="the client hung up"),
    ],
)
def test_nothing_to_say(table: pl.DataFrame | None) -> None:
    assert application_errors(table, MODELS["hypercorn"]) == []


def test_the_most_frequent_ones_come_first_and_the_others_are_counted() -> None:
    raised = [f"KeyError: {number}" for number in range(7) for _ in range(7 - number)]
    found = said(*raised)
    assert found[:MOST_KINDS] == [
        f'the application raised "KeyError: {number}" in {7 - number} of 28 requests'
        for number in range(MOST_KINDS)
    ]
    assert found[MOST_KINDS:] == [
        "the application raised 4 other exceptions in 10 requests: events/asgi.parquet has them"
    ]


def test_a_long_text_of_many_lines_is_one_line_that_ends() -> None:
    [sentence] = said("ValueError: one\n  two " + "x" * 500)
    assert '"ValueError: one two xxx' in sentence
    assert 'x…" in 1 of 1 request' in sentence
    assert len(sentence) < LONGEST_TEXT + 60


@pytest.mark.parametrize(
    "text",
    [
        NO_LOOP,
        "RuntimeError: There is no current event loop in thread 'MainThread'.",
        "AsyncLibraryNotFoundError: unknown async library, or not in async context",
        "TypeError: trio.run received unrecognized yield message None.",
    ],
)
def test_an_application_that_needs_asyncio_is_told_which_server_has_it(text: str) -> None:
    [sentence] = said(*[text] * 100, server="hypercorn")
    assert sentence == (
        f'the application raised "{text}" in 100 of 100 requests. This application needs asyncio, '
        "and the server hypercorn runs trio: choose --server uvicorn or hypercorn-asyncio "
        '(in Python server="uvicorn")'
    )


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn-asyncio"])
def test_an_application_that_needs_trio_is_told_which_server_has_it(server: str) -> None:
    [sentence] = said("RuntimeError: must be called from async context", server=server)
    assert sentence.endswith(
        f"This application needs trio, and the server {server} runs asyncio: choose --server "
        'hypercorn (in Python server="hypercorn")'
    )


@pytest.mark.parametrize("server", ["uvicorn", "blocking"])
def test_no_advice_where_another_server_would_be_none(server: str) -> None:
    assert said(NO_LOOP, server=server) == [f'the application raised "{NO_LOOP}" in 1 of 1 request']


def test_a_test_that_fails_shows_it_beside_its_recording(tmp_path: Path) -> None:
    seen = summary(warnings=["one\x1b[31m", "two"])
    root = recording(tmp_path / "run", seen=seen).root
    assert _section(root).splitlines() == [
        str(root),
        str(root / "report.html"),
        "! one\ufffd[31m",
        "! two",
    ]


def test_a_recording_without_a_summary_has_its_paths_only(tmp_path: Path) -> None:
    assert _section(tmp_path) == f"{tmp_path}\n{tmp_path / 'report.html'}\n"


def test_the_warning_is_in_the_summary_of_a_recording(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10, frozenset())
    layout = run.write(tmp_path / "run")
    segment = Segment(layout.segment("asgi.server"))
    frames = list(segment.frames())
    writer = SegmentWriter(create_partial(layout.segment("asgi.server")), segment.header)
    for frame in frames:
        exchange = msgspec.json.decode(frame.payload, type=AsgiExchange)
        failed = msgspec.structs.replace(exchange, exception=NO_LOOP, status=500)
        writer.frame(exchange.started_ns, exchange.ended_ns, msgspec.json.encode(failed))
    writer.close()
    finish_partials(layout)
    [found] = [text for text in analyse(layout.root).warnings if NO_LOOP in text]
    assert f'"{NO_LOOP}" in 23 of 23 requests. This application needs asyncio' in found

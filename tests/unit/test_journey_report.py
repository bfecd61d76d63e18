"""`testbed journey`: which requests it shows, how, and what it says where it cannot."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from rich.console import Console

from testbed.analysis.decode.schema import schema_of
from testbed.analysis.journey.stage import JourneyStage
from testbed.errors import RecordingError, RequestError
from testbed.events.http import HttpRequest
from testbed.recording.layout import Layout
from testbed.report.journey import print_journeys

MS: Final = 1_000_000
IDS: Final = ("aaaa1", "aaaa2", "bbbb3")


def stage(
    request: str, place: int, part: str, name: str, start: int, end: int
) -> dict[str, object]:
    return {
        "request_id": request, "place": place, "part": part, "stage": name, "layer": "socket",
        "kind": "backpressure", "where": "server", "note": "", "started_ns": start * MS,
        "ended_ns": end * MS, "duration_ns": (end - start) * MS,
    }  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three requests, of 989, 2 and 3 ms; the first waits 23 times, 1 ms apart."""
    (tmp_path / "manifest.json").write_text("{}")
    layout = Layout(tmp_path)
    layout.events("http").parent.mkdir()
    waits = [
        stage("aaaa1", 2 * n + offset, "server", name, 43 * n + start, 43 * n + end)
        for n in range(23)
        for offset, name, start, end in ((0, "full", 0, 42), (1, "handler", 42, 43))
    ]
    others = [stage("aaaa2", 0, "start", "late", 0, 2), stage("bbbb3", 0, "start", "late", 0, 3)]
    schema = schema_of(JourneyStage)
    pl.DataFrame([*waits, *others], schema=schema).write_parquet(layout.events("journeys"))
    known = {
        "request_id": list(IDS),
        "node": ["client1", "client1", "client2"],
        "number": [0, 1, 1],
        "method": ["GET"] * 3,
        "path": ["/"] * 3,
        "failure": [None, None, "ReadTimeout"],
        "message": [None, None, "nothing came"],
        "status": [200, 200, None],
        "latency_ns": [23 * 43 * MS, 2 * MS, 3 * MS],
    }
    columns = schema_of(HttpRequest)
    rows = {name: known.get(name, [None] * len(IDS)) for name in columns}
    pl.DataFrame(rows, schema=columns).write_parquet(layout.events("http"))
    return tmp_path


def shown(
    root: Path,
    request: str | None = None,
    slowest: int | None = None,
    width: int = 80,
    *,
    failed: bool = False,
) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_journeys(console, root, request=request, slowest=slowest, failed=failed)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_slowest_come_first(root: Path) -> None:
    text = shown(root, slowest=2)
    assert text.index("aaaa1") < text.index("bbbb3")
    assert "aaaa2" not in text
    assert "ReadTimeout" in text


def test_a_stage_that_comes_again_after_short_ones_has_one_line(root: Path) -> None:
    text = shown(root, slowest=1)
    assert "full, server, 23 times" in text
    assert "966 ms" in text, "23 times 42 ms, without what is between them"


def test_those_that_failed_are_shown_alone_with_what_was_said(root: Path) -> None:
    text = shown(root, failed=True)
    assert "bbbb3  GET /  ReadTimeout" in text
    assert "nothing came" in text
    assert "aaaa" not in text


def test_where_none_failed_it_says_so(root: Path) -> None:
    path = Layout(root).events("http")
    pl.read_parquet(path).head(2).write_parquet(path)
    with pytest.raises(RequestError, match=r"no request of .* failed"):
        shown(root, failed=True)


def test_one_request_has_every_stage(root: Path) -> None:
    text = shown(root, request="aaaa1")
    assert text.count("full, server") == text.count("handler, server") == 23


@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_longer_than_the_terminal(root: Path, width: int) -> None:
    assert max(map(len, shown(root, width=width).splitlines())) <= width


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("cccc", 'no request has an id that begins with "cccc"'),
        (
            "aaaa",
            '2 requests have an id that begins with "aaaa": aaaa1 (client1), aaaa2 (client1)',
        ),
        ("1", '2 requests have the number "1": aaaa2 (client1), bbbb3 (client2)'),
        ("7", 'no request has the number "7"; the requests have the numbers 0 to 1, ids are in'),
    ],
)
def test_no_request_or_more_than_one_is_refused(root: Path, request_: str, expected: str) -> None:
    with pytest.raises(RequestError, match=re.escape(expected)):
        shown(root, request=request_)


def test_of_many_that_are_meant_the_first_are_listed(root: Path) -> None:
    path = Layout(root).events("http")
    one = pl.read_parquet(path).head(1)
    ids = [f"cccc{n:x}" for n in range(12)]
    many = [one.with_columns(request_id=pl.lit(name), number=pl.lit(9, pl.Int64)) for name in ids]
    pl.concat(many).write_parquet(path)
    listed = "cccc0 (client1), cccc1 (client1)"
    with pytest.raises(RequestError) as caught:
        shown(root, request="9")
    assert str(caught.value).startswith(f'12 requests have the number "9": {listed}, ')
    assert str(caught.value).endswith(" and 7 more")
    assert str(caught.value).count("client1") == 5


@pytest.mark.parametrize(
    ("asked", "shown_id"), [("1234", "bbbb3"), ("5678", "56789")], ids=["number", "id first"]
)
def test_a_number_of_many_digits_is_taken_where_no_id_begins_so(
    root: Path, asked: str, shown_id: str
) -> None:
    for name in ("http", "journeys"):
        path = Layout(root).events(name)
        table = pl.read_parquet(path)
        renamed = table.with_columns(pl.col("request_id").replace("aaaa2", "56789"))
        if name == "http":
            numbers = pl.Series("number", [5678, 0, 1234], pl.Int64)
            renamed = renamed.with_columns(numbers)
        renamed.write_parquet(path)
    assert shown_id in shown(root, request=asked)


def test_a_number_that_is_too_long_for_one_is_refused_like_any_other(root: Path) -> None:
    with pytest.raises(RequestError, match="the requests have the numbers 0 to 1"):
        shown(root, request="9" * 32)


def test_both_options_are_refused(root: Path) -> None:
    with pytest.raises(RequestError, match="exclude each other"):
        shown(root, request="aaaa1", slowest=2)
    with pytest.raises(RequestError, match="exclude each other"):
        shown(root, request="aaaa1", failed=True)


def test_without_journeys_it_says_how_to_get_them(root: Path) -> None:
    Layout(root).events("journeys").unlink()
    with pytest.raises(RecordingError, match="run `testbed analyse"):
        shown(root)


def test_a_damaged_table_is_said(root: Path) -> None:
    Layout(root).events("journeys").write_bytes(b"23")
    with pytest.raises(RecordingError, match="is damaged"):
        shown(root)

"""Rule: a layer that is made to see 23 of something sees 23, in its own words and nowhere else.

Twenty-three, because no buffer, batch or default has that size. The layers below have theirs where
their cause is: links in tests/unit/test_analyse_impaired, sockets and TCP's window in
test_23_waits, system calls in tests/unit/test_observed_socket, NIC, queues, IP and TCP in
test_tracepoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from testbed import Load, Recording, Scenario, run
from testbed.recording.layout import Layout

MANY: Final = 23
OTHERS: Final = 17
HOLD_NS: Final = 60_000_000

EVERY_OTHER: Final = f"""\
import time
import trio

count = 0


async def app(scope, receive, send):
    global count
    if scope["type"] != "http":
        return
    count += 1
    if scope["path"] == "/raise" and count <= {MANY}:
        raise ValueError("on purpose")
    if scope["path"] == "/block" and count <= {MANY}:
        time.sleep({HOLD_NS / 1e9})
    if scope["path"] == "/late" and count <= {MANY}:
        await trio.sleep(3600)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"hello"}})
"""


def observe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, **load: Any) -> Recording:
    """Runs an application that misbehaves in its first 23 requests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "misbehaves.py").write_text(EVERY_OTHER)
    scenario = Scenario(
        topology="single_bottleneck",
        app="misbehaves:app",
        load=Load(users=1, requests=MANY + OTHERS, path=path, **load),
        seed=7,
    )
    return run(scenario, tmp_path / "run")


def table(recording: Recording, name: str) -> pl.DataFrame:
    return pl.read_parquet(Layout(recording.root).events(name))


def test_event_loop_23_long_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = observe(tmp_path, monkeypatch, "/block")
    steps = table(recording, "event_loop").filter(
        (pl.col("process") == "server") & (pl.col("kind") == "step")
    )
    longer = steps.filter(pl.col("ended_ns") - pl.col("started_ns") >= HOLD_NS)
    assert longer.height == MANY
    assert recording.summary.http.completed == MANY + OTHERS


def test_asgi_23_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = observe(tmp_path, monkeypatch, "/raise")
    calls = table(recording, "asgi")
    assert calls.filter(pl.col("exception") == "ValueError: on purpose").height == MANY
    layer = recording.summary.layers["asgi"]
    assert layer.loss is not None
    assert layer.loss["failed_requests"] == MANY
    assert recording.summary.http.failures == {"HTTP 500": MANY}


def test_http_23_timeouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = observe(tmp_path, monkeypatch, "/late", timeout="100ms")
    assert recording.summary.http.failures == {"ReadTimeout": MANY}
    assert recording.summary.http.completed == OTHERS
    layer = recording.summary.layers["http"]
    assert layer.loss is not None
    assert layer.loss["failed_requests"] == MANY
    # Each left its connection behind: the application was told.
    assert table(recording, "asgi").filter(pl.col("status").is_null()).height == MANY

"""The applications in apps/ do what their docstrings say, on trio and on asyncio."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio
import trio.testing

from testbed import bundled
from testbed.probes.asgi import Application, Message
from testbed.server.application import load_application

PLAIN = ("blocking", "broken", "cpu", "hello", "slow_reader", "sse", "stream", "upload")
"""Applications that speak HTTP and nothing else."""
BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads an application by its short name; nothing of it stays on sys.path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda name: load_application(name, tmp_path).asgi


async def exchange(
    app: Application,
    query: str = "",
    body: Sequence[bytes] = (b"",),
    path: str = "/",
    into: list[Message] | None = None,
) -> list[Message]:
    """All messages with which the application answers a request."""
    pieces = list(body)
    answer: list[Message] = [] if into is None else into

    async def receive() -> Message:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        answer.append(dict(message))

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [],
    }
    await app(scope, receive, send)
    return answer


def header(answer: list[Message], name: bytes) -> bytes:
    headers: list[tuple[bytes, bytes]] = answer[0]["headers"]
    return dict(headers)[name]


def bodies(answer: list[Message]) -> list[bytes]:
    return [message["body"] for message in answer[1:]]


def test_bundled() -> None:
    assert set(bundled.names("apps")) == {*PLAIN, "fastapi_items", "websocket"}


def test_apps_import_nothing_from_testbed() -> None:
    for path in bundled.folder("apps").glob("*.py"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if "testbed" in line and "import" in line] == []


@BACKENDS
@pytest.mark.parametrize("name", [*PLAIN, "websocket"])
def test_lifespan(load: Any, name: str, backend: str) -> None:
    asked = ["lifespan.startup", "lifespan.shutdown"]
    answer = []

    async def receive() -> Message:
        return {"type": asked.pop(0)}

    async def send(message: Message) -> None:
        answer.append(message["type"])

    anyio.run(load(name), {"type": "lifespan"}, receive, send, backend=backend)
    assert answer == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("name", PLAIN)
def test_other_scopes_are_refused(load: Any, name: str) -> None:
    async def unused(*_: Message) -> Any:
        raise AssertionError

    with pytest.raises(NotImplementedError, match="websocket"):
        trio.run(load(name), {"type": "websocket"}, unused, unused)


def test_hello_through_httpx(load: Any) -> None:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(load("hello"))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/")

    response = trio.run(main)
    assert response.status_code == 200
    assert response.text == "Hello, world!\n"
    assert response.headers["content-length"] == "14"


@pytest.mark.parametrize(
    ("query", "sizes"),
    [
        pytest.param("size=64kB&chunk=16kB", [16_000] * 4, id="docstring"),
        pytest.param("size=40000&chunk=16kB", [16_000, 16_000, 8_000], id="a rest"),
        pytest.param("size=2KiB&chunk=1MiB", [2048], id="less than a chunk"),
        pytest.param("size=3&chunk=1B", [1, 1, 1], id="single bytes"),
        pytest.param("size=0", [0], id="nothing"),
        pytest.param("", [16_000] * 62 + [8_000], id="defaults"),
    ],
)
def test_stream_sizes(load: Any, query: str, sizes: list[int]) -> None:
    answer = trio.run(exchange, load("stream"), query)
    assert answer[0]["status"] == 200
    assert [len(body) for body in bodies(answer)] == sizes
    assert header(answer, b"content-length") == str(sum(sizes)).encode()
    assert [message.get("more_body", False) for message in answer[1:]] == [
        *[True] * (len(sizes) - 1),
        False,
    ]


SIZE = "expected bytes or a unit of B, kB, MB, GB, KiB, MiB, GiB"
HOLD = "expected a number and one of us, ms, s"
RATE = "expected a number above 0 and one of bit, kbit, mbit, gbit"


@pytest.mark.parametrize(
    ("name", "query", "text"),
    [
        ("stream", "size=64kb", f'size: {SIZE} (got "64kb")'),
        ("stream", "size=-1", f'size: {SIZE} (got "-1")'),
        ("stream", "size=", f'size: {SIZE} (got "")'),
        ("stream", "chunk=0", "chunk: expected 1 to 67108864 bytes (got 0)"),
        ("stream", "sizes=1", 'unknown parameter "sizes": expected size, chunk, rate or pause'),
        ("stream", "rate=1mbps", f'rate: {RATE} (got "1mbps")'),
        ("stream", "rate=1mbit&pause=1ms", "expected rate or pause, not both"),
        ("slow_reader", "wait=1", 'wait: expected a number and one of us, ms, s (got "1")'),
        ("slow_reader", "rate=0bit", "rate: expected more than 0"),
        ("slow_reader", "pause=1s", 'unknown parameter "pause": expected wait or rate'),
        ("sse", "events=0", "events: expected at least 1 (got 0)"),
        ("sse", "events=-1", 'events: expected a whole number (got "-1")'),
        ("sse", "interval=1", 'interval: expected a number and one of us, ms, s (got "1")'),
        ("sse", "size=2000000", "size: expected at most 1048576 (got 2000000)"),
        ("sse", "count=1", 'unknown parameter "count": expected events, interval or size'),
        ("broken", "every=0", 'every: expected a whole number above 0 (got "0")'),
        ("broken", "how=hang", 'unknown parameter "how": expected every'),
        ("upload", "rate=1mbps", f'rate: {RATE} (got "1mbps")'),
        ("upload", "rate=0mbit", f'rate: {RATE} (got "0mbit")'),
        ("upload", "pause=10", 'pause: expected a number above 0 and one of us, ms, s (got "10")'),
        ("upload", "rate=1mbit&pause=1ms", "expected rate or pause, not both"),
        ("blocking", "hold=50", f'hold: {HOLD} (got "50")'),
        ("blocking", "hold=-1s", f'hold: {HOLD} (got "-1s")'),
        ("blocking", "hold=2min", f'hold: {HOLD} (got "2min")'),
        ("blocking", "sleep=1s", 'unknown parameter "sleep": expected hold'),
        ("cpu", "hold=61s", "hold: expected at most 60s (got 61s)"),
        ("cpu", "hold=", f'hold: {HOLD} (got "")'),
        ("upload", "speed=1", 'unknown parameter "speed": expected rate or pause'),
    ],
)
def test_bad_query(load: Any, name: str, query: str, text: str) -> None:
    answer = trio.run(exchange, load(name), query)
    assert answer[0]["status"] == 400
    assert bodies(answer) == [f"{text}\n".encode()]
    assert header(answer, b"content-length") == str(len(text) + 1).encode()


@BACKENDS
@pytest.mark.parametrize("query", ["", "rate=1gbit", "pause=1us"])
def test_upload_counts_bytes(load: Any, query: str, backend: str) -> None:
    body = [b"x" * 1000] * 23 + [b""]
    answer = anyio.run(exchange, load("upload"), query, body, backend=backend)
    assert answer[0]["status"] == 200
    assert bodies(answer) == [b"23000\n"]


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        pytest.param("rate=1mbit", 0.512, id="rate: 64 kB at 1 Mbit/s"),
        pytest.param("pause=10ms", 0.04, id="pause: four pieces"),
        pytest.param("pause=1.5s", 6.0, id="fraction"),
        pytest.param("", 0.0, id="at full speed"),
    ],
)
def test_upload_paces(load: Any, query: str, seconds: float) -> None:
    async def main() -> float:
        began = trio.current_time()
        await exchange(load("upload"), query, [b"x" * 16_000] * 4)
        return trio.current_time() - began

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) == pytest.approx(seconds)


def test_upload_ends_when_the_client_leaves(load: Any) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError

    trio.run(load("upload"), {"type": "http", "query_string": b""}, receive, send)


@BACKENDS
@pytest.mark.parametrize(
    ("name", "text"), [("blocking", b"slept 0.03 s\n"), ("cpu", b" rounds in 0.03 s\n")]
)
def test_the_loop_is_held_for_the_time_that_was_asked_for(
    load: Any, name: str, text: bytes, backend: str
) -> None:
    steps = []

    async def main() -> None:
        async def other() -> None:
            while True:
                steps.append(time.monotonic())
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await anyio.sleep(0.005)
            answer = await exchange(app, "hold=30ms")
            assert answer[0]["status"] == 200
            assert bodies(answer)[0].endswith(text)
            await anyio.sleep(0.005)
            group.cancel_scope.cancel()

    app = load(name)
    anyio.run(main, backend=backend)
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    # Nobody else had a turn meanwhile.
    assert max(gaps) >= 0.03


@pytest.mark.parametrize(("name", "used_s"), [("blocking", 0.0), ("cpu", 0.1)])
def test_only_one_of_them_takes_the_processor(load: Any, name: str, used_s: float) -> None:
    app = load(name)
    before = time.thread_time()
    trio.run(exchange, app, "hold=100ms")
    used = time.thread_time() - before
    # Starting and ending a loop takes some milliseconds of the processor.
    assert used_s <= used < used_s + 0.05

"""The applications with a pace, and those that speak more than plain HTTP or fail on purpose."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Request,
    TextMessage,
)

from tests.unit.processes import DEADLINE_S, server, unready_server
from tests.unit.test_apps import BACKENDS, bodies, exchange, load

__all__ = ["load"]
ASGI_SERVERS = pytest.mark.parametrize("model", ["hypercorn", "hypercorn-asyncio", "uvicorn"])


def seconds_of(app: Any, query: str, body: list[bytes]) -> tuple[float, list[Any]]:
    async def main() -> tuple[float, list[Any]]:
        began = trio.current_time()
        answer = await exchange(app, query, body)
        return trio.current_time() - began, answer

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        pytest.param("size=64kB&chunk=16kB&pause=50ms", 0.15, id="docstring"),
        pytest.param(
            "size=100kB&chunk=10kB&rate=1mbit", 0.72, id="rate: nine chunks before the last"
        ),
        pytest.param("size=64kB&chunk=16kB", 0.0, id="at full speed"),
    ],
)
def test_stream_paces(load: Any, query: str, seconds: float) -> None:
    took, answer = seconds_of(load("stream"), query, [b""])
    assert took == pytest.approx(seconds)
    assert answer[0]["status"] == 200


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        pytest.param("wait=2s&rate=10mbit", 2.8, id="docstring"),
        pytest.param("wait=0s&rate=8mbit", 1.0, id="no wait"),
        pytest.param("", 81.0, id="defaults"),
    ],
)
def test_slow_reader_paces(load: Any, query: str, seconds: float) -> None:
    took, answer = seconds_of(load("slow_reader"), query, [b"x" * 100_000] * 10)
    assert took == pytest.approx(seconds)
    assert bodies(answer) == [b"1000000\n"]


def test_sse_sends_numbered_events_at_their_times(load: Any) -> None:
    took, answer = seconds_of(load("sse"), "events=3&interval=2s&size=4", [b""])
    assert took == pytest.approx(6.0)
    assert dict(answer[0]["headers"])[b"content-type"] == b"text/event-stream"
    events = [b"id: %d\ndata: xxxx\n\n" % number for number in (1, 2, 3)]
    assert bodies(answer) == [*events, b""]
    assert [message.get("more_body", False) for message in answer[1:]] == [True] * 3 + [False]


def test_sse_ends_when_the_client_is_gone(load: Any) -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 3:
            raise OSError

    async def unused() -> Any:
        raise AssertionError

    scope = {"type": "http", "query_string": b"interval=1us"}
    trio.run(load("sse"), scope, unused, send)
    assert len(sent) == 3


@BACKENDS
def test_broken_fails_every_third_time_and_only_where_it_is_asked_to(
    load: Any, backend: str
) -> None:
    app = load("broken")
    failed = []
    for number in range(1, 10):
        answer = anyio.run(exchange, app, "", (b"",), "/", backend=backend)
        assert bodies(answer) == [b"well\n"]
        try:
            anyio.run(exchange, app, "every=3", (b"",), "/raise", backend=backend)
        except RuntimeError:
            failed.append(number)
    assert failed == [3, 6, 9]


@pytest.mark.parametrize(
    ("path", "messages"), [("/silent", 0), ("/short", 2), ("/late", 2), ("/hang", 0)]
)
def test_how_broken_breaks(load: Any, path: str, messages: int) -> None:
    said: list[Any] = []

    async def main() -> bool:
        with trio.move_on_after(3600) as limit:
            await exchange(load("broken"), "", (b"",), path, said)
        return limit.cancelled_caught

    clock = trio.testing.MockClock(autojump_threshold=0)
    if path == "/late":
        with pytest.raises(RuntimeError, match="in the middle"):
            trio.run(main, clock=clock)
    else:
        assert trio.run(main, clock=clock) == (path == "/hang")
    assert len(said) == messages
    if messages:
        assert dict(said[0]["headers"])[b"content-length"] == b"1000"
        assert said[1] == {"type": "http.response.body", "body": b"x" * 10, "more_body": True}


class Peer:
    """A websocket of a client, on a blocking socket."""

    def __init__(self, connection: socket.socket, target: str) -> None:
        self._connection = connection
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.send(Request(host="server", target=target))

    def send(self, event: Event) -> None:
        self._connection.sendall(self._protocol.send(event))

    def events(self) -> Iterator[Event]:
        while data := self._connection.recv(65536):
            self._protocol.receive_data(data)
            yield from self._protocol.events()


@contextmanager
def websocket(port: int, target: str) -> Iterator[tuple[Peer, Iterator[Event]]]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(DEADLINE_S)
        peer = Peer(connection, target)
        events = peer.events()
        assert isinstance(next(events), AcceptConnection)
        yield peer, events


@ASGI_SERVERS
def test_websocket_sends_everything_back(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "websocket", server=model) as child:
        with websocket(child.port, "/?messages=23") as (peer, events):
            for number in range(23):
                data: str | bytes = f"text {number}" if number % 2 else b"%d" % number
                message: Message[Any] = (
                    TextMessage(data) if isinstance(data, str) else BytesMessage(data)
                )
                peer.send(message)
                back = next(events)
                assert isinstance(back, TextMessage | BytesMessage)
                assert back.data == data
            closed = next(events)
            assert isinstance(closed, CloseConnection)
            assert closed.code == 1000
        with websocket(child.port, "/?delay=1") as (_, events):
            refused = next(events)
            assert isinstance(refused, CloseConnection)
            assert refused.code == 1008
            assert refused.reason == 'delay: expected a number and one of us, ms, s (got "1")'
        assert httpx.get(child.url, trust_env=False).status_code == 426
        child.end_stdin()
        assert child.exit_code() == 0, child.log()


@ASGI_SERVERS
def test_fastapi_items(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "fastapi_items", server=model) as child:
        with httpx.Client(base_url=child.url, trust_env=False) as client:
            listed = client.get("/items?limit=3")
            assert [item["id"] for item in listed.json()] == [1, 2, 3]
            assert re.fullmatch(r"\d+\.\d{6}", listed.headers["x-process-time"])
            assert client.get("/items/7").json() == {"id": 7, "name": "item 7", "price": 1.75}
            assert client.get("/items/101").status_code == 404
            assert client.get("/items?limit=0").status_code == 422
            made = client.post("/items", json={"name": "x", "price": 2})
            assert (made.status_code, made.json()["id"]) == (201, 101)
            assert client.post("/items", json={"name": "", "price": 0}).status_code == 422
        child.end_stdin()
        assert child.exit_code() == 0, child.log()
    assert [exchange.status for exchange in child.asgi()] == [200, 200, 404, 422, 201, 422]


def test_without_fastapi_it_says_how_to_get_it(tmp_path: Path) -> None:
    hidden = tmp_path / "fastapi.py"
    hidden.write_text("raise ModuleNotFoundError('No module', name='fastapi')\n")
    with unready_server(tmp_path, "fastapi_items") as child:
        assert child.exit_code() == 3
    assert child.log() == (
        'the application "fastapi_items" needs fastapi, which is not installed: '
        f"{sys.executable} -m pip install 'asgi-testbed[apps]', or name a virtual environment "
        "that has it with --app-environment DIR\n"
    )

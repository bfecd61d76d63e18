"""The ASGI probe is transparent, and sees each of 23 calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

import msgspec
import pytest
import trio
import trio.testing

from testbed.events.asgi import AsgiExchange
from testbed.probes.asgi import AsgiProbe, Message, Receive, Scope, Send, open_asgi_segment
from testbed.recording.segments import Segment, SegmentWriter

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Recording:
    """A segment that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.writer: SegmentWriter = open_asgi_segment(descriptor, process="server", node="h2")

    def exchanges(self) -> list[AsgiExchange]:
        """What was written so far."""
        self.writer.flush()
        segment = Segment(self.path)
        return [msgspec.json.decode(f.payload, type=AsgiExchange) for f in segment.frames()]


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path / "asgi.seg")
    yield made
    made.writer.close()


def scope(number: int = 0) -> Scope:
    parent = f"{number + 1:016x}"
    return {
        "type": "http",
        "method": "POST",
        "path": f"/{number}",
        "headers": [(b"traceparent", f"00-{TRACE}-{parent}-01".encode())],
        "client": ("10.0.0.1", 40_000 + number),
    }


async def receive() -> Message:
    return {"type": "http.request", "body": b"12345", "more_body": False}


async def send(message: Message) -> None:
    await trio.lowlevel.checkpoint()


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    await send({"type": "http.response.body"})


def test_sees_each_of_23_calls(recording: Recording) -> None:
    probe = AsgiProbe(answering, recording.writer)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(23):
                nursery.start_soon(probe, scope(number), receive, send)

    before_ns = monotonic_ns()
    trio.run(main)
    found = recording.exchanges()
    assert sorted(exchange.client_port or 0 for exchange in found) == list(range(40_000, 40_023))
    for exchange in found:
        assert exchange.request_id == TRACE
        assert exchange.method == "POST"
        assert exchange.path == f"/{(exchange.client_port or 0) - 40_000}"
        assert exchange.client_host == "10.0.0.1"
        assert exchange.status == 201
        assert exchange.exception is None
        assert not exchange.disconnected
        assert [(kind, size) for kind, _, _, size in exchange.calls] == [
            ("receive", 5),
            ("send", 0),
            ("send", 3),
            ("send", 0),
        ]
        times = [exchange.started_ns]
        for _, started_ns, ended_ns, _ in exchange.calls:
            times += [started_ns, ended_ns]
        times.append(exchange.ended_ns)
        assert times == sorted(times)
        assert before_ns <= times[0]
        assert times[-1] <= monotonic_ns()


def test_header_names_the_process(recording: Recording) -> None:
    header = Segment(recording.path).header
    assert (header.source, header.layout, header.process) == ("asgi", "frames", "server")
    assert header.nodes == ["h2"]


def test_messages_pass_unchanged(recording: Recording) -> None:
    given: Message = {"type": "http.request", "body": b"x", "more_body": True, "extra": object()}
    sent: Message = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
    seen: list[Message] = []

    async def give() -> Message:
        return given

    async def take(message: Message) -> None:
        seen.append(message)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() is given
        await send(sent)

    trio.run(AsgiProbe(application, recording.writer), scope(), give, take)
    assert len(seen) == 1
    assert seen[0] is sent
    assert sent == {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}


def test_times_of_a_call_enclose_its_waiting(recording: Recording) -> None:
    inner: list[int] = []

    async def slow_send(message: Message) -> None:
        inner.append(monotonic_ns())
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        inner.append(monotonic_ns())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    trio.run(AsgiProbe(application, recording.writer), scope(), receive, slow_send)
    [(_, started_ns, ended_ns, _)] = recording.exchanges()[0].calls
    assert started_ns <= inner[0] < inner[1] <= ended_ns


def test_exception_is_raised_unchanged_and_recorded(recording: Recording) -> None:
    fault = ZeroDivisionError("on purpose")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise fault

    with pytest.raises(ZeroDivisionError) as caught:
        trio.run(AsgiProbe(application, recording.writer), scope(), receive, send)
    assert caught.value is fault
    [exchange] = recording.exchanges()
    assert exchange.exception == "ZeroDivisionError: on purpose"
    assert exchange.status is None


def test_failing_send_is_recorded_with_no_bytes(recording: Recording) -> None:
    async def broken(message: Message) -> None:
        raise OSError("the client left")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    with pytest.raises(OSError, match="the client left"):
        trio.run(AsgiProbe(application, recording.writer), scope(), receive, broken)
    [exchange] = recording.exchanges()
    assert exchange.status is None
    assert [(kind, size) for kind, _, _, size in exchange.calls] == [("send", 0)]


def test_cancelled_call_is_recorded(recording: Recording) -> None:
    probe = AsgiProbe(answering, recording.writer)

    async def starve() -> Message:
        await trio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe, scope(), starve, send)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)
    [exchange] = recording.exchanges()
    assert exchange.exception == "Cancelled"
    assert [(kind, size) for kind, _, _, size in exchange.calls] == [("receive", 0)]


def test_disconnect_is_recorded(recording: Recording) -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    trio.run(AsgiProbe(application, recording.writer), scope(), leave, send)
    [exchange] = recording.exchanges()
    assert exchange.disconnected


def test_scope_without_client_or_trace(recording: Recording) -> None:
    bare = {**scope(), "headers": [], "client": None}
    trio.run(AsgiProbe(answering, recording.writer), bare, receive, send)
    [exchange] = recording.exchanges()
    assert (exchange.request_id, exchange.client_host, exchange.client_port) == (None, None, None)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_go_straight_through(recording: Recording, kind: str) -> None:
    seen: list[tuple[object, object, object]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    other: Scope = {"type": kind}
    trio.run(AsgiProbe(application, recording.writer), other, receive, send)
    assert len(seen) == 1
    assert seen[0] == (other, receive, send)
    assert recording.exchanges() == []

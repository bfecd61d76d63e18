"""SSE: server-sent events, one after the other, at a pace.

Query: ``events``, how many (10 when left out), ``interval`` from one to the next (100ms; us, ms,
s), and ``size``, the bytes of each one's data (16). Example: ``--app sse`` with the path
``/?events=50&interval=20ms`` sends 50 events in a second, each with its number as its id
(WHATWG HTML, 9.2).

Every event is one send(). An event that is due before the last one could be sent is sent at once:
behind a slow client they bunch up. It ends early when send() says that the client is gone.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LARGEST = 2**20


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request with the events that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            events, interval, size = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
            return
        await _events(send, events, interval, size)
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


async def _events(send: Send, events: int, interval: float, size: int) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    started = anyio.current_time()
    for number in range(1, events + 1):
        await anyio.sleep(max(0.0, started + number * interval - anyio.current_time()))
        event = b"id: %d\ndata: %s\n\n" % (number, b"x" * size)
        try:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        except OSError:  # ASGI HTTP spec, "Disconnected Client"
            return
    await send({"type": "http.response.body", "body": b""})


def _parse(query: bytes) -> tuple[int, float, int]:
    """Events, interval in seconds, size in bytes; ValueError says what is wrong."""
    numbers = {"events": 10, "size": 16}
    interval = 0.1
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name == "interval":
            match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
            if match is None or match[2] not in TIMES:
                units = ", ".join(TIMES)
                raise ValueError(f'interval: expected a number and one of {units} (got "{text}")')
            interval = float(match[1]) * TIMES[match[2]]
        elif name in numbers:
            if re.fullmatch(r"\d{1,9}", text, re.ASCII) is None:
                raise ValueError(f'{name}: expected a whole number (got "{text}")')
            numbers[name] = int(text)
        else:
            raise ValueError(f'unknown parameter "{name}": expected events, interval or size')
    if not numbers["events"]:
        raise ValueError("events: expected at least 1 (got 0)")
    if numbers["size"] > LARGEST:
        raise ValueError(f"size: expected at most {LARGEST} (got {numbers['size']})")
    return numbers["events"], interval, numbers["size"]


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    # anyio imports what it needs of the event loop at its first use; with many connections there
    # may be no descriptor left for that.
    await anyio.lowlevel.checkpoint()
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

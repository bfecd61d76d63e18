"""Slow reader: lets the request's body wait before it reads it, and then reads it slowly.

Query: ``wait``, how long nothing is read (1s when left out; us, ms, s), and ``rate``, how fast the
body is read on average after that (100kbit when left out; bit, kbit, mbit, gbit per second).
Example: ``--app slow_reader --method POST --body 1MB`` with the path ``/?wait=2s&rate=10mbit``
answers ``1000000`` after 2.8 s.

What is not read waits in the server (Hypercorn: up to 640 KiB), then in the socket's receive
buffer; when that is full TCP's window is closed, and the client's send() waits.
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

UNITS = {
    "wait": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
    "rate": {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9},
}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Reads every request's body late and at the pace that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            wait, rate = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
            return
        await anyio.sleep(wait)
        total = await _read(receive, rate)
        if total is not None:
            await _answer(send, 200, f"{total}\n".encode())
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


async def _read(receive: Receive, rate: float) -> int | None:
    """The number of bytes in the body, or None when the client left before its end."""
    total = 0
    started = anyio.current_time()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        total += len(message.get("body", b""))
        await anyio.sleep(max(0.0, started + total * 8 / rate - anyio.current_time()))
        if not message.get("more_body", False):
            return total


def _parse(query: bytes) -> tuple[float, float]:
    """Wait in seconds and rate in bit/s out of the query; ValueError says what is wrong."""
    found = {"wait": 1.0, "rate": 1e5}
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        units = UNITS.get(name)
        if units is None:
            raise ValueError(f'unknown parameter "{name}": expected wait or rate')
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
        if match is None or match[2] not in units:
            raise ValueError(
                f'{name}: expected a number and one of {", ".join(units)} (got "{text}")'
            )
        found[name] = float(match[1]) * units[match[2]]
    if found["rate"] == 0:
        raise ValueError("rate: expected more than 0")
    return found["wait"], found["rate"]


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

"""Upload: reads the request's body at a given pace and answers with the number of its bytes.

Query: ``rate``, how fast the body is read on average (bit, kbit, mbit, gbit per second), or
``pause``, how long to wait after each piece of it (us, ms, s); at full speed when both are left
out. Example: ``--app upload --method POST --body 64kB`` with the path ``/?rate=1mbit`` takes 0.512
s and answers ``64000``.

A piece is what one receive() gives: the server decides on its size and on how many it holds ready
(Hypercorn: up to 64 KiB and ten). What it has no room for stays in the socket's receive buffer, and
closes TCP's window when that is full.
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
    "rate": {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9},
    "pause": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Reads every request's body at the pace that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            rate, pause = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
            return
        total = await _read(receive, rate, pause)
        if total is not None:
            await _answer(send, 200, f"{total}\n".encode())
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


async def _read(receive: Receive, rate: float | None, pause: float | None) -> int | None:
    """The number of bytes in the body, or None when the client left before its end."""
    total = 0
    started = anyio.current_time()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body = message.get("body", b"")
        total += len(body)
        if body and pause is not None:
            await anyio.sleep(pause)
        if body and rate is not None:
            await anyio.sleep(max(0.0, started + total * 8 / rate - anyio.current_time()))
        if not message.get("more_body", False):
            return total


def _parse(query: bytes) -> tuple[float | None, float | None]:
    """Rate in bit/s and pause in seconds out of the query; ValueError says what is wrong."""
    found: dict[str, float] = {}
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        units = UNITS.get(name)
        if units is None:
            raise ValueError(f'unknown parameter "{name}": expected rate or pause')
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
        if match is None or match[2] not in units or float(match[1]) == 0:
            form = ", ".join(units)
            raise ValueError(f'{name}: expected a number above 0 and one of {form} (got "{text}")')
        found[name] = float(match[1]) * units[match[2]]
    if len(found) == 2:
        raise ValueError("expected rate or pause, not both")
    return found.get("rate"), found.get("pause")


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

"""Blocking: sleeps inside the event loop before it answers, as no asynchronous code may.

Query: ``hold``, how long (50ms when left out; us, ms, s). Example: ``--app blocking`` with the path
``/?hold=200ms``: for 0.2 s nobody is accepted, read or answered, whoever it is; the processor is
free meanwhile.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LONGEST = 60.0


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request after the time that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            hold = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
            return
        time.sleep(hold)  # noqa: ASYNC251 - the mistake that this application is about
        await _answer(send, 200, f"slept {hold:g} s\n".encode())
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


def _parse(query: bytes) -> float:
    """The time in seconds out of the query; ValueError says what is wrong with it."""
    hold = 0.05
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name != "hold":
            raise ValueError(f'unknown parameter "{name}": expected hold')
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
        if match is None or match[2] not in UNITS:
            raise ValueError(
                f'hold: expected a number and one of {", ".join(UNITS)} (got "{text}")'
            )
        hold = float(match[1]) * UNITS[match[2]]
    if hold > LONGEST:
        raise ValueError(f"hold: expected at most {LONGEST:g}s (got {hold:g}s)")
    return hold


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

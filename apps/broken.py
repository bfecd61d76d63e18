"""Broken: does what applications do when they fail: raises, hangs, ends early.

Path: what goes wrong.

- ``/raise``: an exception before the answer; servers answer 500.
- ``/late``: an exception in the middle of the answer.
- ``/hang``: no answer, for ever; the client's ``--timeout`` ends it.
- ``/silent``: returns without an answer.
- ``/short``: says Content-Length 1000, sends 10 bytes, and returns.

Any other path is answered with ``well``. Query: ``every``, which requests to such a path fail:
every n-th (1 when left out), counted in each process. Example: ``--app broken`` with the path
``/late?every=10``: one answer in ten breaks off.
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

Failure = Callable[[Send], Awaitable[None]]
BODY = b"well\n"

_asked = 0


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers, or fails in the way that the path asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            every = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
            return
        failure = FAILURES.get(scope["path"])
        if failure is not None and _count() % every == 0:
            await failure(send)
        else:
            await _answer(send, 200, BODY)
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


def _count() -> int:
    """The number of this request among those that may fail, from 1."""
    global _asked
    _asked += 1
    return _asked


async def _raise(send: Send) -> None:
    raise RuntimeError("broken on purpose, before the answer")


async def _late(send: Send) -> None:
    await _begin(send)
    raise RuntimeError("broken on purpose, in the middle of the answer")


async def _hang(send: Send) -> None:
    await anyio.sleep_forever()


async def _silent(send: Send) -> None:
    """Returns."""


async def _short(send: Send) -> None:
    await _begin(send)


async def _begin(send: Send) -> None:
    """The head of an answer of 1000 bytes, and its first ten."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * 10, "more_body": True})


FAILURES: dict[str, Failure] = {
    "/raise": _raise,
    "/late": _late,
    "/hang": _hang,
    "/silent": _silent,
    "/short": _short,
}


def _parse(query: bytes) -> int:
    """Every how many; ValueError says what is wrong."""
    every = 1
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name != "every":
            raise ValueError(f'unknown parameter "{name}": expected every')
        if re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) is None:
            raise ValueError(f'every: expected a whole number above 0 (got "{text}")')
        every = int(text)
    return every


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

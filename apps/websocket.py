"""Websocket: sends every message back, text as text and bytes as bytes.

Query: ``delay``, how long each message is kept (0s when left out; us, ms, s), and ``messages``,
after how many the server closes (never when left out). Example: ``ws://server:8000/?delay=10ms``.

A request that is no websocket is answered 426 Upgrade Required. The load process makes plain
requests only; a client of your own speaks websockets (docs/reference/applications.md).
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
NORMAL = 1000
"""Close codes (RFC 6455, 7.4.1)."""
INVALID = 1008


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Echoes the messages of every websocket."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        headers = [(b"upgrade", b"websocket"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 426, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    elif scope["type"] == "websocket":
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        try:
            delay, messages = _parse(scope["query_string"])
        except ValueError as error:
            await send({"type": "websocket.close", "code": INVALID, "reason": str(error)[:120]})
            return
        await _echo(receive, send, delay, messages)
    else:
        raise NotImplementedError(f"this application does not speak {scope['type']}")


async def _echo(receive: Receive, send: Send, delay: float, messages: int | None) -> None:
    done = 0
    while messages is None or done < messages:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await anyio.sleep(delay)
        back = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **back})
        done += 1
    await send({"type": "websocket.close", "code": NORMAL})


def _parse(query: bytes) -> tuple[float, int | None]:
    """Delay in seconds and number of messages; ValueError says what is wrong."""
    delay, messages = 0.0, None
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name == "delay":
            match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
            if match is None or match[2] not in TIMES:
                units = ", ".join(TIMES)
                raise ValueError(f'delay: expected a number and one of {units} (got "{text}")')
            delay = float(match[1]) * TIMES[match[2]]
        elif name == "messages":
            if re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) is None:
                raise ValueError(f'messages: expected a whole number above 0 (got "{text}")')
            messages = int(text)
        else:
            raise ValueError(f'unknown parameter "{name}": expected delay or messages')
    return delay, messages


async def _lifespan(receive: Receive, send: Send) -> None:
    # anyio imports what it needs of the event loop at its first use; with many connections there
    # may be no descriptor left for that.
    await anyio.lowlevel.checkpoint()
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

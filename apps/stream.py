"""Stream: a body of a given size, sent in chunks of a given size.

Query: ``size`` of the body (1MB when left out) and ``chunk`` per send() (16kB), in bytes or with a
unit: B, kB, MB, GB (powers of ten), KiB, MiB, GiB (powers of two); and for a pace ``rate``, how
fast it is sent on average (bit, kbit, mbit, gbit per second), or ``pause`` after each chunk but the
last (us, ms, s); at full speed when both are left out. Example: ``--app stream`` with the path
``/?size=64kB&chunk=16kB&pause=50ms`` makes four sends of 16 000 bytes in 0.15 s.

The application waits in send() when the server pushes back; it does not look out for clients that
left.
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
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
PACES = {
    "rate": {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9},
    "pause": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
}
LARGEST_CHUNK = 64 * 2**20


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request with a body of the size that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            sizes, paces = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
        else:
            await _stream(send, *sizes, *paces)
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


async def _stream(
    send: Send, size: int, chunk: int, rate: float | None, pause: float | None
) -> None:
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(size).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    block = bytes(min(chunk, size))
    sent = 0
    started = anyio.current_time()
    while size > chunk:
        await send({"type": "http.response.body", "body": block, "more_body": True})
        size -= chunk
        sent += chunk
        if pause is not None:
            await anyio.sleep(pause)
        if rate is not None:
            await anyio.sleep(max(0.0, started + sent * 8 / rate - anyio.current_time()))
    await send({"type": "http.response.body", "body": block[:size]})


def _parse(query: bytes) -> tuple[tuple[int, int], tuple[float | None, float | None]]:
    """Size and chunk in bytes, rate in bit/s, pause in seconds; ValueError says what is wrong."""
    sizes = {"size": 10**6, "chunk": 16_000}
    paces: dict[str, float] = {}
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name in PACES:
            paces[name] = _pace(name, text)
            continue
        if name not in sizes:
            raise ValueError(f'unknown parameter "{name}": expected size, chunk, rate or pause')
        match = re.fullmatch(r"(\d{1,15})(\w*)", text, re.ASCII)
        if match is None or match[2] not in UNITS:
            units = ", ".join(unit for unit in UNITS if unit)
            raise ValueError(f'{name}: expected bytes or a unit of {units} (got "{text}")')
        sizes[name] = int(match[1]) * UNITS[match[2]]
    if not 1 <= sizes["chunk"] <= LARGEST_CHUNK:
        raise ValueError(f"chunk: expected 1 to {LARGEST_CHUNK} bytes (got {sizes['chunk']})")
    if len(paces) == 2:
        raise ValueError("expected rate or pause, not both")
    return (sizes["size"], sizes["chunk"]), (paces.get("rate"), paces.get("pause"))


def _pace(name: str, text: str) -> float:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([a-z]+)", text, re.ASCII)
    if match is None or match[2] not in PACES[name] or float(match[1]) == 0:
        units = ", ".join(PACES[name])
        raise ValueError(f'{name}: expected a number above 0 and one of {units} (got "{text}")')
    return float(match[1]) * PACES[name][match[2]]


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

"""Stream: a body of a given size, sent in chunks of a given size.

Query: ``size`` of the body (1MB when left out) and ``chunk`` per send() (16kB), in bytes or with a
unit: B, kB, MB, GB (powers of ten), KiB, MiB, GiB (powers of two). Example: ``--app stream`` with
the path ``/?size=64kB&chunk=16kB`` makes four sends of 16 000 bytes.

The application waits in send() when the server pushes back; it does not look out for clients that
left.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

UNITS = {
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
LARGEST_CHUNK = 64 * 2**20


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request with a body of the size that the query asks for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        try:
            size, chunk = _parse(scope["query_string"])
        except ValueError as error:
            await _answer(send, 400, f"{error}\n".encode())
        else:
            await _stream(send, size, chunk)
    else:
        raise NotImplementedError(f"this application speaks HTTP only (got {scope['type']})")


async def _stream(send: Send, size: int, chunk: int) -> None:
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(size).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    block = bytes(min(chunk, size))
    while size > chunk:
        await send({"type": "http.response.body", "body": block, "more_body": True})
        size -= chunk
    await send({"type": "http.response.body", "body": block[:size]})


def _parse(query: bytes) -> tuple[int, int]:
    """Size and chunk in bytes out of the query; ValueError says what is wrong with it."""
    sizes = {"size": 10**6, "chunk": 16_000}
    for name, text in parse_qsl(query.decode("ascii"), keep_blank_values=True):
        if name not in sizes:
            raise ValueError(f'unknown parameter "{name}": expected size or chunk')
        match = re.fullmatch(r"(\d{1,15})(\w*)", text, re.ASCII)
        if match is None or match[2] not in UNITS:
            units = ", ".join(unit for unit in UNITS if unit)
            raise ValueError(f'{name}: expected bytes or a unit of {units} (got "{text}")')
        sizes[name] = int(match[1]) * UNITS[match[2]]
    if not 1 <= sizes["chunk"] <= LARGEST_CHUNK:
        raise ValueError(f"chunk: expected 1 to {LARGEST_CHUNK} bytes (got {sizes['chunk']})")
    return sizes["size"], sizes["chunk"]


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

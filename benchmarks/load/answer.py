"""`python -m benchmarks.load.answer`: a server that costs next to nothing.

Rules:

- It answers each head of a request that has come with the same bytes, on a free port of 127.0.0.1,
  which it prints; it ends with its standard input.
- Requests have no bodies. It parses nothing: what is measured is the client.

Why not an ASGI server: Hypercorn takes longer for a request than httpx does, and the client that
waits for it would be measured as fast as any other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

_ANSWER: Final = (
    b"HTTP/1.1 200 \r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 14\r\n"
    b"date: Wed, 25 Nov 2026 00:00:00 GMT\r\nserver: answer\r\n\r\nHello, world!\n"
)
_END_OF_HEAD: Final = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers as many heads as have come to their ends."""
        assert self._transport is not None
        *whole, self._rest = (self._rest + data).split(_END_OF_HEAD)
        if whole:
            self._transport.write(_ANSWER * len(whole))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())

"""Connections that are read and written no faster than a rate.

Rules:

- A piece is what the rate gives in `_PIECE_NS`, one byte at least. Before each piece the stream
  waits until the pieces before it have had their time; a read asks the socket for no more than a
  piece. So what the reader does not take stays in the socket's receive buffer, where it fills
  TCP's window, and in no buffer of this process.
- The rate is never exceeded but for `_SLACK_NS`, which makes up for a timer that was late. An idle
  connection saves nothing up.
- Waiting is outside of httpx's timeouts: they say how long the other side may take.
- Bytes are those of HTTP, headers included.

Why in the network backend and not around ``response.aiter_raw()``: httpcore reads up to 64 KiB at
once (httpcore/_async/http11.py, READ_NUM_BYTES), half a second's worth at 1 Mbit/s.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from time import monotonic_ns
from typing import Any, Final

import httpcore
import trio

from testbed.units import NS_PER_MS, NS_PER_S

_PIECE_NS: Final = 20 * NS_PER_MS
_SLACK_NS: Final = 20 * NS_PER_MS


class Pace:
    """When the next piece may go (pure: time is an argument).

    Attributes:
        piece_bytes: the most to move at once.
        rate_bit_s: the rate.
    """

    def __init__(self, rate_bit_s: int) -> None:
        self.piece_bytes = max(1, rate_bit_s * _PIECE_NS // (8 * NS_PER_S))
        self.rate_bit_s = rate_bit_s
        self._due_ns = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long to wait before the next piece."""
        return max(0, self._due_ns - now_ns)

    def moved(self, size_bytes: int, now_ns: int) -> None:
        """Takes note of a piece."""
        begun_ns = max(self._due_ns, now_ns - _SLACK_NS)
        self._due_ns = begun_ns + size_bytes * 8 * NS_PER_S // self.rate_bit_s


def paced(
    backend: httpcore.AsyncNetworkBackend, read_bit_s: int | None, write_bit_s: int | None
) -> httpcore.AsyncNetworkBackend:
    """The backend with paced connections; itself where neither direction is limited."""
    if read_bit_s is None and write_bit_s is None:
        return backend
    return _PacedBackend(backend, read_bit_s, write_bit_s)


class _PacedBackend(httpcore.AsyncNetworkBackend):
    def __init__(
        self,
        inner: httpcore.AsyncNetworkBackend,
        read_bit_s: int | None,
        write_bit_s: int | None,
    ) -> None:
        self._inner = inner
        self._rates = (read_bit_s, write_bit_s)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Opens a TCP connection."""
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _PacedStream(stream, *self._rates)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Opens a Unix socket."""
        stream = await self._inner.connect_unix_socket(path, timeout, socket_options)
        return _PacedStream(stream, *self._rates)

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        await self._inner.sleep(seconds)


class _PacedStream(httpcore.AsyncNetworkStream):
    """A stream that waits before it reads or writes."""

    def __init__(
        self,
        stream: httpcore.AsyncNetworkStream,
        read_bit_s: int | None,
        write_bit_s: int | None,
    ) -> None:
        self._stream = stream
        self._reading = None if read_bit_s is None else Pace(read_bit_s)
        self._writing = None if write_bit_s is None else Pace(write_bit_s)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        pace = self._reading
        if pace is None:
            return await self._stream.read(max_bytes, timeout)
        await _wait(pace)
        data = await self._stream.read(min(max_bytes, pace.piece_bytes), timeout)
        pace.moved(len(data), monotonic_ns())
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        pace = self._writing
        if pace is None or not buffer:  # HTTP/2 writes nothing where another stream wrote for it
            await self._stream.write(buffer, timeout)
            return
        for start in range(0, len(buffer), pace.piece_bytes):
            piece = buffer[start : start + pace.piece_bytes]
            await _wait(pace)
            await self._stream.write(piece, timeout)
            pace.moved(len(piece), monotonic_ns())

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        # The handshake itself is not paced.
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        rates = (
            None if pace is None else pace.rate_bit_s for pace in (self._reading, self._writing)
        )
        return _PacedStream(stream, *rates)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


async def _wait(pace: Pace) -> None:
    wait_ns = pace.wait_ns(monotonic_ns())
    if wait_ns:
        await trio.sleep(wait_ns / NS_PER_S)

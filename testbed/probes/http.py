"""HTTP probe: what httpcore does for one request, and through which connection.

Rules:

- A `RequestRecorder` belongs to one request. It is the request's ``trace`` extension (httpcore
  docs, "Request extensions": ``"trace"``), and the current recorder of the task that makes the
  request.
- httpcore's trace names no connection, and the response names one only when there is a response.
  The connection of a request that failed on a reused connection is what matters most, so the
  network backend is wrapped: the first write of a request's task tells its recorder the ports.
  httpcore 1.0 writes requests and reads responses in the task of the request, in HTTP/1.1 and in
  HTTP/2 alike.

Why a context variable: the backend's streams are given bytes and no request.

Measured on the 2-core development machine: 5 us for a request with ten events, of the 600 us that
httpx takes for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any, Final

import httpcore
import httpx
import msgspec

from testbed.events.http import HttpExchange
from testbed.probes.observed_socket import ObservedSocket
from testbed.recording.segments import SegmentHeader, SegmentWriter

_CURRENT: Final[ContextVar[RequestRecorder | None]] = ContextVar("recorder", default=None)


class RequestRecorder:
    """What is seen of one request while it goes on.

    Attributes:
        trace: httpcore's events, with their times in ns.
        local_port: of the connection, None until the request was first written to one.
        remote_port: likewise.
        new_connection: a connection was opened, or tried to be, for this request.
        connection: its number, and the places of the request and of the end of its response in the
            connection's streams; None where its system calls are not observed.
    """

    __slots__ = (
        "_socket", "connection", "local_port", "new_connection", "remote_port",
        "request_end_bytes", "request_offset_bytes", "response_end_bytes", "trace",
    )  # fmt: skip

    def __init__(self) -> None:
        self.trace: list[tuple[str, int]] = []
        self.local_port: int | None = None
        self.remote_port: int | None = None
        self.new_connection = False
        self.connection: int | None = None
        self.request_offset_bytes: int | None = None
        self.request_end_bytes: int | None = None
        self.response_end_bytes: int | None = None
        self._socket: ObservedSocket | None = None

    def make_current(self) -> None:
        """Makes this the recorder of the calling task, until another one is."""
        _CURRENT.set(self)

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        """Takes one event of httpcore's trace."""
        self.trace.append((name, monotonic_ns()))
        if name == "connection.connect_tcp.started":
            self.new_connection = True
        elif self._socket is not None and name.endswith(".receive_response_body.complete"):
            self.response_end_bytes = self._socket.received_bytes

    def writes(self, socket: ObservedSocket) -> None:
        """Takes the connection of the request, before it is written to for the first time."""
        self._socket = socket
        self.connection = socket.number
        self.request_offset_bytes = self.request_end_bytes = socket.sent_bytes

    def wrote(self) -> None:
        """Takes the end of a write, whether it came to its end or not."""
        if self._socket is not None:
            self.request_end_bytes = self._socket.sent_bytes


class ConnectionBackend(httpcore.AsyncNetworkBackend):
    """httpcore's trio backend; its streams tell the current recorder which connection they are."""

    def __init__(self) -> None:
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Opens a TCP connection."""
        stream = await self._trio.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            return _ConnectionStream(stream)
        except (
            OSError
        ) as error:  # reset before its address was read: the pool knows httpcore's errors only
            await stream.aclose()
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Opens a Unix socket, which has no ports to tell."""
        return await self._trio.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        await self._trio.sleep(seconds)


class _ConnectionStream(httpcore.AsyncNetworkStream):
    """A stream that knows its ports."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._local_port: int = stream.get_extra_info("client_addr")[1]
        self._remote_port: int = stream.get_extra_info("server_addr")[1]

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        recorder = _CURRENT.get()
        if recorder is not None and recorder.local_port is None:
            recorder.local_port = self._local_port
            recorder.remote_port = self._remote_port
            socket = self._stream.get_extra_info("socket")
            if isinstance(socket, ObservedSocket):
                recorder.writes(socket)
        try:
            await self._stream.write(buffer, timeout)
        finally:
            if recorder is not None:
                recorder.wrote()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _ConnectionStream(stream)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class ProbedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool with the `ConnectionBackend`; no retries, no proxies.

    `httpx.AsyncHTTPTransport` has no argument for httpcore's network backend, so its pool (a
    private attribute, the same in every release since 0.14) is replaced before it is used; a test
    counts on the ports that come of it.

    Args:
        max_connections: of the pool.
        backend: a `ConnectionBackend`, or one around it; None: a new one.
        keep_connections: whether a connection is used for several requests.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        backend: httpcore.AsyncNetworkBackend | None = None,
        keep_connections: bool = True,
    ) -> None:
        most_kept = max_connections if keep_connections else 0
        limits = httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=most_kept,
            keepalive_expiry=None,
        )
        # Plain HTTP only: without verification no certificates are read (20 ms).
        super().__init__(verify=False, trust_env=False, limits=limits, retries=0)
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=max_connections,
            max_keepalive_connections=most_kept,
            keepalive_expiry=None,
            retries=0,
            network_backend=backend or ConnectionBackend(),
        )


class HttpSegment:
    """Writes exchanges to a segment."""

    def __init__(self, descriptor: int, *, process: str, node: str) -> None:
        header = SegmentHeader(
            layout="frames", source="http", process=process, kinds=["exchange"], nodes=[node]
        )
        self.writer = SegmentWriter(descriptor, header)
        self._encode = msgspec.json.Encoder().encode

    def write(self, exchange: HttpExchange) -> None:
        """Adds one exchange.

        Raises:
            OSError: the segment cannot be written.
        """
        self.writer.frame(exchange.intended_ns, exchange.ended_ns, self._encode(exchange))

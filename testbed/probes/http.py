"""HTTP probe: what httpcore does for one request, and through which connection.

Rules:

- A `RequestRecorder` belongs to one request. It is the request's ``trace`` extension (httpcore
  docs, "Request extensions": ``"trace"``), and the current recorder of the task that makes the
  request.
- httpcore's trace names no connection, and the response names one only when there is a response.
  The connection of a request that failed on a reused connection is what matters most, so the
  network backend is wrapped: the first write of a request's task tells its recorder the ports, and
  an attempt to connect that fails, the socket.
- Places are those of TCP's payload. In HTTP/1.1 a request's bytes are what was written in its task.
  In HTTP/2 the streams of a connection write and read for one another, so that their frames are
  looked at as they pass (`testbed.probes.http2_frames`).
- With TLS a place is that of a record (RFC 8446, 5.1): a message begins no earlier than the record
  of its first byte and ends with the record of its last one.

Why a context variable: the backend's streams are given bytes and no request.

Measured on the 2-core development machine: 5 us for a request with ten events, of the 600 us that
httpx takes for it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any, Final

import httpcore
import httpx
import msgspec
import trio

from testbed.events.http import HttpExchange
from testbed.probes.http2_frames import CLIENT_PREFACE_BYTES, FrameWatch
from testbed.probes.http_library import Library
from testbed.probes.http_pool import Pool, pool_of
from testbed.probes.observed_socket import ObservedSocket
from testbed.probes.socket_attempts import TRIED
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.scenario.model import HttpVersion

_GOAWAY: Final = bytes.fromhex("000008 07 00 00000000 00000000 00000000")
"""No error, and no stream of the server's was accepted (RFC 9113, 6.8)."""
_GOAWAY_S: Final = 0.1
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
        "_places", "_sent", "_stream", "connection", "local_port", "new_connection", "remote_port",
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
        self._places: Places | None = None
        self._stream: int | None = None
        self._sent = False

    def make_current(self) -> None:
        """Makes this the recorder of the calling task, until another one is."""
        _CURRENT.set(self)

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        """Takes one event of httpcore's trace."""
        self.trace.append((name, monotonic_ns()))
        if name == "connection.connect_tcp.started":
            self.new_connection = True
        elif name == "http2.send_request_headers.started":
            self._stream = info["stream_id"]
        elif name.endswith(".send_request_body.complete"):
            self._sent = True
            if self._places is not None:
                found = self._places.of_request(self._stream)
                self.request_offset_bytes, self.request_end_bytes = found or (
                    self.request_offset_bytes,
                    self.request_end_bytes,
                )
        elif name.endswith(".receive_response_body.complete") and self._places is not None:
            self.response_end_bytes = self._places.end_of_response(self._stream)

    def tried(self, number: int) -> None:
        """Takes the socket that was not connected: only its system calls and packets tell why.

        Of several addresses that were tried it is the last one's.
        """
        self.connection = number

    def uses(self, places: Places) -> None:
        """Takes the connection of the request, before anything of it was written."""
        self._places = places
        self.connection = places.socket.number

    def writes(self, places: Places) -> None:
        """Takes the connection of the request, before it is written to for the first time."""
        self.uses(places)
        self.request_offset_bytes = self.request_end_bytes = places.socket.sent_bytes

    def wrote(self) -> None:
        """Takes the end of a write, whether it came to its end or not."""
        if self._places is not None and not self._sent:
            self.request_end_bytes = self._places.socket.sent_bytes


class Places:
    """Where messages begin and end in the streams of one connection.

    Args:
        socket: of the connection.
        unread: encrypted bytes that the socket gave and TLS has not looked at yet; None: no TLS.
        http2: HTTP/2 is spoken.
    """

    def __init__(self, socket: ObservedSocket, unread: ssl.MemoryBIO | None, http2: bool) -> None:
        self.socket = socket
        self._unread = unread
        self._sent = FrameWatch(CLIENT_PREFACE_BYTES) if http2 else None
        self._received = FrameWatch() if http2 else None
        self._encrypted = False
        self._begins: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._answered: dict[int, int] = {}

    @classmethod
    def of(cls, stream: httpcore.AsyncNetworkStream, http2: bool) -> Places | None:
        """Of httpcore's stream; None where its socket is not observed."""
        socket = stream.get_extra_info("socket")
        if not isinstance(socket, ObservedSocket):
            return None
        # Private attributes of httpcore's and trio's streams: without them places are still right,
        # and later by what one call of recv() brought beyond. A test counts on them.
        unread = getattr(getattr(stream, "_stream", None), "_incoming", None)
        places = cls(socket, unread if isinstance(unread, ssl.MemoryBIO) else None, http2)
        places._encrypted = stream.get_extra_info("ssl_object") is not None
        return places

    @property
    def _read_bytes(self) -> int:
        """How far the connection was read by whom the bytes are for."""
        return self.socket.received_bytes - (0 if self._unread is None else self._unread.pending)

    def sent(self, data: bytes, from_bytes: int) -> None:
        """Takes what was written, and how much the connection had sent before."""
        if self._sent is None:
            return
        for mark in self._sent.feed(data):
            if mark.ends:
                self._ends[mark.stream] = self._place(mark.place, self.socket.sent_bytes)
            else:
                self._begins.setdefault(mark.stream, self._place(mark.place, from_bytes))

    def received(self, data: bytes) -> None:
        """Takes what was read."""
        if self._received is None:
            return
        for mark in self._received.feed(data):
            if mark.ends:
                self._answered[mark.stream] = self._place(mark.place, self._read_bytes)

    def _place(self, plain: int, encrypted: int) -> int:
        return encrypted if self._encrypted else plain

    def of_request(self, stream: int | None) -> tuple[int, int] | None:
        """Begin and end of a request that was written; None: not told apart from others."""
        if self._sent is None or stream not in self._begins or stream not in self._ends:
            return None
        return self._begins.pop(stream), self._ends.pop(stream)

    def end_of_response(self, stream: int | None) -> int:
        """After the last byte of an answer that was read to its end."""
        if stream is None:
            return self._read_bytes
        return self._answered.pop(stream, self._read_bytes)


class ConnectionBackend(httpcore.AsyncNetworkBackend):
    """httpcore's trio backend; its streams tell the current recorder which connection they are.

    Args:
        made_by: whose connections they are.
        http2: HTTP/2 is spoken over its connections, and nothing else.
    """

    def __init__(self, made_by: Library, *, http2: bool = False) -> None:
        self._trio: httpcore.AsyncNetworkBackend = made_by.core.TrioBackend()
        self._core: Any = made_by.core
        self._http2 = http2

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Opens a TCP connection."""
        recorder, stream = _CURRENT.get(), None
        tried: list[int] = []
        token = TRIED.set(tried)
        try:
            stream = await self._trio.connect_tcp(
                host, port, timeout, local_address, socket_options
            )
        except self._core.ConnectError as error:
            # trio only says that all attempts failed; why is beneath.
            raise self._core.ConnectError(_with_reason(error)) from error
        finally:
            TRIED.reset(token)
            if stream is None and recorder is not None and tried:
                recorder.tried(tried[-1])
        try:
            return _ConnectionStream(stream, self._http2, self._core)
        except (
            OSError
        ) as error:  # reset before its address was read: the pool knows httpcore's errors only
            await stream.aclose()
            raise self._core.ConnectError(str(error)) from error

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
    """A stream that knows its ports, and where what passes through it lies."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, http2: bool, core: Any) -> None:
        self._stream = stream
        self._http2 = http2
        self._core = core
        self._local_port: int = stream.get_extra_info("client_addr")[1]
        self._remote_port: int = stream.get_extra_info("server_addr")[1]
        self._places = Places.of(stream, http2)
        self._written = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        data = await self._stream.read(max_bytes, timeout)
        if self._places is not None:
            self._places.received(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        recorder, places = _CURRENT.get(), self._places
        if recorder is not None and recorder.local_port is None:
            recorder.local_port = self._local_port
            recorder.remote_port = self._remote_port
            if places is not None:
                recorder.writes(places)
        self._written = True
        from_bytes = 0 if places is None else places.socket.sent_bytes
        try:
            await self._stream.write(buffer, timeout)
            if places is not None:
                places.sent(buffer, from_bytes)
        finally:
            if recorder is not None:
                recorder.wrote()

    async def aclose(self) -> None:
        if self._http2 and self._written:
            # RFC 9113, 6.8: before it closes. httpcore 1.0 makes this frame and never writes it;
            # without it Hypercorn 0.18 keeps its end open until its keep-alive timeout.
            known = (self._core.NetworkError, self._core.TimeoutException, trio.BusyResourceError)
            with suppress(*known):
                await self._stream.write(_GOAWAY, _GOAWAY_S)
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        recorder = _CURRENT.get()
        if recorder is not None and self._places is not None:
            recorder.uses(self._places)
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except self._core.ConnectError as error:
            # What trio and httpcore make of it says nothing; what OpenSSL said is beneath.
            raise self._core.ConnectError(_reason(error)) from error
        return _ConnectionStream(stream, self._http2, self._core)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _with_reason(error: BaseException) -> str:
    """What an exception says, and what the system said to the first attempt."""
    cause: BaseException = error
    while (below := cause.__cause__) is not None:
        cause = below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below
    if isinstance(cause, OSError) and cause.errno is not None:
        return f"{error}: {os.strerror(cause.errno)}"
    return str(error)


def _reason(error: BaseException) -> str:
    """The first words that an exception or one of its causes has."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return str(cause or "TLS handshake failed")


def probed_transport(
    made_by: Library,
    *,
    max_connections: int,
    backend: httpcore.AsyncNetworkBackend | None = None,
    keep_connections: bool = True,
    http: HttpVersion = "1.1",
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.AsyncHTTPTransport:
    """The library's own transport over a pool with a `ConnectionBackend`; no retries, no proxies.

    `httpx.AsyncHTTPTransport` has no argument for httpcore's network backend, so its pool (a
    private attribute, the same in every release since 0.14) is replaced before it is used; a test
    counts on the ports that come of it. httpcore2's pool is as cheap as ours is.

    Args:
        made_by: httpx or httpx2.
        max_connections: of the pool.
        backend: a `ConnectionBackend`, or one around it; None: a new one.
        keep_connections: whether a connection is used for several requests.
        http: the version that is spoken. For HTTP/2 that is ALPN's with TLS, and prior knowledge
            without: httpcore begins with it where HTTP/1.1 is off.
        ssl_context: verifies certificates; None: no https.
    """
    # This pool is replaced: without verification no certificates are read (20 ms).
    transport = made_by.http.AsyncHTTPTransport(verify=False, trust_env=False, retries=0)
    settings: dict[str, Any] = {
        "max_connections": max_connections,
        "keep": keep_connections,
        "http2": http == "2",
        "ssl_context": ssl_context,
        "keepalive_expiry": None,
        "retries": 0,
        "network_backend": backend or ConnectionBackend(made_by, http2=http == "2"),
    }
    if made_by.name == "httpx":
        transport._pool = Pool(**settings)
    else:
        transport._pool = pool_of(made_by.core, **settings)
    made: httpx.AsyncHTTPTransport = transport
    return made


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

"""One request: from its intended start to the last byte of its answer, or to its failure.

Rules:

- Every request that is begun is recorded, whatever ends it: an answer, an exception of httpx, the
  end of the load ("Cancelled"), or a fault of this program, which ends the process after that.
- The response's body is read as it comes over the wire (no decompression), counted, and not kept.
- Redirects are not followed and cookies are not sent: a request is one exchange.
- Requests go to httpx's transport itself. Its client would add cookies, redirects and
  authentication, which no request here has, and a tenth of the CPU time (benchmarks/load).
- Nothing comes from the environment: no proxy, no .netrc. Headers are fixed, so that a repeated run
  sends the same bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic_ns
from typing import Final

import httpx
import trio

from testbed.events.http import HttpExchange
from testbed.load.config import LoadConfig
from testbed.load.identity import identity
from testbed.load.progress import Progress
from testbed.probes.http import HttpSegment, RequestRecorder
from testbed.units import NS_PER_S

FAILED_STATUS: Final = 400
_EXPECTED: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
_PATTERN: Final = bytes(range(256)) * 256
_HEADERS: Final = (
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", "testbed"),
)


class _Body:
    """A request's body out of a repeated pattern.

    Attributes:
        sent_bytes: what the connection has taken so far.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.sent_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent_bytes < self.size_bytes:
            chunk = _PATTERN[: self.size_bytes - self.sent_bytes]
            yield chunk
            self.sent_bytes += len(chunk)


class _Exchange:
    """A request while it goes on."""

    def __init__(self, number: int, user: int, intended_ns: int) -> None:
        self.started_ns = monotonic_ns()
        self.number = number
        self.user = user
        self.intended_ns = intended_ns
        self.recorder = RequestRecorder()
        self.headers_ns: int | None = None
        self.status: int | None = None
        self.reason = ""
        self.http_version: str | None = None
        self.response_bytes = 0

    async def run(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
        self.recorder.make_current()
        response = await transport.handle_async_request(request)
        self.headers_ns = monotonic_ns()
        self.status = response.status_code
        # Servers may leave it out (RFC 9112, section 4); Hypercorn does.
        self.reason = response.reason_phrase or httpx.codes.get_reason_phrase(self.status)
        self.http_version = response.http_version
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            async for chunk in stream:
                self.response_bytes += len(chunk)
        finally:
            await stream.aclose()

    def completed_ns(self) -> int:
        """When the response's end was read, before the connection went back into the pool."""
        for name, at_ns in reversed(self.recorder.trace):
            if name.endswith(".receive_response_body.complete"):
                return at_ns
        return monotonic_ns()


class Requests:
    """Makes requests and records them."""

    def __init__(
        self,
        config: LoadConfig,
        transport: httpx.AsyncBaseTransport,
        segment: HttpSegment,
        progress: Progress,
    ) -> None:
        self._config = config
        self._transport = transport
        self._segment = segment
        self._progress = progress
        self._urls = [httpx.URL(base + config.load.path) for base in config.base_urls]
        timeout = httpx.Timeout(config.load.timeout_ns / NS_PER_S)
        self._timeouts = timeout.as_dict()

    async def make(self, number: int, user: int, intended_ns: int) -> None:
        """Makes one request and records it.

        Args:
            number: counts from 0 in the order of intended starts.
            user: who makes it, counts from 0; 0 in an open loop.
            intended_ns: when it should have started, CLOCK_MONOTONIC.
        """
        exchange = _Exchange(number, user, intended_ns)
        self._progress.started += 1
        load = self._config.load
        trace_id, headers = self._headers(number)
        body = _Body(load.body_bytes)
        request = httpx.Request(
            load.method,
            self._urls[number % len(self._urls)],
            headers=headers,
            content=body if load.body_bytes else None,
            extensions={"trace": exchange.recorder, "timeout": self._timeouts},
        )
        failure: str | None = None
        message = ""
        ended_ns: int | None = None
        try:
            await exchange.run(self._transport, request)
            ended_ns = exchange.completed_ns()
            if exchange.status is not None and exchange.status >= FAILED_STATUS:
                failure, message = f"HTTP {exchange.status}", exchange.reason
        except _EXPECTED as error:
            failure, message = type(error).__name__, str(error)
        except trio.Cancelled:
            failure, message = "Cancelled", "the load was stopped"
            raise
        except BaseException as error:
            failure, message = type(error).__name__, str(error)
            raise
        finally:
            if ended_ns is None:
                ended_ns = monotonic_ns()
            self._record(exchange, trace_id, body.sent_bytes, ended_ns, failure, message)

    def _headers(self, number: int) -> tuple[str, list[tuple[str, str]]]:
        ids = identity(seed=self._config.seed, process=self._config.name, number=number)
        headers = [*_HEADERS, ("traceparent", ids.traceparent)]
        if self._config.http == "1.1":
            # Said in so many words, so that both ends know which request is the last (RFC 9112,
            # 9.6). HTTP/2 has no such header (RFC 9113, 8.2.2).
            connection = "close" if self._config.load.new_connections else "keep-alive"
            headers.append(("connection", connection))
        if self._config.load.body_bytes:
            headers.append(("content-length", str(self._config.load.body_bytes)))
        return ids.trace_id, headers

    def _record(
        self,
        exchange: _Exchange,
        trace_id: str,
        request_bytes: int,
        ended_ns: int,
        failure: str | None,
        message: str,
    ) -> None:
        if failure is None:
            self._progress.completed += 1
        else:
            self._progress.failed += 1
        recorder = exchange.recorder
        self._segment.write(
            HttpExchange(
                request_id=trace_id,
                number=exchange.number,
                user=exchange.user,
                method=self._config.load.method,
                path=self._config.load.path,
                intended_ns=exchange.intended_ns,
                started_ns=exchange.started_ns,
                headers_ns=exchange.headers_ns,
                ended_ns=ended_ns,
                status=exchange.status,
                failure=failure,
                message=message,
                http_version=exchange.http_version,
                local_port=recorder.local_port,
                remote_port=recorder.remote_port,
                new_connection=recorder.new_connection,
                request_bytes=request_bytes,
                response_bytes=exchange.response_bytes,
                trace=recorder.trace,
                connection=recorder.connection,
                request_offset_bytes=recorder.request_offset_bytes,
                request_end_bytes=recorder.request_end_bytes,
                response_end_bytes=recorder.response_end_bytes,
            )
        )

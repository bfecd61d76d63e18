"""One request: from its intended start to the last byte of its answer, or to its failure.

Rules:

- Every request that is due is recorded, whatever becomes of it (`testbed.events.outcomes`); a fault
  of this program ends the process after that.
- Each attempt of a request is an exchange of its own. It is recorded when it is known whether
  another one follows: after the back-off.
- A limit on the whole request, and giving it up, count from its start and over all attempts,
  back-offs included; whichever comes first is the outcome. In a back-off there is nothing to give
  up: the last attempt's outcome stands.
- The response's body is read as it comes over the wire (no decompression), counted, and not kept.
- Redirects are not followed and cookies are not sent: an attempt is one exchange.
- Nothing comes from the environment: no proxy, no .netrc. Headers are fixed, so that a repeated run
  sends the same bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.client import responses
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import trio

from testbed.child import leaves
from testbed.events import outcomes
from testbed.events.http import HttpExchange
from testbed.load.config import LoadConfig
from testbed.load.draws import Draws, Wanted
from testbed.load.identity import identity
from testbed.load.progress import Progress
from testbed.load.retry import may_retry
from testbed.probes.http import HttpSegment, RequestRecorder
from testbed.probes.http_library import Library
from testbed.scenario.load import PHASES
from testbed.units import NS_PER_S

if TYPE_CHECKING:
    import httpx

_PATTERN: Final = bytes(range(256)) * 256
_MOST_URLS: Final = 1000
"""That are kept."""
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


class _Request:
    """A request over all its attempts.

    Attributes:
        scope: its limit in time; None: it has none.
        limit: what that limit is called, an outcome and a message.
    """

    def __init__(self, number: int, user: int, intended_ns: int, wanted: Wanted) -> None:
        self.number = number
        self.user = user
        self.intended_ns = intended_ns
        self.wanted = wanted
        self.scope: trio.CancelScope | None = None
        self.limit = ("", "")
        self.first_id: str | None = None


class _Exchange:
    """One attempt while it goes on."""

    def __init__(self, request: _Request, attempt: int, intended_ns: int) -> None:
        self.started_ns = monotonic_ns()
        self.request = request
        self.attempt = attempt
        self.intended_ns = intended_ns
        self.request_id = ""
        self.recorder = RequestRecorder()
        self.body = _Body(request.wanted.body_bytes)
        self.headers_ns: int | None = None
        self.ended_ns: int | None = None
        self.status: int | None = None
        self.failure: str | None = None
        self.message = ""
        self.http_version: str | None = None
        self.response_bytes = 0

    async def run(self, client: Any, request: Any) -> None:
        self.recorder.make_current()
        response = await client.send(request, stream=True, follow_redirects=False)
        self.headers_ns = monotonic_ns()
        self.status = response.status_code
        self.http_version = response.http_version
        try:
            async for chunk in response.aiter_raw():
                self.response_bytes += len(chunk)
        finally:
            await response.aclose()
        self.ended_ns = self._completed_ns()
        self.failure = outcomes.of_status(self.status)
        if self.failure is not None:
            # Servers may leave it out (RFC 9112, section 4); Hypercorn does.
            self.message = response.reason_phrase or responses.get(response.status_code, "")

    def _completed_ns(self) -> int:
        """When the response's end was read, before the connection went back into the pool."""
        for name, at_ns in reversed(self.recorder.trace):
            if name.endswith(".receive_response_body.complete"):
                return at_ns
        return monotonic_ns()

    def cancelled(self) -> None:
        """Takes why it was cancelled, from within."""
        scope = self.request.scope
        if scope is not None and scope.cancel_called:
            self.failure, self.message = self.request.limit
        else:
            self.failure, self.message = outcomes.CANCELLED, "the load was stopped"


class Requests:
    """Makes requests and records them."""

    def __init__(
        self,
        config: LoadConfig,
        made_by: Library,
        client: httpx.AsyncClient,
        segment: HttpSegment,
        progress: Progress,
        draws: Draws,
    ) -> None:
        self._config = config
        self._http = made_by.http
        self._exceptions = made_by.exceptions
        self._client = client
        self._segment = segment
        self._progress = progress
        self._draws = draws
        self._urls: dict[tuple[int, str], Any] = {}
        load = config.load
        self._timeouts = {phase: load.timeout_ns(phase) / NS_PER_S for phase in PHASES}
        self._retries = load.retries
        self._total_ns = load.total_timeout_ns
        self._total = (outcomes.TOTAL_TIMEOUT, f"took longer than {load.total_timeout}")
        self._connection = "close" if load.new_connections else "keep-alive"

    async def make(self, number: int, user: int, intended_ns: int) -> None:
        """Makes one request, with its retries, and records it.

        Args:
            number: counts from 0 in the order of intended starts.
            user: who makes it, counts from 0; 0 in an open loop.
            intended_ns: when it should have started, CLOCK_MONOTONIC.
        """
        self._progress.started += 1
        request = _Request(number, user, intended_ns, self._draws.wanted(number))
        cancel_ns = self._draws.cancel_ns(number)
        if cancel_ns is None and self._total_ns is None:
            await self._attempts(request)
            return
        limit_ns, request.limit = self._limit(cancel_ns)
        request.scope = trio.move_on_after(limit_ns / NS_PER_S)
        with request.scope:
            await self._attempts(request)

    def _limit(self, cancel_ns: int | None) -> tuple[int, tuple[str, str]]:
        """When a request ends at the latest, and how that is called."""
        if self._total_ns is None or (cancel_ns is not None and cancel_ns < self._total_ns):
            assert cancel_ns is not None
            given_up = f"given up after {cancel_ns / 1e6:.6g} ms"
            return cancel_ns, (outcomes.CANCELLED_BY_CLIENT, given_up)
        return self._total_ns, self._total

    def drop(self, number: int, intended_ns: int, under_way: int) -> None:
        """Records a request that is due and is not made."""
        self._progress.started += 1
        request = _Request(number, 0, intended_ns, self._draws.wanted(number))
        exchange = _Exchange(request, 0, intended_ns)
        ids = identity(seed=self._config.seed, process=self._config.node, number=number)
        exchange.request_id = ids.trace_id
        exchange.ended_ns = exchange.started_ns
        exchange.failure = outcomes.DROPPED
        exchange.message = f"{under_way} requests were under way"
        self._record(exchange, retried=False)

    async def _attempts(self, request: _Request) -> None:
        """All attempts; a back-off is part of the attempt before it."""
        intended_ns = request.intended_ns
        for attempt in range(self._retries + 1):
            exchange = _Exchange(request, attempt, intended_ns)
            again = False
            try:
                await self._attempt(exchange)
                failure = exchange.failure
                if failure is None or attempt == self._retries:
                    return
                if not may_retry(request.wanted.method, failure):
                    return
                backoff_ns = self._draws.backoff_ns(request.number, attempt + 1)
                await trio.sleep(backoff_ns / NS_PER_S)
                again = True
            finally:
                self._record(exchange, retried=again)
            intended_ns = monotonic_ns()

    async def _attempt(self, exchange: _Exchange) -> None:
        """One attempt; what becomes of it is in the exchange."""
        try:
            await exchange.run(self._client, self._made(exchange))
        except self._exceptions as error:
            exchange.failure, exchange.message = type(error).__name__, str(error)
        except BaseException as error:
            # Several where a connection was being opened: trio tries in tasks of their own.
            if all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
                exchange.cancelled()
            else:
                exchange.failure, exchange.message = type(error).__name__, str(error)
            raise
        finally:
            if exchange.ended_ns is None:
                exchange.ended_ns = monotonic_ns()

    def _made(self, exchange: _Exchange) -> Any:
        """The library's request of an attempt, with an id of its own."""
        request = exchange.request
        ids = identity(
            seed=self._config.seed,
            process=self._config.node,
            number=request.number,
            attempt=exchange.attempt,
        )
        exchange.request_id = ids.trace_id
        if request.first_id is None:
            request.first_id = ids.trace_id
        headers = [*_HEADERS, ("traceparent", ids.traceparent)]
        if self._config.http == "1.1":
            # Said in so many words, so that both ends know which request is the last (RFC 9112,
            # 9.6). HTTP/2 has no such header (RFC 9113, 8.2.2).
            headers.append(("connection", self._connection))
        wanted = request.wanted
        if wanted.body_bytes:
            headers.append(("content-length", str(wanted.body_bytes)))
        return self._http.Request(
            wanted.method,
            self._url(request.number, wanted.path),
            headers=headers,
            content=exchange.body if wanted.body_bytes else None,
            extensions={"trace": exchange.recorder, "timeout": self._timeouts},
        )

    def _url(self, number: int, path: str) -> Any:
        """The URL of a request; targets are taken in turn. Those without drawn sizes are kept."""
        bases = self._config.base_urls
        key = (number % len(bases), path)
        url = self._urls.get(key)
        if url is None:
            url = self._http.URL(bases[key[0]] + path)
            if len(self._urls) < _MOST_URLS:
                self._urls[key] = url
        return url

    def _record(self, exchange: _Exchange, *, retried: bool) -> None:
        if not retried:
            if exchange.failure is None:
                self._progress.completed += 1
            else:
                self._progress.failed += 1
        request, recorder = exchange.request, exchange.recorder
        wanted = request.wanted
        is_retry = exchange.attempt > 0
        assert exchange.ended_ns is not None
        self._segment.write(
            HttpExchange(
                request_id=exchange.request_id,
                number=request.number,
                user=request.user,
                method=wanted.method,
                path=wanted.path,
                intended_ns=exchange.intended_ns,
                started_ns=exchange.started_ns,
                headers_ns=exchange.headers_ns,
                ended_ns=exchange.ended_ns,
                status=exchange.status,
                failure=exchange.failure,
                message=exchange.message,
                http_version=exchange.http_version,
                local_port=recorder.local_port,
                remote_port=recorder.remote_port,
                new_connection=recorder.new_connection,
                request_bytes=exchange.body.sent_bytes,
                response_bytes=exchange.response_bytes,
                trace=recorder.trace,
                connection=recorder.connection,
                request_offset_bytes=recorder.request_offset_bytes,
                request_end_bytes=recorder.request_end_bytes,
                response_end_bytes=recorder.response_end_bytes,
                attempt=exchange.attempt,
                retried=retried,
                retry_of=request.first_id if is_retry else None,
                first_intended_ns=request.intended_ns if is_retry else None,
                entry=wanted.entry,
                size_bytes=wanted.size_bytes,
                body_bytes=wanted.body_bytes or None,
            )
        )

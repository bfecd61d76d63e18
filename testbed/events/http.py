"""HTTP: what the client sees, from its intent to the last byte of the answer."""

from __future__ import annotations

from typing import Final

import msgspec

DROPPED: Final = "Dropped"
"""The failure of a request that was due and was not made."""


class HttpExchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt of a client's request; as written in a segment."""

    request_id: str
    """32 hexadecimal digits: the trace id of the traceparent header that was sent."""
    number: int
    """Counts from 0 within its client host, in the order of intended starts; all attempts of a
    request have its number."""
    user: int
    method: str
    path: str
    intended_ns: int
    """When it should have started: open loop, its place in the schedule; closed loop, when its user
    was free; of a retry, when its back-off had ended.
    """
    started_ns: int
    headers_ns: int | None
    """When the response's headers had come."""
    ended_ns: int
    status: int | None
    failure: str | None
    """One of `testbed.events.outcomes`: None when completed, ``HTTP 503`` for a status of 400 or
    more, the name of httpx's exception (``ReadTimeout``), or what the client did.
    """
    message: str
    """What the exception said."""
    http_version: str | None
    local_port: int | None
    remote_port: int | None
    new_connection: bool
    request_bytes: int
    response_bytes: int
    """Of the bodies."""
    trace: list[tuple[str, int]]
    """httpcore's trace: name (``connection.connect_tcp.started``) and time in ns."""
    connection: int | None = None
    """Its connection's number in its process (testbed.events.syscall.Connection), also of one that
    did not come about; None, as the offsets: the system calls were not observed, or no connection
    was used."""
    request_offset_bytes: int | None = None
    """Place of the request's first byte in what the connection sent."""
    request_end_bytes: int | None = None
    """Place after its last byte."""
    response_end_bytes: int | None = None
    """Place after the last byte that the connection had received when the response was complete."""
    attempt: int = 0
    """0, and from 1 for retries."""
    retried: bool = False
    """Another attempt followed: this one is not the request's outcome."""
    retry_of: str | None = None
    """Of a retry: the id of the request's first attempt."""
    first_intended_ns: int | None = None
    """Of a retry: when the first attempt should have started."""
    entry: int = 0
    """Its kind: the place in the scenario's mix."""
    size_bytes: int | None = None
    """What the path asks for, where its size was drawn or set by `size`."""
    body_bytes: int | None = None
    """Size of the body that was to be sent; None: it had none."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a client, as a row. A phase that did not take place is None."""

    process: str
    node: str
    request_id: str
    number: int
    user: int
    method: str
    path: str
    intended_ns: int
    started_ns: int
    headers_ns: int | None
    ended_ns: int
    latency_ns: int
    """From the intended start to the last byte or the failure; of a retry, from the first
    attempt's."""
    late_ns: int
    """started - intended: how late the load generator was."""
    status: int | None
    failure: str | None
    message: str
    http_version: str | None
    local_port: int | None
    remote_port: int | None
    new_connection: bool
    request_bytes: int
    response_bytes: int
    connection: int | None
    request_offset_bytes: int | None
    request_end_bytes: int | None
    response_end_bytes: int | None
    attempt: int
    retried: bool
    retry_of: str | None
    first_intended_ns: int | None
    entry: int
    size_bytes: int | None
    body_bytes: int | None
    acquired_ns: int | None
    """When it had a connection, or began to make one."""
    connect_started_ns: int | None
    connect_ended_ns: int | None
    tls_started_ns: int | None
    tls_ended_ns: int | None
    settings_ns: int | None
    """When it had read the server's HTTP/2 settings, which say how many streams there may be."""
    pool_wait_ns: int | None
    """From the start to the first event of a connection."""
    connect_ns: int | None
    """TCP handshake; only where a connection was made for this request."""
    send_ns: int | None
    """Request headers and body handed to the socket."""
    first_byte_ns: int | None
    """From the request being sent to the response's headers."""
    receive_ns: int | None
    """From the headers to the last byte of the body."""

"""Frames of JSON -> AsgiRequest, AsgiCall and HttpRequest rows."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
import polars as pl

from testbed.analysis.decode.event_loop import node_of
from testbed.analysis.decode.schema import from_structs
from testbed.events.asgi import AsgiCall, AsgiExchange, AsgiRequest
from testbed.events.http import HttpExchange, HttpRequest
from testbed.recording.segments import Segment

_Row = TypeVar("_Row")

_CONNECTION: Final = frozenset({"connection", "http11", "http2", "socks", "http_proxy"})
"""Prefixes of httpcore's trace (httpcore/_trace.py: the last part of the logger's name)."""


def read_exchanges(segment: Segment, kind: type[_Row]) -> tuple[list[_Row], int]:
    """The exchanges of a segment, and how many of its frames hold none.

    Raises:
        RecordingError: the segment holds no frames, or is damaged.
    """
    decode = msgspec.json.Decoder(kind).decode
    found, damaged = [], 0
    for frame in segment.frames():
        try:
            found.append(decode(frame.payload))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            damaged += 1
    return found, damaged


def asgi_tables(
    segment: Segment, exchanges: list[AsgiExchange]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of AsgiRequest and AsgiCall, in the order of the segment."""
    process, node = segment.header.process, node_of(segment)
    requests = [_asgi_request(process, node, exchange) for exchange in exchanges]
    calls = [
        AsgiCall(
            process=process,
            request_id=exchange.request_id,
            call=call,
            started_ns=started,
            ended_ns=ended,
            body_bytes=size,
        )
        for exchange in exchanges
        for call, started, ended, size in exchange.calls
    ]
    return from_structs(AsgiRequest, requests), from_structs(AsgiCall, calls)


def _asgi_request(process: str, node: str, exchange: AsgiExchange) -> AsgiRequest:
    waits = {"receive": 0, "send": 0}
    sizes = {"receive": 0, "send": 0}
    for call, started, ended, size in exchange.calls:
        waits[call] += ended - started
        sizes[call] += size
    return AsgiRequest(
        process=process,
        node=node,
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path,
        client_host=exchange.client_host,
        client_port=exchange.client_port,
        started_ns=exchange.started_ns,
        ended_ns=exchange.ended_ns,
        status=exchange.status,
        exception=exchange.exception,
        disconnected=exchange.disconnected,
        receive_wait_ns=waits["receive"],
        send_wait_ns=waits["send"],
        received_bytes=sizes["receive"],
        sent_bytes=sizes["send"],
    )


def http_table(segment: Segment, exchanges: list[HttpExchange]) -> pl.DataFrame:
    """Table of HttpRequest, in the order of the segment."""
    process, node = segment.header.process, node_of(segment)
    return from_structs(HttpRequest, [_http_request(process, node, e) for e in exchanges])


def _http_request(process: str, node: str, exchange: HttpExchange) -> HttpRequest:
    known = {
        name: getattr(exchange, name) for name in HttpExchange.__struct_fields__ if name != "trace"
    }
    found = phases(exchange.started_ns, exchange.headers_ns, exchange.trace)
    made = milestones(exchange.trace)
    first_ns = exchange.first_intended_ns
    return HttpRequest(
        process=process,
        node=node,
        latency_ns=exchange.ended_ns - (exchange.intended_ns if first_ns is None else first_ns),
        late_ns=exchange.started_ns - exchange.intended_ns,
        pool_wait_ns=found.pool_wait_ns,
        connect_ns=found.connect_ns,
        send_ns=found.send_ns,
        first_byte_ns=found.first_byte_ns,
        receive_ns=found.receive_ns,
        **msgspec.structs.asdict(made),
        **known,
    )


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """The phases of a request in ns; see `testbed.events.http.HttpRequest`."""

    pool_wait_ns: int | None
    connect_ns: int | None
    send_ns: int | None
    first_byte_ns: int | None
    receive_ns: int | None


class Milestones(msgspec.Struct, frozen=True, kw_only=True):
    """When the connection of a request was there; see `testbed.events.http.HttpRequest`."""

    acquired_ns: int | None
    connect_started_ns: int | None
    connect_ended_ns: int | None
    tls_started_ns: int | None
    tls_ended_ns: int | None
    settings_ns: int | None


def milestones(trace: list[tuple[str, int]]) -> Milestones:
    """The milestones of one request from httpcore's trace; None: it did not pass it."""
    times = dict(trace)
    first = next((t_ns for name, t_ns in trace if name.partition(".")[0] in _CONNECTION), None)
    return Milestones(
        acquired_ns=first,
        connect_started_ns=times.get("connection.connect_tcp.started"),
        connect_ended_ns=times.get("connection.connect_tcp.complete"),
        tls_started_ns=times.get("connection.start_tls.started"),
        tls_ended_ns=times.get("connection.start_tls.complete"),
        settings_ns=times.get("http2.receive_remote_settings.complete"),
    )


def phases(started_ns: int, headers_ns: int | None, trace: list[tuple[str, int]]) -> Phases:
    """The phases of one request from httpcore's trace.

    One that did not take place or did not end is None.

    httpcore traces each step as ``prefix.step.started`` and ``.complete`` or ``.failed``; the steps
    have the same names in HTTP/1.1 (``http11.``) and HTTP/2 (``http2.``). Of a step that was tried
    again the last try counts.
    """
    times: dict[tuple[str, str], int] = {}
    first: int | None = None
    for name, time in trace:
        prefix, _, rest = name.partition(".")
        step, _, event = rest.rpartition(".")
        if prefix in _CONNECTION:
            first = time if first is None else first
            times[step, event] = time
    sent = times.get(("send_request_body", "complete"))
    begun = times.get(("send_request_headers", "started"))
    headers = times.get(("receive_response_headers", "complete"), headers_ns)
    end = times.get(("receive_response_body", "complete"))
    return Phases(
        pool_wait_ns=_between(started_ns, first),
        connect_ns=_between(
            times.get(("connect_tcp", "started")), times.get(("connect_tcp", "complete"))
        ),
        send_ns=_between(begun, sent),
        first_byte_ns=_between(sent, headers),
        receive_ns=_between(headers, end),
    )


def _between(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None or end < start else end - start

"""What the processes of a run record: requests, calls of the application, steps of the loop."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import numpy as np

from testbed.events.asgi import AsgiExchange
from testbed.events.event_loop import LOOP_RECORD
from testbed.events.http import HttpExchange
from testbed.recording.layout import Layout, create_partial
from testbed.recording.segments import SegmentHeader, SegmentWriter
from tests.builders.syscalls import connection, syscall_segment

MS = 1_000_000
US = 1_000


def segment(layout: Layout, name: str, header: SegmentHeader, records: list[bytes]) -> None:
    """A segment of records, with its partial name."""
    writer = SegmentWriter(create_partial(layout.segment(name)), header)
    for record in records:
        writer.append(record)
    writer.close()


def applications(layout: Layout, start_ns: int) -> None:
    """23 requests, the last of which fails, and a step of each event loop per request."""
    http = SegmentHeader(
        layout="frames", source="http", process="client", kinds=["exchange"], nodes=["client"]
    )
    asgi = msgspec.structs.replace(http, source="asgi", process="server", nodes=["server"])
    writers = {
        name: SegmentWriter(create_partial(layout.segment(name)), header)
        for name, header in (("http.client", http), ("asgi.server", asgi))
    }
    steps = []
    for number in range(23):
        start = start_ns + number * 10 * MS
        steps.append((start, start + 20 * US, start + 120 * US, 1, 2, 0, 0))
        exchange = http_exchange(number, start)
        writers["http.client"].frame(start, exchange.ended_ns, msgspec.json.encode(exchange))
        served = asgi_exchange(exchange)
        writers["asgi.server"].frame(start, served.ended_ns, msgspec.json.encode(served))
    for writer in writers.values():
        writer.close()
    header = SegmentHeader(
        layout="records",
        source="event_loop",
        process="server",
        fields=LOOP_RECORD,
        nodes=["server"],
    )
    array = np.array(steps, dtype=np.dtype(LOOP_RECORD))
    segment(layout, "event_loop.server", header, [array.tobytes()])
    system_calls(layout, start_ns)


def system_calls(layout: Layout, start_ns: int) -> None:
    """The calls of both ends for the same requests, over one connection: 199 bytes there, 1100
    back, in two calls of send(); each read waits once.
    """
    client: list[tuple[Any, ...]] = []
    server: list[tuple[Any, ...]] = [("accept", 1, start_ns, start_ns + US)]
    for number in range(23):
        start = start_ns + number * 10 * MS
        reply, served = start + 3 * MS, start + 1 * MS
        client += [
            ("send", 1, start, start + 10 * US, 199, 199),
            ("recv", 1, start + 20 * US, start + 22 * US, 0, 65536, errno.EAGAIN),
            ("wait_readable", 1, start + 22 * US, reply),
            ("recv", 1, reply, reply + 4 * US, 1100, 65536),
        ]
        server += [
            ("recv", 2, served, served + 4 * US, 199, 65536),
            ("send", 2, served + 100 * US, served + 110 * US, 100, 100),
            ("send", 2, served + 300 * US, served + 310 * US, 1000, 1000),
        ]
    # Not the connection of the captures: their packets are made up for other purposes.
    here, there = ("10.0.0.1", 40001), ("10.0.1.1", 8000)
    syscall_segment(
        layout, "client", [connection(1, "client", here, there, at_ns=start_ns)], [client]
    )
    sockets = [
        connection(1, "server", ("0.0.0.0", 8000), at_ns=start_ns),
        connection(2, "server", there, here, at_ns=start_ns),
    ]
    syscall_segment(layout, "server", sockets, [server])


def http_exchange(number: int, start: int) -> HttpExchange:
    """Request `number`: 5 ms, over a connection that the first one opened; number 22 times out."""
    failed = number == 22
    names = ["send_request_headers", "send_request_body", "receive_response_headers"]
    trace = [("connection.connect_tcp.started", start + 100 * US)] if number == 0 else []
    trace += [("connection.connect_tcp.complete", start + 300 * US)] if number == 0 else []
    at = start + 400 * US
    for name in names:
        trace += [(f"http11.{name}.started", at), (f"http11.{name}.complete", at + 100 * US)]
        at += 1000 * US
    trace += [
        ("http11.receive_response_body.started", at),
        (f"http11.receive_response_body.{'failed' if failed else 'complete'}", start + 5 * MS),
    ]
    return HttpExchange(
        request_id=f"{number:032x}",
        number=number,
        user=0,
        method="GET",
        path="/",
        intended_ns=start - 50 * US,
        started_ns=start,
        headers_ns=start + 2500 * US,
        ended_ns=start + 5 * MS,
        status=200,
        failure="ReadTimeout" if failed else None,
        message="",
        http_version="HTTP/1.1",
        local_port=40000,
        remote_port=8000,
        new_connection=number == 0,
        request_bytes=0,
        response_bytes=1000,
        trace=trace,
    )


def asgi_exchange(of: HttpExchange) -> AsgiExchange:
    """The call that served a request: 1 ms, 300 us of it in two calls of send()."""
    start = of.started_ns + 1 * MS
    return AsgiExchange(
        request_id=of.request_id,
        method="GET",
        path="/",
        client_host="10.0.0.1",
        client_port=40000,
        started_ns=start,
        ended_ns=start + 1 * MS,
        status=200,
        exception=None,
        disconnected=False,
        calls=[
            ("send", start + 100 * US, start + 200 * US, 0),
            ("send", start + 300 * US, start + 500 * US, 1000),
        ],
    )

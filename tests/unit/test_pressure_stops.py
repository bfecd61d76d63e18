"""What each stop is read from: built tables and captures in, waits out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from testbed.analysis.analyse import analyse
from testbed.analysis.decode.schema import schema_of
from testbed.analysis.evidence import Evidence
from testbed.analysis.following import Followed
from testbed.analysis.found import Found
from testbed.analysis.pressure import Pressure, PressureWindow, pressure
from testbed.analysis.summary import Backpressure, Stop
from testbed.analysis.topology import Topology
from testbed.events.asgi import AsgiCall, AsgiRequest
from testbed.events.event_loop import LoopInterval
from testbed.events.http import HttpRequest
from testbed.events.qdisc import QdiscSample
from testbed.events.socket import SocketSample
from testbed.events.syscall import SyscallCall
from testbed.events.tcp import TcpCounter, TcpSample
from tests.builders.frames import ACK, SYN, tcp
from tests.builders.recordings import MS, START, Run

ROOT = Path(__file__).resolve().parents[2]
S = 1000 * MS
"""The load of the built runs lasts as long."""
KINDS: dict[str, type[msgspec.Struct]] = {
    "http": HttpRequest,
    "event_loop": LoopInterval,
    "asgi": AsgiRequest,
    "asgi_calls": AsgiCall,
    "socket": SocketSample,
    "tcp": TcpSample,
    "tcp_counters": TcpCounter,
    "qdisc": QdiscSample,
    "syscall": SyscallCall,
}
BASE: dict[str, dict[str, Any]] = {
    "http": {
        "process": "client", "node": "client", "new_connection": False, "local_port": 40000,
        "pool_wait_ns": 0, "send_ns": 0,
    },
    "event_loop": {"process": "server", "node": "server", "kind": "step", "runnable": 1},
    "asgi": {"process": "server", "node": "server", "request_id": "a"},
    "asgi_calls": {"process": "server", "request_id": "a", "body_bytes": 0},
    "socket": {
        "node": "server", "cookie": 1, "state": "ESTABLISHED", "local_address": "10.0.1.1",
        "receive_queue": 0, "send_queue": 0,
    },
    "tcp": {
        "node": "server", "cookie": 1, "state": "ESTABLISHED", "local_address": "10.0.1.1",
        "local_port": 8000, "not_sent_bytes": 0, "busy_ns": 0, "receive_window_limited_ns": 0,
        "send_buffer_limited_ns": 0,
    },
    "tcp_counters": {"node": "server"},
    "syscall": {"process": "server", "node": "server"},
    "qdisc": {"kind": "pfifo", "handle": "1:", "parent": "root"},
}  # fmt: skip
"""Fields that most rows share; all others are null."""


def mapped(**rows: Sequence[dict[str, Any]]) -> Pressure:
    """The map of a run with these rows; times are in ms from the start of the load."""
    tables = {}
    for name, given in rows.items():
        made = [BASE[name] | {k: _time(k, v) for k, v in row.items()} for row in given]
        tables[name] = pl.DataFrame(made, schema=schema_of(KINDS[name]), strict=False)
    manifest = Run().manifest(START + S)
    evidence = Evidence(manifest, Topology(manifest), tables=tables)
    return pressure(Found(evidence, [], [], Followed({}, {}, {}, {}), [], None))


def _time(name: str, value: Any) -> Any:
    if name in ("t_ns", "started_ns", "ended_ns", "scheduled_ns"):
        return START + value * MS
    return value * MS if name.endswith("_ns") and value is not None else value


def stop(found: Backpressure, layer: str, what: str, node: str) -> Stop:
    (one,) = (s for s in found.stops if (s.layer, s.what, s.node) == (layer, what, node))
    return one


def waited(found: Pressure, layer: str, what: str, node: str) -> tuple[float, int, int]:
    """Milliseconds, number of waits, peak amount."""
    one = stop(found.summary, layer, what, node)
    return one.waited_ns / MS, one.waits, one.peak_amount


def test_the_phases_of_requests() -> None:
    found = mapped(
        http=[
            {
                "started_ns": 0, "pool_wait_ns": 10, "new_connection": True, "connect_ns": 20,
                "send_ns": 5, "ended_ns": 100,
            },
            {"started_ns": 5, "pool_wait_ns": 25, "send_ns": 5, "ended_ns": 60},
            {"started_ns": 200, "pool_wait_ns": None, "send_ns": None, "ended_ns": 250},
            {
                "started_ns": 300, "pool_wait_ns": 0, "new_connection": True, "connect_ns": None,
                "send_ns": None, "ended_ns": 400, "local_port": None,
            },
        ]
    )  # fmt: skip
    # 0 to 10 and 5 to 30; the third one never got a connection.
    assert waited(found, "http", "pool", "client") == (30 + 50, 3, 2)
    # 10 to 30; the last one failed while it connected.
    assert waited(found, "http", "connect", "client") == (20 + 100, 2, 1)
    # Both were sent after 35 ms.
    assert waited(found, "http", "await", "client") == (65, 2, 2)


def test_a_writer_holds_up_while_its_socket_is_empty() -> None:
    client = {"node": "client", "local_address": "10.0.0.1", "local_port": 40000}
    found = mapped(
        http=[{"started_ns": 0, "send_ns": 100, "ended_ns": 120}],
        tcp=[
            {**client, "t_ns": t, "not_sent_bytes": unsent}
            for t, unsent in ((0, 0), (30, 4000), (50, 0), (70, 0), (130, 0))
        ],
    )
    assert waited(found, "http", "writer", "client") == (80, 2, 1)
    assert waited(found, "socket", "send buffer", "client") == (20, 1, 4000)


def test_a_loop_is_blocked_by_steps_of_10_ms() -> None:
    found = mapped(
        event_loop=[
            {"scheduled_ns": 0, "started_ns": 0, "ended_ns": 9},
            {"scheduled_ns": 0, "started_ns": 9, "ended_ns": 19, "runnable": 7},
            {"kind": "io_wait", "scheduled_ns": 19, "started_ns": 19, "ended_ns": 900},
        ]
    )
    assert waited(found, "event_loop", "blocked", "server") == (10, 1, 7)
    assert waited(found, "event_loop", "lag", "server") == (9, 1, 1)
    # The client's loop was not recorded: it is not there, rather than idle.
    assert [s.node for s in found.summary.stops if s.layer == "event_loop"] == ["server"] * 2


def test_a_receive_that_waits_for_the_client_to_leave_does_not_starve() -> None:
    found = mapped(
        asgi=[{"started_ns": 0, "ended_ns": 500}],
        asgi_calls=[
            {"call": "receive", "started_ns": 0, "ended_ns": 10},
            {"call": "receive", "started_ns": 10, "ended_ns": 30, "body_bytes": 1000},
            {"call": "receive", "started_ns": 30, "ended_ns": 500},
            {"call": "send", "started_ns": 40, "ended_ns": 45, "body_bytes": 10},
        ],
    )
    assert waited(found, "asgi", "receive", "server") == (30, 2, 1)
    assert waited(found, "asgi", "send", "server") == (5, 1, 1)


def test_a_listener_without_a_descriptor_waits_until_it_tries_again() -> None:
    accepts = [
        {"call": "accept", "started_ns": at, "ended_ns": at + 2, "error": error, "connection": one}
        for at, error, one in (
            (0, None, 1), (10, "EMFILE", 1), (30, "ENFILE", 1), (45, "EAGAIN", 1),
            (60, "EMFILE", 2), (62, None, 2), (90, "EMFILE", 2),
        )
    ]  # fmt: skip
    found = mapped(syscall=accepts)
    # 10 to 45, 60 to 62, and the last as long as it took.
    assert waited(found, "syscall", "descriptors", "server") == (35 + 2 + 2, 4, 1)


def test_an_accept_queue_is_full_beyond_its_backlog() -> None:
    found = mapped(
        socket=[
            {"t_ns": t, "state": "LISTEN", "receive_queue": queue, "send_queue": 8}
            for t, queue in ((0, 0), (10, 3), (20, 8), (30, 9), (45, 0), (60, 0))
        ],
        tcp_counters=[
            {"t_ns": t, "counter": "TcpExt.ListenOverflows", "value": value}
            for t, value in ((0, 100), (1000, 123))
        ],
    )
    assert waited(found, "socket", "accept queue", "server") == (35, 1, 9)
    assert waited(found, "socket", "accept queue full", "server") == (15, 1, 9)


def test_a_buffer_that_is_full_and_what_nobody_reads() -> None:
    client = {"node": "client", "local_address": "10.0.0.1", "receive_buffer_bytes": 1000}
    found = mapped(
        socket=[
            {
                **client, "t_ns": t, "receive_queue": unread, "receive_allocated_bytes": memory,
                "cookie": cookie,
            }
            for t, cookie, unread, memory in (
                (0, 1, 0, 0), (0, 2, 100, 400), (10, 1, 500, 900), (10, 2, 100, 899),
                (20, 1, 500, 950), (20, 2, 0, 0), (35, 1, 0, 0), (35, 2, 0, 0),
            )
        ]
        + [{**client, "local_address": "127.0.0.1", "cookie": 3, "t_ns": t, "receive_queue": 9}
           for t in (0, 900)]
    )  # fmt: skip
    assert waited(found, "http", "reader", "client") == (35, 2, 600)
    assert waited(found, "socket", "receive buffer full", "client") == (25, 1, 500)


def test_what_tcp_was_limited_by() -> None:
    rows = [
        # t, unsent, busy, by the peer's window, by the send buffer
        (0, 0, 0, 0, 0),
        (10, 500, 10, 10, 0),
        (20, 500, 20, 14, 0),
        (30, 700, 30, 14, 6),
        (40, 0, 40, 14, 6),
    ]
    found = mapped(
        tcp=[
            {
                "t_ns": t, "not_sent_bytes": unsent, "busy_ns": busy,
                "receive_window_limited_ns": window, "send_buffer_limited_ns": buffer,
            }
            for t, unsent, busy, window, buffer in rows
        ]
    )  # fmt: skip
    assert waited(found, "tcp", "peer's window", "server") == (14, 1, 500)
    assert waited(found, "tcp", "send buffer limit", "server") == (6, 1, 700)
    # 6 ms of the second, 4 of the third; in the last nothing was left to send.
    assert waited(found, "tcp", "congestion window", "server") == (10, 1, 700)
    assert waited(found, "socket", "send buffer", "server") == (30, 1, 700)


def test_a_kernel_without_the_counters_leaves_them_out() -> None:
    found = mapped(tcp=[{"t_ns": 0, "receive_window_limited_ns": None}])
    assert "peer's window" not in [s.what for s in found.summary.stops if s.node == "server"]


def test_queues_are_those_of_the_root_and_go_one_way() -> None:
    def samples(interface: str, parent: str, packets: int) -> list[dict[str, Any]]:
        return [
            {
                "node": "r1", "interface": interface, "parent": parent, "t_ns": t,
                "backlog_packets": packets,
            }
            for t in (0, 500)
        ]  # fmt: skip

    found = mapped(
        qdisc=[
            *samples("r1-eth0", "root", 50),
            *samples("r1-eth0", "1:10", 50),
            *samples("r1-eth1", "root", 2),
        ]
    )
    assert waited(found, "qdisc", "queue r1 → client", "r1") == (500, 1, 50)
    assert waited(found, "qdisc", "queue r1 → server", "r1") == (500, 1, 2)
    assert stop(found.summary, "qdisc", "queue r1 → client", "r1").direction == "response"
    assert stop(found.summary, "qdisc", "queue r1 → server", "r1").direction == "request"


def test_what_is_outside_of_the_load_does_not_count() -> None:
    found = mapped(
        asgi=[{"started_ns": -50, "ended_ns": 1500}],
        asgi_calls=[{"call": "send", "started_ns": -50, "ended_ns": 1500}],
    )
    one = stop(found.summary, "asgi", "send", "server")
    assert (one.waited_ns, one.waited_ratio, one.longest_ns) == (S, 1.0, S)


def test_what_is_missing_is_said_and_never_taken_for_nothing() -> None:
    assert mapped().summary.sentence == (
        "not observed: http, event_loop, asgi, socket, tcp, qdisc: not in the recording; "
        "captures: no host was captured"
    )
    assert mapped().summary.stops == []
    assert mapped().windows.height == 0
    some = mapped(http=[], asgi=[], asgi_calls=[], socket=[], tcp=[], qdisc=[]).summary
    assert some.not_observed == [
        "event_loop: not in the recording",
        "captures: no host was captured",
    ]
    assert some.sentence == (
        "no backpressure to speak of in what was observed; "
        "not observed: event_loop: not in the recording; captures: no host was captured"
    )
    assert some.origin is None
    # The client alone sees that it waited, and not for whom.
    alone = mapped(http=[{"started_ns": 0, "send_ns": 1, "ended_ns": 900}]).summary
    assert alone.sentence == (
        "not observed: event_loop, asgi, socket, tcp, qdisc: not in the recording; "
        "captures: no host was captured"
    )
    assert [s.what for s in alone.stops] == ["pool", "connect", "await"]


def test_windows_that_closed(tmp_path: Path) -> None:
    run = Run()
    run.send("server", 0, tcp(40000, 8000, 100, flags=SYN, window=0))
    run.send("client", 3 * MS, tcp(8000, 40000, 500, 101, flags=SYN | ACK))
    for t, window in ((6, 10), (10, 0), (12, 0), (20, 5), (30, 5), (40, 0), (45, 7)):
        run.send("server", t * MS, tcp(40000, 8000, 101, 501 + t, window=window))
    found = analyse(run.write(tmp_path / "run").root).backpressure
    assert found is not None
    closed = stop(found, "tcp", "zero window", "client")
    assert (closed.waited_ns, closed.waits, closed.longest_ns) == (15 * MS, 2, 10 * MS)
    assert closed.direction == "response"


@pytest.mark.parametrize(
    ("again", "waits"),
    [
        pytest.param(None, 0, id="nothing sent again"),
        pytest.param("syn", 1, id="SYN"),
        pytest.param("answer", 1, id="its answer"),
        pytest.param("data", 1, id="first data"),
    ],
)
def test_connections_that_were_not_taken_at_once(
    again: str | None, waits: int, tmp_path: Path
) -> None:
    run = Run()
    syn = tcp(40000, 8000, 100, flags=SYN)
    answer = tcp(8000, 40000, 500, 101, flags=SYN | ACK)
    data = tcp(40000, 8000, 101, 501, payload=b"GET")
    sent = [
        ("syn", "server", 0, syn),
        ("answer", "client", 10, answer),
        ("data", "server", 20, data),
    ]
    for name, towards, t, segment in sent:
        run.send(towards, t * MS, segment)  # type: ignore[arg-type]
        if name == again:
            run.send(towards, (t + 5) * MS, segment)  # type: ignore[arg-type]
    run.send("client", 50 * MS, tcp(8000, 40000, 501, 104))
    # What is sent again after the server has answered is an ordinary retransmission.
    run.send("server", 60 * MS, tcp(40000, 8000, 104, 501, payload=b"GET"))
    run.send("server", 70 * MS, tcp(40000, 8000, 104, 501, payload=b"GET"))
    found = analyse(run.write(tmp_path / "run").root).backpressure
    assert found is not None
    one = stop(found, "tcp", "handshake", "client")
    assert one.waits == waits
    # Over two wires of 1 ms and a router, 20 us late each.
    assert one.waited_ns == pytest.approx(52 * MS if waits else 0, rel=0.01)


def test_the_page_names_every_stop_and_no_other(tmp_path: Path) -> None:
    run = Run()
    run.send("server", 0, tcp(40000, 8000, 99, flags=SYN))
    root = run.write(tmp_path / "run").root
    found = analyse(root).backpressure
    assert found is not None
    page = (ROOT / "docs/reference/backpressure.md").read_text(encoding="utf-8")
    section = page.partition("## Stops")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)` \| (\w+) \|", section, re.MULTILINE))
    seen = {(re.sub("^queue .*", "queue", s.what), s.layer) for s in found.stops}
    # Only a capacity that follows a trace has a queue in the relay.
    assert seen == named - {("queue", "link")}
    columns = re.findall(r"^\| `(\w+)` \|", page.partition("### `PressureWindow`")[2], re.MULTILINE)
    assert columns == list(PressureWindow.__struct_fields__)
    assert pl.read_parquet_schema(root / "events" / "backpressure.parquet") == schema_of(
        PressureWindow
    )

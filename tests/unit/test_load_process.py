"""The load process: each request is made when it should be, and recorded whatever becomes of it."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from testbed.load.arrivals import schedule
from testbed.load.identity import identity
from testbed.scenario import Load
from testbed.scenario.load import Client
from tests.unit.processes import client, run_load, server, wait_for, write_app

STOP_S = 10.0
"""Limit on a stop that takes some milliseconds; the requests under way would take 30 s."""

HANG = """
import trio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    print("waiting", flush=True)
    await trio.sleep_forever()
"""
ONCE = """
import trio
answered = False
async def app(scope, receive, send):
    global answered
    if scope["type"] != "http":
        raise NotImplementedError
    if answered:
        await trio.sleep_forever()
    answered = True
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x"})
"""
STATUS = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    headers = [(b"location", b"/elsewhere"), (b"content-length", b"0")]
    status = int(scope["query_string"])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body"})
"""
CUT = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    headers = [(b"content-length", b"100")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"0123456789", "more_body": True})
    raise ConnectionError("on purpose")
"""
TRICKLE = """
import trio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(100):
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await trio.sleep(0.02)
    await send({"type": "http.response.body"})
"""


def test_what_one_end_sends_the_other_receives_call_for_call(tmp_path: Path) -> None:
    with server(tmp_path, "upload") as app:
        load = run_load(
            tmp_path, Load(users=4, requests=23, body="100kB", method="POST"), [app.url]
        )
        app.process.terminate()
        assert app.exit_code() == 0
    ends = {}
    for child in (load, app):
        found = child.system_calls()
        named = found.connections.drop_nulls("remote_port").with_columns(
            client_port=pl.col("local_port" if child is load else "remote_port")
        )
        calls = found.calls.filter(pl.col("bytes") > 0)
        # Offsets without a gap or an overlap: each call begins where the one before ended.
        ended = pl.col("offset_bytes") + pl.col("bytes")
        before = ended.shift(fill_value=0).over("connection", "call")
        assert calls.filter(pl.col("offset_bytes") != before).height == 0
        sums = calls.group_by("connection", "call").agg(pl.col("bytes").sum())
        ends[child.name] = {
            (port, call): size
            for port, call, size in sums.join(named, on="connection")
            .select("client_port", "call", "bytes")
            .rows()
        }
    ports = {exchange.local_port for exchange in load.http()}
    assert {port for port, _ in ends["client"]} == ports
    for port in ports:
        assert ends["client"][port, "send"] == ends["server"][port, "recv"]
        assert ends["client"][port, "recv"] == ends["server"][port, "send"]
    sent = sum(size for (_, call), size in ends["client"].items() if call == "send")
    assert sent > 23 * 100_000
    accepts = app.system_calls().calls.filter(
        (pl.col("call") == "accept") & pl.col("error").is_null()
    )
    assert accepts.height == len(ports) == 4


def test_23_requests_are_seen_at_both_ends(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, Load(users=4, requests=23), [app.url])
        app.process.terminate()
        assert app.exit_code() == 0
    sent, seen = load.http(), app.asgi()
    assert [exchange.number for exchange in sent] == list(range(23))
    assert [exchange.request_id for exchange in sent] == [
        identity(seed=7, process="client", number=number).trace_id for number in range(23)
    ]
    ports = {exchange.request_id: exchange.local_port for exchange in sent}
    assert {exchange.request_id: exchange.client_port for exchange in seen} == ports
    assert len(seen) == 23
    assert len(set(ports.values())) == 4
    assert sum(exchange.new_connection for exchange in sent) == 4
    assert {exchange.user for exchange in sent} == {0, 1, 2, 3}
    assert {exchange.failure for exchange in sent} == {None}
    assert {exchange.status for exchange in sent} == {200}
    assert {exchange.response_bytes for exchange in sent} == {14}
    assert {exchange.http_version for exchange in sent} == {"HTTP/1.1"}
    assert {exchange.remote_port for exchange in sent} == {app.port}
    assert len(load.steps()) >= 23


def test_times_are_in_order(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, Load(users=2, requests=23), [app.url])
    for exchange in load.http():
        assert exchange.headers_ns is not None
        times = [exchange.intended_ns, exchange.started_ns, exchange.trace[0][1]]
        times += [exchange.headers_ns, exchange.ended_ns]
        assert times == sorted(times)
        at = [at_ns for _, at_ns in exchange.trace]
        assert at == sorted(at)
        names = [name for name, _ in exchange.trace]
        assert ("connection.connect_tcp.started" in names) == exchange.new_connection
        assert exchange.ended_ns == dict(exchange.trace)["http11.receive_response_body.complete"]
    # A user's next request is intended once its last one has ended.
    for user in (0, 1):
        own = [exchange for exchange in load.http() if exchange.user == user]
        assert all(first.ended_ns <= second.intended_ns for first, second in pairwise(own))


def test_open_loop_keeps_to_its_schedule(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, Load(rate="100/s", arrivals="periodic", requests=23), [app.url])
    intended = [exchange.intended_ns for exchange in load.http()]
    assert [at_ns - intended[0] for at_ns in intended] == [n * 10_000_000 for n in range(23)]
    assert all(exchange.started_ns >= exchange.intended_ns for exchange in load.http())


def test_poisson_starts_are_those_of_the_schedule(tmp_path: Path) -> None:
    asked = Load(rate="200/s", arrivals="poisson", requests=23)
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, asked, [app.url])
    due = [due_ns for _, due_ns in schedule(asked, seed=7, process="client")]
    intended = [exchange.intended_ns for exchange in load.http()]
    assert [at_ns - intended[0] for at_ns in intended] == [due_ns - due[0] for due_ns in due]


def test_duration_bounds_the_starts(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, Load(users=2, duration="200ms"), [app.url])
    sent = load.http()
    assert len(sent) >= 2
    assert sent[-1].intended_ns - sent[0].intended_ns < 200_000_000
    assert {exchange.failure for exchange in sent} == {None}


def test_bodies_are_counted_alike_at_both_ends(tmp_path: Path) -> None:
    with server(tmp_path, "upload") as app:
        load = run_load(tmp_path, Load(requests=3, method="POST", body="100kB"), [app.url])
        app.process.terminate()
        app.exit_code()
    assert [exchange.request_bytes for exchange in load.http()] == [100_000] * 3
    for one in app.asgi():
        assert sum(size for call, _, _, size in one.calls if call == "receive") == 100_000
    assert len(app.asgi()) == 3


def test_answers_are_counted_alike_at_both_ends(tmp_path: Path) -> None:
    with server(tmp_path, "stream") as app:
        load = run_load(tmp_path, Load(requests=3, path="/?size=300kB&chunk=7kB"), [app.url])
        app.process.terminate()
        app.exit_code()
    assert [exchange.response_bytes for exchange in load.http()] == [300_000] * 3
    for one in app.asgi():
        sizes = [size for _, _, _, size in one.calls if size]
        assert sizes == [7000] * 42 + [6000]


def test_a_new_connection_for_each_request(tmp_path: Path) -> None:
    with server(tmp_path) as app:
        load = run_load(tmp_path, Load(users=2, requests=23, new_connections=True), [app.url])
    assert [exchange.new_connection for exchange in load.http()] == [True] * 23
    assert len({exchange.local_port for exchange in load.http()}) == 23
    assert {exchange.failure for exchange in load.http()} == {None}


def test_reading_keeps_to_its_rate(tmp_path: Path) -> None:
    with server(tmp_path, "stream") as app:
        limited = Load(requests=2, path="/?size=50kB", read_rate="1mbit")
        load = run_load(tmp_path, limited, [app.url])
    assert [exchange.response_bytes for exchange in load.http()] == [50_000] * 2
    for exchange in load.http():
        # 50 kB at 1 Mbit/s are 400 ms; the first and last piece, 20 ms each, need no wait.
        assert exchange.ended_ns - exchange.started_ns >= 360_000_000


def test_writing_keeps_to_its_rate(tmp_path: Path) -> None:
    with server(tmp_path, "upload") as app:
        limited = Load(requests=1, method="POST", body="50kB", write_rate="1mbit")
        load = run_load(tmp_path, limited, [app.url])
        app.process.terminate()
        app.exit_code()
    (sent,), (seen,) = load.http(), app.asgi()
    assert sent.request_bytes == 50_000
    assert sent.ended_ns - sent.started_ns >= 360_000_000
    assert sum(size for call, _, _, size in seen.calls if call == "receive") == 50_000
    assert sum(end - start for call, start, end, _ in seen.calls if call == "receive") > 300_000_000


def test_targets_are_taken_in_turn(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with server(tmp_path / "one") as one, server(tmp_path / "two") as two:
        load = run_load(tmp_path, Load(requests=5), [one.url, two.url])
    ports = [exchange.remote_port for exchange in load.http()]
    assert ports == [one.port, two.port, one.port, two.port, one.port]


@pytest.mark.parametrize(
    ("status", "failure", "message"),
    [(302, None, ""), (404, "HTTP 404", "Not Found"), (503, "HTTP 503", "Service Unavailable")],
)
def test_status(tmp_path: Path, status: int, failure: str | None, message: str) -> None:
    with server(tmp_path, write_app(tmp_path, STATUS)) as app:
        load = run_load(tmp_path, Load(requests=2, path=f"/?{status}"), [app.url])
    assert [exchange.status for exchange in load.http()] == [status] * 2
    assert {(exchange.failure, exchange.message) for exchange in load.http()} == {
        (failure, message)
    }


def test_proxies_of_the_environment_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path, "hello") as app:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        load = run_load(tmp_path, Load(requests=1), [app.url])
    assert load.http()[0].failure is None


def test_read_timeout_on_a_reused_connection_names_the_connection(tmp_path: Path) -> None:
    with server(tmp_path, write_app(tmp_path, ONCE)) as app:
        load = run_load(tmp_path, Load(requests=2, timeout="500ms"), [app.url])
    good, failed = load.http()
    assert (good.failure, failed.failure) == (None, "ReadTimeout")
    assert (good.new_connection, failed.new_connection) == (True, False)
    assert good.local_port is not None
    assert failed.local_port == good.local_port
    assert failed.status is None
    assert failed.ended_ns - failed.started_ns >= 500_000_000


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    load = run_load(tmp_path, Load(requests=3), [f"http://127.0.0.1:{port}"])
    assert [exchange.failure for exchange in load.http()] == ["ConnectError"] * 3
    assert {exchange.local_port for exchange in load.http()} == {None}
    assert all(exchange.new_connection for exchange in load.http())
    for exchange in load.http():
        assert "attempts to connect" in exchange.message
        assert exchange.message.endswith(": Connection refused")


def test_answer_that_is_cut_short(tmp_path: Path) -> None:
    with server(tmp_path, write_app(tmp_path, CUT)) as app:
        load = run_load(tmp_path, Load(requests=2), [app.url])
    for exchange in load.http():
        assert exchange.failure == "RemoteProtocolError"
        assert (exchange.status, exchange.response_bytes) == (200, 10)


@pytest.mark.parametrize("made_by", ["httpx", "httpx2"])
def test_requests_beyond_the_connections_wait_in_the_pool(tmp_path: Path, made_by: Client) -> None:
    asked = Load(rate="100/s", arrivals="periodic", requests=3, pool_timeout="500ms", connections=1)
    with server(tmp_path, write_app(tmp_path, TRICKLE)) as app:
        load = run_load(tmp_path, asked, [app.url])
    first, *others = load.http()
    assert first.failure is None
    assert [other.failure for other in others] == ["PoolTimeout"] * 2
    assert [other.trace for other in others] == [[], []]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of stdin"])
@pytest.mark.parametrize(
    "asked",
    [Load(users=5), Load(rate="100/s", arrivals="periodic", requests=5)],
    ids=["closed loop", "open loop"],
)
def test_stop_cancels_and_records_what_is_under_way(tmp_path: Path, how: str, asked: Load) -> None:
    with (
        server(tmp_path, write_app(tmp_path, HANG)) as app,
        client(tmp_path, asked, [app.url]) as load,
    ):
        load.go()
        stdout = tmp_path / "server.stdout"
        wait_for(lambda: stdout.read_text().count("waiting") == 5, load.log)
        began = time.monotonic()
        if how == "end of stdin":
            load.end_stdin()
        else:
            load.process.send_signal(signal.Signals[how])
        last = load.last_line()
        assert load.exit_code() == 0, load.log()
        assert time.monotonic() - began < STOP_S
    del last["elapsed_ns"]
    assert last == {
        "started": 5,
        "completed": 0,
        "failed": 5,
        "limit": asked.request_limit,
        "ended": "stopped",
    }
    assert [exchange.failure for exchange in load.http()] == ["Cancelled"] * 5
    assert {exchange.message for exchange in load.http()} == {"the load was stopped"}
    assert all(exchange.local_port is not None for exchange in load.http())


def test_stopped_before_it_began(tmp_path: Path) -> None:
    with client(tmp_path, Load(), ["http://127.0.0.1:1"]) as load:
        load.end_stdin()
        assert load.last_line()["ended"] == "stopped"
        assert load.exit_code() == 0, load.log()
    assert load.http() == []


def test_server_that_is_killed_under_load(tmp_path: Path) -> None:
    with (
        server(tmp_path, "hello") as app,
        client(tmp_path, Load(users=4, requests=1500), [app.url]) as load,
    ):
        load.go()
        lines = load.lines()
        next(line for line in lines if line["completed"])
        app.process.kill()
        last = list(lines)[-1]
        assert load.exit_code() == 0, load.log()
    outcomes = Counter(exchange.failure for exchange in load.http())
    assert [exchange.number for exchange in load.http()] == list(range(1500))
    assert outcomes[None] == last["completed"] > 0
    assert last["failed"] == 1500 - last["completed"] > 0
    assert set(outcomes) <= {None, "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}


def test_anything_but_go_is_refused(tmp_path: Path) -> None:
    with client(tmp_path, Load(), ["http://127.0.0.1:1"]) as load:
        assert load.process.stdin is not None
        load.process.stdin.write(b"start\n")
        load.process.stdin.flush()
        assert load.exit_code() == 2
    assert load.log() == "expected the line \"go\" (got b'start\\n')\n"


def test_progress_adds_up(tmp_path: Path) -> None:
    with (
        server(tmp_path, "hello") as app,
        client(tmp_path, Load(users=2, requests=300), [app.url]) as load,
    ):
        load.go()
        lines = list(load.lines())
    assert [line["ended"] for line in lines] == [None] * (len(lines) - 1) + ["done"]
    for line in lines:
        assert 0 <= line["started"] - line["completed"] - line["failed"] <= 2
        assert line["limit"] == 300
    assert (lines[-1]["started"], lines[-1]["completed"]) == (300, 300)
    elapsed = [line["elapsed_ns"] for line in lines]
    assert elapsed == sorted(elapsed)
